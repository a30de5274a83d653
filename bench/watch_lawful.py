"""Lawful withdrawals while processes die, receipts come late and a node lies: no false alarm.

The watchtower asks two nodes: the first is honest but for a standstill, the second does everything
that a node can do. What it costs is pauses, and they are counted.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from bench.watch_load import Disorder, Load
from bench.watch_parts import pays, running
from tests.factories import COLD_ADDRESS
from tests.node_front import LIES
from tests.watched import Watched, until, watched
from tests.watched_host import WALLETS, address_of

ROUNDS = 2  # of all mishaps, spread evenly over the withdrawals
LIE_SECONDS = 6.0  # more than the watchtower lets pass


@dataclass
class Lawful:
    """`codes`: what the signer refused meanwhile; `pauses`: how often leases stopped, by cause.

    Both, and `alarms` by kind, are from the beginning to the end of all processes.
    """

    lawful: int = 0
    false_alarms: int = 0
    sweeps: int = 0
    pauses: int = 0
    paused_s: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    mishaps: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


async def lawful(
    amount: int, rate: float, chance: random.Random, say: Callable[[str], None]
) -> Lawful:
    """Pay so many times, through all mishaps, and say what the watchtower made of it."""
    async with watched(nodes=2) as ground:
        load, seen = Load(ground, rate, Disorder(chance)), Lawful()
        await load.open_nonces()
        began, cold = time.monotonic(), await ground.balance(COLD_ADDRESS)
        coming = list(mishaps(ground)) * ROUNDS
        apart = amount / (len(coming) + 1)
        async with running(load.run()):
            for number, (name, happen) in enumerate(coming, start=1):
                await landed(load, number * apart)
                say(f"{load.landed} of {amount} landed; now: {name}")
                await happen()
                await until(f"leases after {name}", lambda: runs(ground))
                seen.mishaps[name] += 1
            await landed(load, amount)
        seen.lawful, seen.codes, seen.seconds = load.landed, load.codes, time.monotonic() - began
        count(ground.log("watchtower"), seen)
        seen.false_alarms = seen.alarms["THEFT"] + seen.alarms["ROLLBACK"]
        seen.false_alarms += len((await ground.status()).freezes)
        seen.sweeps = int(await ground.balance(COLD_ADDRESS) != cold)
        seen.sweeps += sum(
            pays(item.transaction, COLD_ADDRESS) for front in ground.fronts for item in front.sent()
        )
        return seen


async def landed(load: Load, number: float) -> None:
    """Wait for so many; TimeoutError when none lands for a minute."""
    while (before := load.landed) < number:
        await until("a withdrawal to land", partial(_more, load, before))


async def _more(load: Load, before: int) -> bool:
    return load.landed > before


async def runs(ground: Watched) -> bool:
    return (await ground.tower_status()).state == "RUNNING"


def count(log: str, seen: Lawful) -> None:
    """Read alarms and pauses out of the watchtower's log."""
    since: datetime | None = None
    for line in log.splitlines():
        if not line.startswith("{"):
            continue
        entry = json.loads(line)
        at = datetime.fromisoformat(entry["timestamp"])
        match entry["event"]:
            case "alarm":
                seen.alarms[entry["kind"]] += 1
            case "no lease":
                seen.causes[entry["cause"]] += 1
                seen.pauses += since is None
                since = since or at
            case "leases again" if since:
                seen.paused_s = round(seen.paused_s + (at - since).total_seconds(), 3)
                since = None


def mishaps(ground: Watched) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Yield what happens, by name."""
    for name in ("signer", "watchtower", "relay", "devnet"):
        yield f"kill -9 {name}", partial(restart, ground, name)
    lies = [(name,) for name in LIES if name not in {"honest", "inventing"}]
    for lie in (*lies, ("inventing", *forgery(address_of(WALLETS[0])))):
        yield f"the second node is {lie[0]}", partial(tell, ground, lie, 1)
    yield "both nodes are stalling", partial(tell, ground, ("stalling",), 0, 1)


async def restart(ground: Watched, name: str) -> None:
    ground.kill(name)
    await asyncio.to_thread(ground.start, name)


async def tell(ground: Watched, lie: Sequence[str], *fronts: int) -> None:
    for front in fronts:
        ground.fronts[front].tell(*lie)
    await asyncio.sleep(LIE_SECONDS)
    for front in fronts:
        ground.fronts[front].tell("honest")


def forgery(address: str) -> tuple[str, str]:
    """A transaction that takes from the wallet, and a signature that is not the wallet's."""
    victim, thief = Pubkey.from_string(address), Keypair()
    paid = TransferParams(from_pubkey=victim, to_pubkey=thief.pubkey(), lamports=10**9)
    message = Message.new_with_blockhash([transfer(paid)], victim, Hash.default())
    signature = thief.sign_message(bytes(message))
    return str(signature), bytes(VersionedTransaction.populate(message, [signature])).hex()
