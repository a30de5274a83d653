"""A watchtower in memory: the worker's port, and the leases of the signer that it watches.

It believes receipts and the real devnet, and signs with key("watchtower").
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from custody.chains.solana import SolanaNode
from custody.watchtower_client import Delay, WatchtowerUnreachableError
from policies.receipts import ReceiptError, open_receipt
from policies.statements import (
    Ack,
    Dead,
    Elapsed,
    Receipt,
    Resolved,
    Signed,
    Statement,
    digest,
    encode,
)
from signer.guard import Guard
from tests.factories import key, public, sign
from tests.signing import HELLO, STATUS, lease_job


@dataclass
class LocalTower:
    """`silent`: it answers nothing; `leasing`: it gives leases; `blind`: it calls nothing dead.

    `submitted` are all receipts that it was handed, as they came; `tamper` changes its words.
    """

    node: SolanaNode = field(init=False)
    now: Callable[[], int]
    audit_keys: Collection[str]
    delay: Callable[[], int]
    silent: bool = False
    leasing: bool = True
    blind: bool = False
    submitted: list[bytes] = field(default_factory=list)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    tamper: Callable[[Signed], Signed | None] = lambda signed: signed

    async def submit_receipts(self, receipts: Sequence[bytes]) -> list[Signed | None]:
        self._hear()
        return [self._acknowledge(item) for item in receipts]

    async def dead_transactions(self, ids: Sequence[str]) -> list[Signed | None]:
        self._hear()
        return [await self._dead(name) for name in ids]

    async def policy_version(self, file: bytes, changes: Sequence[Signed]) -> Delay:
        self._hear()
        name = digest(file)
        over = self.versions.setdefault(name, self.now()) + self.delay()
        word = Elapsed(key=public("watchtower"), change=name, time=self.now())
        return Delay(over, self._sign(word) if self.now() >= over else None)

    async def renew(self, guard: Guard, *, always: bool = False) -> None:
        """Give the signer a lease, unless it has one; `always`: also with what is resolved now."""
        (status,) = guard.answer([STATUS])
        if not self.leasing or (status.status.lease_until and not always):
            return
        (hello,) = guard.answer([HELLO])
        if hello.HasField("hello"):
            job = lease_job(hello, time=self.now(), resolved=await self._resolved())
            guard.answer([job])

    def _hear(self) -> None:
        if self.silent:
            raise WatchtowerUnreachableError("the watchtower is silenced by the test")

    def _acknowledge(self, item: bytes) -> Signed | None:
        self.submitted.append(item)
        try:
            receipt = open_receipt(self.audit_keys, item)
        except ReceiptError:
            return None
        if receipt.transaction_id and receipt.outcome == "signed":
            self.receipts[receipt.transaction_id] = receipt
        return self._sign(Ack(key=public("watchtower"), receipt=digest(encode(receipt))))

    async def _dead(self, name: str) -> Signed | None:
        receipt = self.receipts.get(name)
        if receipt is None or self.blind or not await self._is_dead(receipt):
            return None
        word = Dead(key=public("watchtower"), intent=receipt.intent, transaction_id=name)
        return self._sign(word)

    async def _is_dead(self, receipt: Receipt) -> bool:
        """It has failed, finally; or it stands on a value that is past, and has not landed."""
        status = await self.node.status(receipt.transaction_id)
        if status is not None:
            return status.commitment == "finalized" and status.err is not None
        account = await self.node.account(receipt.nonce_account, "finalized")
        if account is None:
            return False
        value = account.data[40:72]  # version, state, authority, then the value
        return value.hex() != receipt.nonce_value

    async def _resolved(self) -> tuple[Resolved, ...]:
        sums: dict[str, int] = {}
        for receipt in [item for item in self.receipts.values() if item.intent]:
            status = await self.node.status(receipt.transaction_id)
            landed = status is not None and status.commitment == "finalized"
            if landed or await self._is_dead(receipt):
                sums[receipt.wallet] = sums.get(receipt.wallet, 0) + receipt.amount
        return tuple(Resolved(wallet=name, asset="SOL", amount=sums[name]) for name in sums)

    def _sign(self, word: Statement) -> Signed | None:
        return self.tamper(sign(key("watchtower"), word))
