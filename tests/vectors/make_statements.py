"""Made statements.json from fixed seeds. It refuses to write over the file.

The bytes of a kind are on the wire and under signatures for ever: whoever needs other bytes makes
a new kind (`kura.intent.v2`) and adds its vector. A book version carries no signature of its own;
the change in the same file signs its digest. A receipt carries none either: the batch in the same
file, of this one receipt, is signed.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from nacl.signing import SigningKey

from policies.fields import key_text
from policies.freezes import digest_of
from policies.statements import (
    Ack,
    Approval,
    Batch,
    Book,
    BookEntry,
    Cancel,
    Change,
    Dead,
    Destination,
    Elapsed,
    Freeze,
    Hello,
    Intent,
    Lease,
    Receipt,
    Recover,
    Resolved,
    Statement,
    Theft,
    Unfreeze,
    Veto,
    digest,
    encode,
)

FILE = Path(__file__).with_name("statements.json")
REQUESTER_SEED, OFFICER_SEED = bytes([1] * 32), bytes([2] * 32)
WATCHTOWER_SEED, AUDIT_SEED = bytes([3] * 32), bytes([4] * 32)
_CREATED = 1_800_000_000_000
_POLICY = digest(b"the policy in force")


def make_vectors() -> list[dict[str, str]]:
    """Return one vector a kind: exact bytes as text, digest, and who signed them (seed in hex)."""
    requester, officer = (
        key_text(bytes(SigningKey(seed).verify_key)) for seed in (REQUESTER_SEED, OFFICER_SEED)
    )
    intent = Intent(
        key=requester,
        requester="exchange",
        request_id="withdrawal-000001",
        wallet="hot-sol",
        network="solana:devnet",
        asset="SOL",
        destination=Destination(
            address="ri4UZnuh96AsTTzfn6ZXsnc1LTSAQUhzth7vixeQRk4", memo='請求書 "7" \\ é/🗝'
        ),
        amount=1_500_000_000,
        created=_CREATED,
        expires=_CREATED + 3_600_000,
    )
    intent_digest = digest(encode(intent))
    approval = Approval(
        key=officer,
        decision="approve",
        intent=intent_digest,
        approver="alice",
        policy=_POLICY,
        expires=_CREATED + 3_600_000,
    )
    to = intent.destination
    entry = BookEntry(network=intent.network, address=to.address, memo=to.memo, label="顧客 1")
    gone = BookEntry(network=intent.network, address="11111111", memo="", label="old")
    book = Book(version=2, previous=_POLICY, add=(entry,), remove=(gone,))
    change = Change(
        key=officer,
        person="alice",
        subject="book",
        digest=digest(encode(book)),
        previous=book.previous,
        expires=_CREATED + 3_600_000,
    )
    veto = Veto(key=officer, person="alice", change=digest(b"a policy that waits"))
    recover = Recover(
        audit_key=requester,
        old_journal="0f" * 16,
        new_journal="f0" * 16,
        watchtower="",
        created=_CREATED,
    )
    recovery = replace(change, subject="recover", digest=digest(encode(recover)), previous=_POLICY)
    return [
        _vector(intent, REQUESTER_SEED),
        _vector(Cancel(key=requester, intent=intent_digest), REQUESTER_SEED),
        _vector(approval, OFFICER_SEED),
        _vector(book, b""),
        _vector(change, OFFICER_SEED),
        _vector(veto, OFFICER_SEED),
        _vector(recover, b""),
        _vector(recovery, OFFICER_SEED),
        *_vectors_of_freezes(officer),
        *_vectors_of_the_watchtower(intent_digest),
    ]


def _vectors_of_freezes(officer: str) -> list[dict[str, str]]:
    """Return a freeze of the first epoch, and an unfreeze that clears it."""
    freeze = Freeze(key=officer, person="alice", wallet="*", epoch="")
    unfreeze = Unfreeze(
        key=officer,
        person="alice",
        epoch="",
        freezes=(digest(encode(freeze)),),
        expires=_CREATED + 3_600_000,
    )
    return [_vector(freeze, OFFICER_SEED), _vector(unfreeze, OFFICER_SEED)]


def _vectors_of_the_watchtower(intent: str) -> list[dict[str, str]]:
    """Return what signer and watchtower say to each other."""
    audit, watchtower = (
        key_text(bytes(SigningKey(seed).verify_key)) for seed in (AUDIT_SEED, WATCHTOWER_SEED)
    )
    hello = Hello(
        key=audit,
        question="a0" * 32,
        challenge="c0" * 32,
        journal="0f" * 16,
        sequence=41,
        head=digest(b"a head"),
        policy=_POLICY,
        epoch="",
        freezes=digest_of(()),
        lease="",
    )
    resolved = Resolved(wallet="hot-sol", asset="SOL", amount=12_000_000_000)
    lease = Lease(
        key=watchtower,
        audit_key=audit,
        challenge=hello.challenge,
        journal=hello.journal,
        sequence=hello.sequence,
        head=hello.head,
        policy=hello.policy,
        epoch=hello.epoch,
        time=_CREATED,
        expires=_CREATED + 60_000,
        rejections=(digest(b"a rejection"),),
        resolved=(resolved,),
    )
    receipt = Receipt(
        key=audit,
        outcome="signed",
        code="",
        requester="exchange",
        request_id="withdrawal-000001",
        wallet="hot-sol",
        intent=intent,
        transaction_id="2" * 64,
        amount=1_500_005_000,
        nonce_account="2FQjTDy4kSSJG5ALLj7kWDqbe5Ujc5g1M8aibftErrCz",
        nonce_value="05" * 32,
        journal=hello.journal,
        sequence=42,
        head=digest(b"the next head"),
        log_head="",
        time=_CREATED,
    )
    data = encode(receipt)
    batch = Batch(key=audit, size=1, root=hashlib.sha256(b"\0" + data).hexdigest())
    theft = Theft(
        key=watchtower,
        wallet=resolved.wallet,
        epoch="",
        transaction="01" * 200,
        blockhash="b0" * 32,
        balance=0,
    )
    said = (
        lease,
        Ack(key=watchtower, receipt=digest(data)),
        Dead(key=watchtower, intent=intent, transaction_id=receipt.transaction_id),
        Elapsed(key=watchtower, change=digest(b"a policy that waits"), time=_CREATED),
        theft,
    )
    return [
        _vector(hello, AUDIT_SEED),
        _vector(receipt, b""),
        _vector(batch, AUDIT_SEED),
        *(_vector(statement, WATCHTOWER_SEED) for statement in said),
    ]


def _vector(statement: Statement, seed: bytes) -> dict[str, str]:
    data = encode(statement)
    return {
        "kind": statement.KIND,
        "statement": data.decode(),
        "digest": digest(data),
        "seed": seed.hex(),
        "key": key_text(bytes(SigningKey(seed).verify_key)) if seed else "",
        "signature": SigningKey(seed).sign(data).signature.hex() if seed else "",
    }


if __name__ == "__main__":
    with FILE.open("x", encoding="utf-8") as file:
        json.dump(make_vectors(), file, ensure_ascii=False, indent=2)
        file.write("\n")
