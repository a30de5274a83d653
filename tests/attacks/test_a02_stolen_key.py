"""A02 (Coincheck 2018 with better keys): the hot key is stolen all the same, and spends by itself.

Signer, relay, watchtower and chain are processes, the signer in a network of its own, slots take
400 ms; no custody is needed to stop the thief. How fast, a hundred times: `make watch-trials`.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.dev.processes import free_port
from tests.attacks.lawful import ask, withdraw
from tests.factories import COLD_ADDRESS, SOL, key
from tests.watched import Watched, timed, until, watched
from tests.watched_host import SWEEP_FEE, WALLETS, address_of

VICTIM, OTHER = WALLETS
BEFORE, TAKEN = 1_000 * SOL, 30 * SOL
FREEZE_SECONDS, SWEEP_SECONDS = 1.0, 2.0
COLD = Pubkey.from_string(COLD_ADDRESS)


async def test_a_stolen_key_freezes_all_and_the_rest_goes_to_cold(tmp_path: Path) -> None:
    hook, metrics = tmp_path / "told", f"127.0.0.1:{free_port()}"
    command = json.dumps(["/bin/sh", "-c", f"cat >> {hook}; echo >> {hook}"])
    settings = [f"alarm_command = {command}", f'metrics = "{metrics}"']
    async with watched(settings=settings) as ground:
        for wallet in WALLETS:
            await withdraw(ground, wallet)
        assert 'kura_watchtower_state{state="RUNNING"} 1.0' in await scraped(metrics)
        cold = await ground.balance(COLD_ADDRESS)
        left = await ground.balance(address_of(VICTIM)) - TAKEN
        async with timed(ground) as lost:
            stolen = await steal(ground)
            confirmed, frozen = await asyncio.gather(
                moment(lambda: ground.confirmed(stolen)), moment(lambda: is_frozen(ground))
            )
            assert frozen - confirmed <= FREEZE_SECONDS + lost(confirmed, frozen)
            assert [await ask(ground, wallet) for wallet in WALLETS] == ["FROZEN", "FROZEN"]
            await until("the sweep", lambda: swept(ground))
            sent = first_sweep(ground)
            assert sent - confirmed <= SWEEP_SECONDS + lost(confirmed, sent)
        assert await ground.balance(COLD_ADDRESS) - cold >= left - SOL  # fees of the ladder

        await until("the alarm command", lambda: asyncio.to_thread(told, hook))
        alarm = json.loads(hook.read_text().splitlines()[0])
        assert (alarm["kind"], alarm["wallet"]) == ("THEFT", VICTIM)
        assert alarm["transaction_id"] == stolen
        assert int(alarm["amount"]) == TAKEN + 5_000
        assert abs(int(alarm["time"]) / 1000 - time.time()) < 60
        assert "custody freeze list" in alarm["next"]
        assert stolen in ground.log("watchtower")
        shown = await scraped(metrics)
        assert 'kura_watchtower_alarms_total{kind="THEFT"} 1.0' in shown
        assert 'kura_watchtower_state{state="FROZEN"} 1.0' in shown

        for name in ("signer", "watchtower"):  # and a kill -9 forgets nothing
            ground.kill(name)
            ground.start(name)
        assert [await ask(ground, wallet) for wallet in WALLETS] == ["FROZEN", "FROZEN"]
        await ground.lift_freezes()
        await until("a lease", lambda: signs(ground, OTHER))
        await withdraw(ground, OTHER)
        assert not (await ground.status()).freezes


async def steal(ground: Watched) -> str:
    victim, thief = Keypair.from_seed(bytes(key(VICTIM))), Keypair().pubkey()
    paid = TransferParams(from_pubkey=victim.pubkey(), to_pubkey=thief, lamports=TAKEN)
    recent = Hash.from_bytes(await ground.blockhash())
    message = Message.new_with_blockhash([transfer(paid)], victim.pubkey(), recent)
    return await ground.send(bytes(VersionedTransaction(message, [victim])))


async def moment(look: Callable[[], Awaitable[bool]]) -> float:
    """Return when it was first seen to be so, by the monotonic clock."""
    await until("it", look)
    return time.monotonic()


async def is_frozen(ground: Watched) -> bool:
    return bool((await ground.status()).freezes)


async def swept(ground: Watched) -> bool:
    return await ground.balance(address_of(VICTIM)) < 2 * SWEEP_FEE


async def signs(ground: Watched, wallet: str) -> bool:
    return await ask(ground, wallet) == ""


def told(hook: Path) -> bool:
    return hook.exists() and hook.read_text().endswith("\n")


def first_sweep(ground: Watched) -> float:
    """Return when the node had taken the first transaction to the cold wallet."""
    taken = ground.fronts[0].sent()
    transactions = [(one.at, VersionedTransaction.from_bytes(one.transaction)) for one in taken]
    return next(at for at, one in transactions if COLD in one.message.account_keys)


async def scraped(address: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{address}/metrics")).text
