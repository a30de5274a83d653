"""A guard over a real token and a real journal, and the jobs that custody would send it.

The token holds `key("hot-sol")` and `key("audit")`, as the policy of `tests.factories` says, and
the journal its address book with CUSTOMER. The guard's clock stands at NOW until a test moves it.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.policy_file import parse_policy
from policies.statements import (
    LEASE_MS,
    Approval,
    Book,
    Change,
    Hello,
    Intent,
    Lease,
    Recover,
    Resolved,
    Signed,
    Statement,
    Theft,
    decode,
    digest,
    encode,
    verify,
)
from signer.anchor import begin
from signer.clock import Moment
from signer.governance import Governance
from signer.guard import Guard
from signer.hsm import Token
from signer.journal import Journal
from signer.requests import Past, Requests
from tests.factories import (
    HOUR,
    NOW,
    key,
    make_book,
    make_change,
    public,
    sign,
)
from tests.softhsm import SoftHsm, import_key

_SIGNERS = {
    public(name): key(name)
    for name in (
        "alice",
        "alice-2",
        "bob",
        "carol",
        "exchange",
        "partner",
        "screening",
        "tracing",
        "watchtower",
    )
}
STATUS = wire.Job(status=wire.Status())
HELLO = wire.Job(hello=wire.Hello(question=bytes(32)))


class SignerRig:
    """What one signer has on its host."""

    token: Token
    journal: Journal
    guard: Guard

    def __init__(self, softhsm: SoftHsm, path: Path, file: bytes) -> None:
        """Make token keys, and a journal with the policy `file`."""
        self.softhsm, self.path, self.now, self.boot = softhsm, path, NOW, "boot-1"
        self.policy = parse_policy(file)
        hold_keys(softhsm, "hot-sol", "audit")
        self.steady = 0
        self.leased, self.off = (
            True,
            0,
        )  # off: how far ahead of the host's the watchtower's clock is
        journal = Journal.create(path, replace(self.look(), wall=NOW - HOUR, tick=NOW - HOUR))
        token = softhsm.open()
        begin(token, journal)
        token.close()
        Governance(journal).install(self.policy, file, self.look())
        journal.close()
        self.start()
        assert self.ask(apply_book(make_book(), "alice", "carol")).applied.digest

    def start(self) -> None:
        """Open token and journal anew, as after a crash."""
        self.token = self.softhsm.open()
        self.journal = Journal(self.path)
        self.guard = Guard(self.token, self.journal, self.look)

    def look(self) -> Moment:
        """What the host's clocks say: steady goes on with now, unless a test sets the clock."""
        steady = self.now - NOW + self.steady + HOUR
        return Moment(wall=self.now, steady=steady, boot=self.boot, tick=self.now)

    def set_clock(self, now: int) -> None:
        """Set the host's clock, as an operator or an attacker does: no time passes."""
        self.steady += self.now - now
        self.off += self.now - now
        self.now = now

    def stop(self) -> None:
        self.token.close()
        self.journal.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def ask(self, job: wire.Job) -> wire.Result:
        """Return what the signer answers, under a fresh lease unless the test gives its own."""
        if self.leased and not self.ask_unleased(STATUS).status.lease_until:
            self.renew()
        return self.ask_unleased(job)

    def ask_unleased(self, job: wire.Job) -> wire.Result:
        (result,) = self.guard.answer([job])
        return result

    def renew(self) -> None:
        """Hand over a lease of now that resolves all, unless the signer says nothing of itself."""
        hello = self.ask_unleased(HELLO)
        if hello.HasField("hello"):
            rows = self.journal.db.execute("SELECT wallet, asset, amount FROM committed")
            resolved = tuple(
                Resolved(wallet=wallet, asset=asset, amount=amount)
                for wallet, asset, amount in rows
            )
            self.ask_unleased(lease_job(hello, time=self.now + self.off, resolved=resolved))

    def lease(self, **changes: Any) -> wire.Result:
        """Hand over a lease of now, as the watchtower makes it, but for `changes`."""
        job = lease_job(self.ask_unleased(HELLO), **{"time": self.now + self.off} | changes)
        return self.ask_unleased(job)

    def signed(self, job: wire.Job) -> wire.Signed:
        """Return what was signed; the result must not be a refusal."""
        result = self.ask(job)
        assert result.WhichOneof("outcome") == "signed", result
        return result.signed

    def refused(self, job: wire.Job) -> Code:
        """Return the refusal's code; the result must be one, with words and without a trace."""
        before = self.remembered()
        refusal = self.ask(job).refusal
        assert refusal.message
        assert self.remembered() == before
        return Code(refusal.code)

    def remembered(self) -> list[Any]:
        """Return all that the journal holds, but when it first saw what, and its chain."""
        noted = ("sight", "destination", "meta", "head")
        skipped = tuple(f'INSERT INTO "{table}"' for table in noted)
        return [line for line in self.journal.db.iterdump() if not line.startswith(skipped)]

    def find(self, request_id: str = "w-1") -> Past | None:
        """Return what the journal holds of one of the exchange's requests."""
        return Requests(self.journal).find("exchange", request_id)


def hold_keys(softhsm: SoftHsm, *labels: str) -> None:
    """Put `key(label)` into the token under each label that it does not hold."""
    token = softhsm.open()
    for label in {*labels} - token.keys().keys():
        import_key(token._session, label, bytes(key(label)))
    token.close()


def enveloped(item: Statement | Signed) -> wire.SignedStatement:
    """Return `item` as a frame carries it, signed by the key that a statement names."""
    if isinstance(item, Book | Recover):
        raise TypeError("neither a book version nor a recovery is signed itself")
    signed = item if isinstance(item, Signed) else sign(_SIGNERS[item.key], item)
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


def transfer(intent: Intent | Signed, *approvals: Approval | Signed, **chain: Any) -> wire.Job:
    """Return a transfer job; `chain` changes its nonce and budget."""
    limit, price = chain.pop("unit_limit", 1000), chain.pop("unit_price", 0)
    solana = wire.SolanaParameters(
        nonce_index=chain.pop("nonce_index", 0),
        nonce_value=chain.pop("nonce_value", b"\x07" * 32),
        budget=wire.ComputeBudget(unit_limit=limit, unit_price=price),
    )
    if chain:
        raise TypeError(f"a transfer has no {', '.join(chain)}")
    signed = [enveloped(approval) for approval in approvals]
    job = wire.Transfer(intent=enveloped(intent), approvals=signed, solana=solana)
    return wire.Job(transfer=job)


def lease_job(result: wire.Result, **changes: Any) -> wire.Job:
    """Return the watchtower's lease in answer to HELLO's result; `changes` must name the time."""
    signed = Signed(result.hello.statement, result.hello.signature)
    hello = decode(Hello, signed.statement)
    assert verify(hello.key, signed)
    seen = {**asdict(hello), "key": public("watchtower"), "audit_key": hello.key}
    del seen["question"], seen["freezes"], seen["lease"]
    usual = {**seen, "rejections": (), "resolved": (), "expires": changes["time"] + LEASE_MS}
    lease = Lease(**usual | changes)
    return wire.Job(apply=wire.Apply(lease=enveloped(lease)))


def nonce_open(index: int = 0, blockhash: bytes = b"\x09" * 32, **changes: Any) -> wire.Job:
    fields: dict[str, Any] = {
        "wallet": "hot-sol",
        "rent": 1_447_680,
        "budget": wire.ComputeBudget(unit_limit=1000, unit_price=0),
    }
    opening = wire.NonceOpen(index=index, blockhash=blockhash, **fields | changes)
    return wire.Job(nonce_open=opening)


def nonce_advance(index: int = 0, nonce_value: bytes = b"\x07" * 32, **changes: Any) -> wire.Job:
    fields: dict[str, Any] = {
        "wallet": "hot-sol",
        "budget": wire.ComputeBudget(unit_limit=1000, unit_price=0),
    }
    advance = wire.NonceAdvance(index=index, nonce_value=nonce_value, **fields | changes)
    return wire.Job(nonce_advance=advance)


def alarm(theft: Theft | Signed) -> wire.Job:
    return wire.Job(alarm_sweep=wire.AlarmSweep(theft=enveloped(theft)))


def apply_book(book: Book, *people: str, **changes: Any) -> wire.Job:
    """Return a book version with these people's signatures; `changes` alter their statements."""
    statement = encode(book)
    signed = [
        make_change("book", digest(statement), person, **{"previous": book.previous} | changes)
        for person in people
    ]
    return apply_statement(statement, signed)


def apply_statement(statement: bytes, changes: Iterable[Change | Signed]) -> wire.Job:
    version = wire.BookVersion(
        statement=statement, changes=[enveloped(change) for change in changes]
    )
    return wire.Job(apply=wire.Apply(book=version))
