"""The chain's half of a watchtower, over a real devnet and a real database.

The wallet is hot-sol of `tests.factories`, with 100 SOL and its real key; receipts are signed by
key("audit"). The signer stands at the gateway's port. Slots go by in a thread, 20 a second, unless
a test holds them.
"""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from custody.chains.solana_history import HistoryNode
from custody.dev.devnet import chain as devnet
from custody.dev.devnet.rpc import call
from custody.gateway import SignerUnreachableError
from custody.keys import SigningKey
from custody.watchtower import receipts
from custody.watchtower.chain import Chain
from custody.watchtower.database import Database
from custody.watchtower.nodes import TIMEOUT_SECONDS
from custody.watchtower.parts import Parts
from custody.watchtower.schema import SCHEMA
from kura.signer.v1 import signer_pb2 as wire
from policies.receipts import open_receipt
from policies.statements import Receipt
from tests.devnet_wallet import SOL, Wallet
from tests.factories import key, make_intent, make_policy, make_receipt, public, travelling

AUDIT = public("audit")
JOURNAL = "0f" * 16
SECONDS_MAX = 60
SLOT_SECONDS = 0.05


class Signer:
    """At the gateway's port: `answers(theft)` says what the signer does; None: not reached."""

    def __init__(self) -> None:
        self.answers: Callable[[wire.AlarmSweep], wire.Result] | None = None
        self.asked: list[wire.AlarmSweep] = []
        self.others: Callable[[wire.Job], wire.Result] = lambda _: wire.Result()

    async def ask(self, jobs: Sequence[wire.Job], traces: Sequence[str] = ()) -> list[wire.Result]:
        if self.answers is None:
            raise SignerUnreachableError("no relay is connected")
        self.asked += [job.alarm_sweep for job in jobs if job.HasField("alarm_sweep")]
        return [
            self.answers(job.alarm_sweep) if job.HasField("alarm_sweep") else self.others(job)
            for job in jobs
        ]


Alter = Callable[[dict[str, Any], Any], Any]


class Between(httpx.AsyncBaseTransport):
    """Stands between the watchtower and a node: `alter(request, result)` gives what is told."""

    def __init__(self) -> None:
        self.alter: Alter | None = None
        self.away = self.silent = False
        self.asked: list[dict[str, Any]] = []
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away")
        if self.silent:
            await asyncio.Event().wait()
        asked = json.loads(request.content)
        self.asked.append(asked)
        answer = await self._inner.handle_async_request(request)
        told = json.loads(await answer.aread())
        if self.alter and "result" in told:
            told["result"] = self.alter(asked, told["result"])
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(told).encode()))

    async def aclose(self) -> None:
        await self._inner.aclose()


class TowerRig:
    """What one test works with; `urls` are the nodes that the watchtower is told of."""

    def __init__(self, path: Path, ledger: devnet.Chain, urls: list[str], **policy: object) -> None:
        self.path, self.ledger, self.urls = path, ledger, urls
        self.wallet = Wallet(self.call, 100 * SOL, Keypair.from_seed(bytes(key("hot-sol"))))
        self.policy = make_policy(**policy)
        self.signer = Signer()
        self.alarms: list[SimpleNamespace] = []
        self.open()

    def call(self, method: str, params: list[Any]) -> Any:
        return call(self.ledger, method, params)

    def open(self) -> None:
        """Open the database anew, as a start does."""
        self.database = Database(self.path / "tower.sqlite3", SCHEMA)
        self.parts = Parts(
            key=SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(key("watchtower")))),
            audit_keys=frozenset({AUDIT}),
            database=self.database,
            alarm=self._alarm,
            policies={AUDIT: self.policy},
        )
        self.parts.links[AUDIT] = SimpleNamespace(  # type: ignore[assignment] # the port alone
            gateway=self.signer, wake=asyncio.Event(), hello=SimpleNamespace(epoch="")
        )
        self.tower = Chain(self.parts, self.urls)
        self.between, first = Between(), self.tower._nodes.each[0]
        first.ask = HistoryNode(self.urls[0], timeout=TIMEOUT_SECONDS, transport=self.between)

    def _alarm(self, kind: str, message: str, next: str, **more: Any) -> None:  # noqa: A002
        self.alarms.append(SimpleNamespace(kind=kind, message=message, next=next, **more))

    def kinds(self) -> list[str]:
        return [alarm.kind for alarm in self.alarms]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Chain]:
        """The watchtower watches."""
        task = asyncio.create_task(self.tower.run())
        try:
            yield self.tower
            assert not task.done(), task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.database.close()

    async def well(self) -> None:
        await until(lambda: not self.tower.problem(AUDIT))

    def looks(self) -> int:
        """Return how often the wallet was looked at on its one node, each PAUSE_SECONDS or later.

        What takes few looks is quick, however slow the machine is.
        """
        ((follower,),) = (watch.followers for watch in self.tower._watches.values())
        return follower.looks

    async def seen(self) -> None:
        """Wait until the watchtower looked at everything that is confirmed now."""
        self.ledger.advance(2)
        followers = [one for watch in self.tower._watches.values() for one in watch.followers]
        looks = [one.looks for one in followers]
        await until(lambda: all(f.looks >= n + 2 for f, n in zip(followers, looks, strict=True)))

    def sign(self, *steps: Instruction, **more: Any) -> VersionedTransaction:
        return self.wallet.sign(*steps, **more)

    def send(self, tx: VersionedTransaction) -> str:
        """Send without preflight, as a thief does and as a failing transaction must."""
        name = self.wallet.send(tx, preflight=False)
        assert self.wallet.status(name) is not None
        return name

    def receipt(self, tx: VersionedTransaction, **changes: Any) -> Receipt:
        name = str(tx.signatures[0])
        made = make_receipt(make_intent(request_id=name[:40]), transaction_id=name)
        made = replace(made, journal=JOURNAL, amount=SOL, nonce_account="", nonce_value="")
        return replace(made, **changes)

    def open_nonce(self) -> Pubkey:
        """A nonce account of the wallet's, final, its opening covered."""
        account = self.wallet.open_nonce()
        self.ledger.advance(6)
        (opening,) = self.call("getSignaturesForAddress", [str(account)])
        covering = self.receipt(self.sign(), intent="", amount=0)
        self.give(replace(covering, transaction_id=opening["signature"]))
        return account

    def give(self, *given: Receipt) -> None:
        """Hand receipts in, as the worker does."""
        with self.database.transaction() as connection:
            for data in travelling(*given):
                receipts.store(connection, open_receipt({AUDIT}, data), data)

    def lawful(self, *steps: Instruction, blockhash: Hash | None = None, **changes: Any) -> str:
        """Sign, hand the receipt in, send."""
        tx = self.sign(*steps, blockhash=blockhash)
        self.give(self.receipt(tx, **changes))
        return self.send(tx)

    def resolved(self) -> int:
        found = receipts.resolved(self.database, AUDIT, JOURNAL, self.policy)
        return sum(item.amount for item in found)

    def state(self, name: str) -> str:
        query = "SELECT state FROM signed WHERE transaction_id = ?"
        ((state,),) = self.database.rows(query, name)
        return str(state)


async def until(condition: Callable[[], object], seconds: float = SECONDS_MAX) -> None:
    """Wait for others' doing."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@contextmanager
def passing(ledger: devnet.Chain) -> Iterator[threading.Event]:
    """Slots go by in a thread; setting the event stops them."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(SLOT_SECONDS):
            ledger.advance()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


@contextmanager
def slow_slots() -> Iterator[None]:
    """Meanwhile slots take longer: a blockhash lives for a minute, and for the slowest machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "SLOT_SECONDS", 0.5)
        yield


def stranger() -> Pubkey:
    return Keypair().pubkey()


def only(method: str, change: Callable[[Any], Any]) -> Alter:
    return lambda asked, result: change(result) if asked["method"] == method else result
