"""Lawful withdrawals at a steady rate, by a driver that does what custody does, without its books.

Intents are signed by the requester, receipts go to the watchtower, and a transaction goes to the
chain when its receipt is acknowledged. A nonce is used again as soon as its transfer is confirmed:
custody holds it until finality, which would need a thousand accounts for a hundred a second.
"""

import asyncio
import base64
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import grpc

from custody.chains.errors import ChainError
from custody.identity import Role
from custody.relay import Signer
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.receipts import statement_of
from policies.statements import Ack, Signed, decode, digest, verify
from signer.chains.solana import nonce_address
from signer.chains.solana_address import encode_address
from tests.factories import HOUR, key, make_intent, sign
from tests.signer_host import now
from tests.signing import nonce_open, transfer
from tests.watched import Watched, ask, until
from tests.watched_host import POOL, WALLETS

TICK_SECONDS = 0.025
FRAME_MAX = 16  # jobs; whatever else the signer is asked waits for a frame's end
LOOK_SECONDS = 0.1
AGAIN_SECONDS = 3.0  # after which the same bytes are sent once more
LAMPORTS = 1_000_000
OPEN_AT_ONCE = 16
ACCOUNTS_MAX = 100  # of one getMultipleAccounts
_VALUE = slice(40, 72)  # of a nonce account's data
Task = tuple[wire.Job, "Nonce"]


@dataclass
class Nonce:
    """One account of a wallet's pool. `value` is what was last confirmed."""

    wallet: str
    index: int
    address: str
    value: bytes = b""
    transaction: bytes = b""
    sent: float = 0.0


@dataclass
class Disorder:
    """Receipts are handed over late and in another order; some only when the chain has shown it.

    `early`: the share of transactions that go to the chain before their receipt goes anywhere.
    """

    chance: random.Random
    early: float = 0.005
    latest_seconds: float = 2.0


@dataclass
class Load:
    """`rate` in withdrawals a second. `codes` counts refusals; times are monotonic."""

    ground: Watched
    rate: float
    disorder: Disorder | None = None
    signed: int = 0
    landed: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    frozen_at: float | None = None
    times: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def __post_init__(self) -> None:
        self.nonces = [
            Nonce(wallet, index, encode_address(nonce_address(_raw(wallet), index)))
            for wallet in WALLETS
            for index in range(POOL)
        ]
        self._free = deque[Nonce]()
        self._flying = list[Nonce]()
        self._numbers = count(1)
        self._name = f"load-{random.SystemRandom().getrandbits(32):08x}"

    async def open_nonces(self) -> None:
        """Have the signer open both wallets' pools, and wait until all can be used."""
        for wallet in WALLETS:
            for begin in range(0, POOL, OPEN_AT_ONCE):
                blockhash = await self.ground.blockhash()
                results = await self.ground.ask(
                    *(
                        nonce_open(index, blockhash, wallet=wallet)
                        for index in range(begin, begin + OPEN_AT_ONCE)
                    )
                )
                signed = [(result.signed.transaction, result.receipt) for result in results]
                assert all(raw for raw, _ in signed), results
                await self._acknowledged([receipt for _, receipt in signed])
                for raw, _ in signed:
                    await self.ground.send(raw)

        async def opened() -> bool:
            values = await self._values(self.nonces)
            for nonce, value in zip(self.nonces, values, strict=True):
                nonce.value = value
            return all(values)

        await until("the nonce accounts", opened)
        self._free.extend(self.nonces)

    async def run(self) -> None:
        """Withdraw for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            signer = Signer(self.ground.signer.path)
            due, last, again = 0.0, time.monotonic(), list[Task]()
            while True:
                await asyncio.sleep(TICK_SECONDS)
                passed, last = time.monotonic() - last, time.monotonic()
                due = min(due + passed * self.rate, 2 * FRAME_MAX)
                tasks = again or [
                    self._task() for _ in range(min(int(due), FRAME_MAX, len(self._free)))
                ]
                if not tasks:
                    continue
                try:
                    results = await ask(signer, [job for job, _ in tasks])
                except (OSError, asyncio.IncompleteReadError):
                    again = tasks  # the signer is away: the same jobs when it is back
                    self.codes["(no signer)"] += 1
                    continue
                again, due = [], max(0.0, due - len(tasks))
                self._sort(tasks, results, group)

    def per_second(self, seconds: float = 2.0) -> float:
        """Withdrawals signed in the last seconds, a second."""
        since = time.monotonic() - seconds
        return sum(at > since for at in self.times) / seconds

    def _task(self) -> Task:
        nonce, created = self._free.popleft(), now()
        intent = make_intent(
            request_id=f"{self._name}-{next(self._numbers)}",
            wallet=nonce.wallet,
            amount=LAMPORTS,
            created=created,
            expires=created + HOUR,
        )
        job = transfer(
            sign(key("exchange"), intent), nonce_index=nonce.index, nonce_value=nonce.value
        )
        return job, nonce

    def _sort(
        self, tasks: Sequence[Task], results: Sequence[wire.Result], group: asyncio.TaskGroup
    ) -> None:
        """Send on what was signed; a refused one's nonce is as it was."""
        at, signed = time.monotonic(), list[tuple[Nonce, bytes]]()
        for (_, nonce), result in zip(tasks, results, strict=True):
            if result.HasField("signed"):
                nonce.transaction = result.signed.transaction
                signed.append((nonce, result.receipt))
                self.times.append(at)
            else:
                code = result.refusal.code
                self.codes[code] += 1
                if code == "FROZEN" and self.frozen_at is None:
                    self.frozen_at = at
                self._free.append(nonce)
        self.signed += len(signed)
        if signed:
            group.create_task(self._deliver(signed))

    async def _deliver(self, signed: list[tuple[Nonce, bytes]]) -> None:
        """Receipts to the watchtower, then transactions to the chain; in disorder where asked."""
        early = list[tuple[Nonce, bytes]]()
        if disorder := self.disorder:
            chance = disorder.chance
            early = [item for item in signed if chance.random() < disorder.early]
            signed = [item for item in signed if item not in early]
            await asyncio.gather(*(self._send(nonce) for nonce, _ in early))
            await asyncio.sleep(chance.uniform(0, disorder.latest_seconds / 4))
            chance.shuffle(signed)
        if signed:
            await self._acknowledged([receipt for _, receipt in signed])
            await asyncio.gather(*(self._send(nonce) for nonce, _ in signed))
        if early and disorder:
            await asyncio.sleep(disorder.chance.uniform(0, disorder.latest_seconds))
            await self._acknowledged([receipt for _, receipt in early])

    async def _acknowledged(self, receipts: list[bytes]) -> None:
        """Hand receipts over until the watchtower has said of each that it holds it."""
        request = tower_wire.SubmitReceiptsRequest(receipts=receipts)
        tower = self.ground.tower(Role.SERVER, "worker")
        while True:
            try:
                response = await tower.SubmitReceipts(request, timeout=10)
                break
            except grpc.RpcError:
                self.codes["(no watchtower)"] += 1
                await asyncio.sleep(LOOK_SECONDS)
        for receipt, item in zip(receipts, response.acks, strict=True):
            ack = decode(Ack, item.statement)
            assert ack.receipt == digest(statement_of(receipt))
            watchtower = self.ground.tower_key.public
            assert verify(watchtower, Signed(item.statement, item.signature))

    async def _send(self, nonce: Nonce) -> None:
        again = bool(nonce.sent)
        nonce.sent = time.monotonic()
        if not again:
            self._flying.append(nonce)
        try:
            await self.ground.send(nonce.transaction)
        except ChainError:
            self.codes["(no node)"] += 1  # it is sent again

    async def _look(self) -> None:
        """Free the nonces whose transfer is confirmed; send again what takes long."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            flying = list(self._flying)
            try:
                values = await self._values(flying)
            except ChainError:
                self.codes["(no node)"] += 1
                continue
            for nonce, value in zip(flying, values, strict=True):
                if value != nonce.value:
                    self._flying.remove(nonce)
                    self.landed += 1
                    nonce.value, nonce.sent = value, 0.0
                    self._free.append(nonce)
                elif time.monotonic() - nonce.sent > AGAIN_SECONDS:
                    await self._send(nonce)

    async def _values(self, nonces: Sequence[Nonce]) -> list[bytes]:
        """What the accounts hold at confirmed, b"" where there is none."""
        values = list[bytes]()
        for begin in range(0, len(nonces), ACCOUNTS_MAX):
            addresses = [nonce.address for nonce in nonces[begin : begin + ACCOUNTS_MAX]]
            options = {"encoding": "base64", "commitment": "confirmed"}
            answer = await self.ground.rpc.call("getMultipleAccounts", [addresses, options])
            values += [
                base64.b64decode(found["data"][0])[_VALUE] if found else b""
                for found in answer["value"]
            ]
        return values


def _raw(wallet: str) -> bytes:
    return bytes(key(wallet).verify_key)
