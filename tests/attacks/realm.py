"""A watchtower and its signers in one process, on a devnet: what the thief of a row meets.

Real: tokens, journals, guards, the chain's runtime, the watchtower's two halves. The relays alone
are played, by `Line`. Time stands still but for `pass_time`; slots go by, 20 a second.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from custody.dev.devnet import chain as devnet
from custody.dev.devnet.server import serve
from custody.dev.processes import free_port
from custody.gateway import Gateway, SignerUnreachableError
from custody.keys import SigningKey
from custody.watchtower import signers, suspects
from custody.watchtower.alarms import Alarms
from custody.watchtower.chain import Chain
from custody.watchtower.database import Database
from custody.watchtower.leases import attend
from custody.watchtower.parts import Link, Parts
from custody.watchtower.schema import SCHEMA
from custody.watchtower.service import Service
from custody.watchtower.suspects import Verdict
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.codes import Code
from policies.statements import Signed
from signer.chains.solana import nonce_address
from signer.token_init import init_token
from tests.devnet_wallet import Wallet
from tests.factories import (
    COLD_ADDRESS,
    HOUR,
    SOL,
    key,
    make_freeze,
    make_intent,
    make_unfreeze,
    policy_file,
    public,
    rule_text,
    sign,
    wallet_text,
)
from tests.node_front import NodeFront
from tests.signing import STATUS, SignerRig, hold_keys, nonce_open, transfer
from tests.softhsm import SoftHsm, import_key
from tests.tower_rig import AUDIT, TowerRig, passing, stranger, until
from tests.watched_host import address_of

FAR_AUDIT = public("audit of hot-far")
HOME = {"hot-sol": AUDIT, "hot-two": AUDIT, "hot-far": FAR_AUDIT}  # each wallet's signer
COLD = Pubkey.from_string(COLD_ADDRESS)
SMALL = SOL // 10
FEE = 5_000
CALL: Any = SimpleNamespace(invocation_metadata=tuple)  # what a call is, to the service
_numbers = itertools.count(1)


@dataclass
class Line:
    """The way to one signer; whoever holds it lets through what `drops` does not name."""

    signer: SignerRig
    drops: Callable[[wire.Job], bool] = lambda _job: False

    async def ask(self, jobs: Sequence[wire.Job], traces: Sequence[str] = ()) -> list[wire.Result]:
        await asyncio.sleep(0)
        if jobs and self.drops(jobs[0]):
            raise SignerUnreachableError("the signer did not answer in time")
        return self.signer.guard.answer(jobs)

    def close(self) -> None:
        """Nothing waits."""


class Realm(TowerRig):
    """hot-sol and hot-two are one signer's, hot-far is another's; 100 SOL each."""

    def __init__(
        self, rigs: dict[str, SignerRig], path: Path, ledger: devnet.Chain, urls: list[str]
    ) -> None:
        self.signers = rigs
        self.lines = {audit_key: Line(rig) for audit_key, rig in rigs.items()}
        self.fronts: list[NodeFront] = []
        super().__init__(path, ledger, urls)
        self.host, self.policy = rigs[AUDIT], rigs[AUDIT].policy
        self.wallets = {"hot-sol": self.wallet}
        for name in ("hot-two", "hot-far"):
            self.wallets[name] = Wallet(self.call, 100 * SOL, Keypair.from_seed(bytes(key(name))))

    def clock(self) -> int:
        return self.signers[AUDIT].now

    def open(self) -> None:
        """Start the watchtower's two halves on what its database holds."""
        self.database = Database(self.path / "tower.sqlite3", SCHEMA)
        self.told = Alarms(self.database, self.clock)
        self.parts = Parts(
            key=SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(key("watchtower")))),
            audit_keys=frozenset(self.signers),
            database=self.database,
            alarm=self.told,
            clock=self.clock,
            policies=signers.policies(self.database),
        )
        self.tower = Chain(self.parts, self.urls)
        self.service = Service(self.parts, self.tower, self.told)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Chain]:
        """The watchtower watches, and every signer has a lease."""
        async with super().running() as tower:
            lines = [Link(cast("Gateway", line)) for line in self.lines.values()]
            tasks = [asyncio.create_task(attend(self.parts, tower, link)) for link in lines]
            try:
                yield tower
                assert not any(task.done() for task in tasks), tasks
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def ready(self, *wallets: str, nonces: int = 1) -> None:
        """Wait for leases, then open nonces of these wallets."""
        for audit_key in self.signers:
            await self.leased(audit_key)
        for name in wallets:
            await self.open_pool(name, nonces)

    async def leased(self, audit_key: str = AUDIT) -> None:
        """Wait until this signer signs."""
        await until(lambda: self.parts.links.get(audit_key))
        self.parts.wake()
        await until(lambda: not self.parts.links[audit_key].problem and self.lease(audit_key))

    def lease(self, audit_key: str = AUDIT) -> int:
        return self.signers[audit_key].ask_unleased(STATUS).status.lease_until

    def pass_time(self, milliseconds: int) -> None:
        for rig in self.signers.values():
            rig.now += milliseconds

    async def status(self) -> tower_wire.GetStatusResponse:
        response = await self.service.GetStatus(tower_wire.GetStatusRequest(), CALL)
        assert isinstance(response, tower_wire.GetStatusResponse)
        return response

    async def submit(self, *receipts: bytes) -> None:
        """Hand receipts over, as the worker does."""
        request = tower_wire.SubmitReceiptsRequest(receipts=receipts)
        response = await self.service.SubmitReceipts(request, CALL)
        assert all(ack.signature for ack in response.acks)

    def ask(self, job: wire.Job, wallet: str = "hot-sol") -> wire.Result:
        """Custody asks the wallet's signer."""
        return self.signers[HOME[wallet]].ask_unleased(job)

    async def open_pool(self, wallet: str, nonces: int) -> None:
        """Open the first nonce accounts of a wallet, and see them final."""
        names = []
        for index in range(nonces):
            blockhash = bytes(self.wallets[wallet].newest())
            result = self.ask(nonce_open(index, blockhash, wallet=wallet), wallet)
            assert result.WhichOneof("outcome") == "signed", result
            await self.submit(result.receipt)
            names.append(self.send(VersionedTransaction.from_bytes(result.signed.transaction)))
        self.ledger.advance(6)
        await until(lambda: all(self.state(name) == "FINAL" for name in names))

    def nonce(self, wallet: str, index: int = 0) -> bytes:
        """Return the value of one nonce account now."""
        address = nonce_address(bytes(self.wallets[wallet].address), index)
        return bytes(self.wallets[wallet].nonce(Pubkey.from_bytes(address)))

    def on_nonce(self, step: Instruction, index: int = 0) -> VersionedTransaction:
        """Sign by hot-sol's stolen key on a nonce of its pool, in the form of a lawful transfer."""
        self.ledger.advance()
        account = Pubkey.from_bytes(nonce_address(bytes(self.wallet.address), index))
        value = self.wallet.nonce(account)
        return self.wallet.sign(self.wallet.advance(account), step, blockhash=value)

    def intend(self, wallet: str = "hot-sol", **changes: Any) -> Signed:
        """Return the requester's word for a new payment of 0.1 SOL to CUSTOMER."""
        now = self.clock()
        usual = {"request_id": f"w-{next(_numbers)}", "amount": SMALL, "wallet": wallet}
        times = {"created": now, "expires": now + HOUR}
        return sign(key("exchange"), make_intent(**{**usual, **times, **changes}))

    def job(
        self,
        wallet: str = "hot-sol",
        nonce: bytes = b"",
        index: int = 0,
        unit_limit: int = 1_000,
        **changes: Any,
    ) -> wire.Job:
        """Return a new payment's job, on the account's own value if no other `nonce` is named."""
        value = nonce or self.nonce(wallet, index)
        chain = {"nonce_index": index, "nonce_value": value, "unit_limit": unit_limit}
        return transfer(self.intend(wallet, **changes), **chain)

    def pay(self, wallet: str = "hot-sol", **changes: Any) -> wire.Result:
        """Ask for a new payment."""
        return self.ask(self.job(wallet, **changes), wallet)

    async def withdraw(
        self, wallet: str = "hot-sol", *, handed: bool = True, **changes: Any
    ) -> VersionedTransaction:
        """See a lawful withdrawal through: signed, its receipt taken or withheld, landed."""
        self.ledger.advance()  # a nonce changes once a slot
        result = self.pay(wallet, **changes)
        assert result.WhichOneof("outcome") == "signed", result
        if handed:
            await self.submit(result.receipt)
        transaction = VersionedTransaction.from_bytes(result.signed.transaction)
        assert self.wallet.status(self.send(transaction))["err"] is None
        return transaction

    def steal(self, lamports: int, wallet: str = "hot-sol") -> str:
        """Spend by the stolen key."""
        victim = self.wallets[wallet]
        return self.send(victim.sign(victim.pay(stranger(), lamports)))

    async def answered(self, stolen: str) -> None:
        """See a theft of hot-sol told, the signer frozen, and what is left in the cold wallet."""
        await until(lambda: self.frozen() == ["watchtower"])
        assert code_of(self.pay(nonce=fresh())) is Code.FROZEN
        await until(lambda: self.wallet.balance() < 2 * SOL // 100)  # two fees
        assert self.wallet.balance(COLD) > 0
        await until(lambda: self.verdict(stolen) == Verdict.THEFT)
        assert ("THEFT", stolen) in self.alarms_by_name()

    async def recover(self, wallet: str = "hot-sol") -> None:
        """The quorum lifts the freeze, the wallet is filled, and a customer is paid."""
        await until(lambda: not self.undecided())
        await self.lift()
        await until(lambda: not suspects.open_suspects(self.database))
        swept = self.wallet.balance(COLD)
        self.call("requestAirdrop", [str(self.wallet.address), 10 * SOL])
        await self.leased()
        await self.withdraw(wallet)
        assert self.wallet.balance(COLD) == swept  # nothing of before takes what came since

    def undecided(self) -> list[str]:
        rows = self.database.rows("SELECT transaction_id FROM suspects WHERE state = 'UNDECIDED'")
        return [name for (name,) in rows]

    def verdict(self, name: str) -> str:
        query = "SELECT state FROM suspects WHERE transaction_id = ?"
        rows = self.database.rows(query, name)
        return str(rows[0][0]) if rows else ""

    def alarms_by_name(self) -> list[tuple[str, str]]:
        """Return each alarm's kind and transaction, newest first."""
        return [(alarm.kind, alarm.transaction_id) for alarm in self.told.newest()]

    async def advance(self, index: int) -> bytes:
        """Custody advances one of hot-sol's nonces, so that what stands on its value is killed."""
        self.ledger.advance()
        value = self.nonce("hot-sol", index)
        budget = wire.ComputeBudget(unit_limit=1_000, unit_price=0)
        asked = wire.NonceAdvance(wallet="hot-sol", index=index, nonce_value=value, budget=budget)
        result = self.ask(wire.Job(nonce_advance=asked))
        assert result.HasField("signed"), result
        await self.submit(result.receipt)
        self.send(VersionedTransaction.from_bytes(result.signed.transaction))
        assert self.nonce("hot-sol", index) != value
        return result.signed.transaction

    def frozen(self, audit_key: str = AUDIT) -> list[str]:
        """Return who froze this signer."""
        return [one.person for one in self.signers[audit_key].ask_unleased(STATUS).status.freezes]

    async def freeze(self, person: str = "alice") -> None:
        """An officer freezes all by the watchtower."""
        order = sign(key(person), make_freeze(person, epoch=self.standing(AUDIT).epoch))
        request = tower_wire.CreateFreezeRequest(freeze=_sealed(order))
        assert (await self.service.CreateFreeze(request, CALL)).applied

    async def lift(self, audit_key: str = AUDIT) -> None:
        """The quorum lifts all that one signer is frozen by."""
        status = self.standing(audit_key)
        names = [freeze.digest for freeze in status.freezes]
        until_then = {"epoch": status.epoch, "expires": self.clock() + HOUR}
        orders = [
            sign(key(person), make_unfreeze(person, *names, **until_then))
            for person in ("alice", "carol")
        ]
        request = tower_wire.LiftFreezesRequest(orders=map(_sealed, orders))
        assert (await self.service.LiftFreezes(request, CALL)).applied

    def standing(self, audit_key: str = AUDIT) -> wire.SignerStatus:
        return self.signers[audit_key].ask_unleased(STATUS).status


@contextmanager
def realm(softhsm: SoftHsm, path: Path, fronts: int = 0, **policy: object) -> Iterator[Realm]:
    """Everything made, nothing running. `fronts`: nodes that can lie, 0 for the devnet itself."""
    file = policy_file(**{"nonce_pool": 16, **policy, "more": _wallets()})
    with ExitStack() as stack:
        rigs = _signers(softhsm, path, file)
        for rig in rigs.values():
            stack.callback(rig.stop)
        ledger = stack.enter_context(devnet.Chain(None, lambda: rigs[AUDIT].now / 1000))
        url = stack.enter_context(serve(ledger))
        stack.enter_context(passing(ledger))
        nodes = [NodeFront(free_port(), int(url.rpartition(":")[2])) for _ in range(fronts)]
        for number, node in enumerate(nodes):
            node.start(path / f"sent-{number}")
            stack.callback(node.stop)
        made = Realm(rigs, path, ledger, [node.url for node in nodes] or [url])
        made.fronts = nodes
        yield made


def fresh() -> bytes:
    """Return a nonce's value that was in no transaction."""
    return next(_numbers).to_bytes(32, "big")


def code_of(result: wire.Result) -> Code:
    """Return the code of a result that must be a refusal."""
    assert result.refusal.message, result
    return Code(result.refusal.code)


def _signers(softhsm: SoftHsm, path: Path, file: bytes) -> dict[str, SignerRig]:
    """Make both signers, each with a token of its own, neither with a lease."""
    other = replace(softhsm, label="far")
    init_token(other.module, other.label, other.so_pin, other.pin)
    token = other.open()
    import_key(token._session, "audit", bytes(key("audit of hot-far")))
    import_key(token._session, "hot-far", bytes(key("hot-far")))
    token.close()
    hold_keys(softhsm, "hot-two")
    rigs = {}
    for audit_key, hsm, name in ((AUDIT, softhsm, "journal"), (FAR_AUDIT, other, "far")):
        rigs[audit_key] = rig = SignerRig(hsm, path / name, file)
        rig.leased = False
        rig.restart()  # which ends the lease that its address book came under
    return rigs


def _wallets() -> str:
    """Return the policy's text of the other two hot wallets."""
    text = ""
    for name in ("hot-two", "hot-far"):
        text += wallet_text(name, tier="hot", signer=HOME[name], address=address_of(name))
    return text + "".join(rule_text(f"of-{name}", wallet=name) for name in ("hot-two", "hot-far"))


def _sealed(signed: Signed) -> tower_wire.SignedStatement:
    return tower_wire.SignedStatement(statement=signed.statement, signature=signed.signature)
