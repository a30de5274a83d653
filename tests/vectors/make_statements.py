"""Made statements.json, once, from fixed seeds. It refuses to write over the file.

The bytes of a kind are on the wire and under signatures for ever: whoever needs other bytes makes
a new kind (`kura.intent.v2`) and adds its vector. A book version carries no signature of its own;
the change in the same file signs its digest.
"""

import json
from dataclasses import replace
from pathlib import Path

from nacl.signing import SigningKey

from policies.fields import key_text
from policies.statements import (
    Approval,
    Book,
    BookEntry,
    Cancel,
    Change,
    Destination,
    Intent,
    Recover,
    Statement,
    Veto,
    digest,
    encode,
)

FILE = Path(__file__).with_name("statements.json")
REQUESTER_SEED, OFFICER_SEED = bytes([1] * 32), bytes([2] * 32)
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
