"""Keys, policies and statements for tests: all from fixed names, so every run sees the same bytes.

`make_…(**changes)` returns something valid; `changes` make it what a test needs. The people are
alice (two keys), bob and carol; operations is alice and bob, risk is bob and carol.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nacl.signing import SigningKey

from policies.evaluate import Facts, early_facts
from policies.fields import key_text
from policies.freezes import digest_of
from policies.policy import TAG, Policy
from policies.policy_file import parse_policy
from policies.receipts import make_receipts
from policies.statements import (
    LEASE_MS,
    Ack,
    Approval,
    Book,
    BookEntry,
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
    Signed,
    Statement,
    Theft,
    Unfreeze,
    digest,
    encode,
)

NOW = 1_800_000_000_000  # Unix ms: 2027-01-15 08:00 UTC
HOUR = 3_600_000
SOL = 10**9
HOT_ADDRESS = "4q9VMi71kEVA9SzydFDqetPxDFeV8gx2mDnpJHirRJXw"  # of key("hot-sol")
COLD_ADDRESS = "Dj5E8Ej3DWC5H6zdJJHorXFRAFbQimSWGPwvw8Jc4VQS"  # of key("cold-sol")
CUSTOMER = Destination(address="ri4UZnuh96AsTTzfn6ZXsnc1LTSAQUhzth7vixeQRk4", memo="")
STRANGER = Destination(address="2FQjTDy4kSSJG5ALLj7kWDqbe5Ujc5g1M8aibftErrCz", memo="")


def key(name: str) -> SigningKey:
    """Return the private key that tests know as `name`."""
    return SigningKey(hashlib.sha256(f"kura test {name}".encode()).digest())


def public(name: str) -> str:
    """Return `key(name)`'s public half as statements and policy files write it."""
    return key_text(bytes(key(name).verify_key))


def sign(private: SigningKey, statement: Statement) -> Signed:
    """Return the statement's exact bytes with `private`'s signature."""
    return sign_bytes(private, encode(statement))


def sign_bytes(private: SigningKey, statement: bytes) -> Signed:
    """Return any bytes with `private`'s signature: for statements that are not well formed."""
    return Signed(statement, private.sign(statement).signature)


WINDOWS: Mapping[str, list[object]] = {  # more than any test of something else reaches
    "wallet": ["24 hours", "1000000 SOL", 1_000_000],
    "approved": ["24 hours", "1000000 SOL", 1_000_000],
    "upkeep": ["24 hours", "1 SOL", 1_000],
}
_TIERS: Mapping[str, list[str]] = {
    "1 SOL": [],
    "10 SOL": ["1 of operations"],
    "40 SOL": ["1 of operations", "1 of risk"],
}
_RULE: Mapping[str, object] = {
    "wallet": "hot-sol",
    "requester": "exchange",
    "destination": "address-book",
    "hours": "always",
    "cooling_period": "0 hours",
    "cooling_amount": "0 SOL",
    "tiers": _TIERS,
    "delay": "0 hours",
}
_POLICY: Mapping[str, object] = {
    "version": 1,
    "previous": "",
    "network": "solana:devnet",
    "alice": [public("alice"), public("alice-2")],
    "exchange": [public("exchange")],
    "enabled": True,
    "services": {},
    "beyond_recall": "1000000 SOL",
    "windows": WINDOWS,
    **_RULE,
    "change_delay": "24 hours",
    "address": HOT_ADDRESS,
    "signer": public("audit"),
    "key_origin": "token",
    "cap": "50 SOL",
    "maximum_fee": "0.001 SOL",
    "nonce_pool": 4,
    "watchtower": public("watchtower"),
    "sweep_to": COLD_ADDRESS,
    "sweep_fee": "0.01 SOL",
    "sweep_count": 24,
    "more": "",
    "policy_quorum": ["1 of operations", "1 of risk"],
    "book_quorum": ["1 of operations", "1 of risk"],
}
_FILE = f"""{TAG}
version = %(version)s
previous = %(previous)s
[watchtower]
key = %(watchtower)s
[assets.SOL]
network = %(network)s
decimals = 9
[people.alice]
keys = %(alice)s
[people.bob]
keys = ["{public("bob")}"]
[people.carol]
keys = ["{public("carol")}"]
[groups.operations]
members = ["alice", "bob"]
[groups.risk]
members = ["bob", "carol"]
%(services)s
[requesters.exchange]
keys = %(exchange)s
[wallets.hot-sol]
enabled = %(enabled)s
tier = "hot"
asset = "SOL"
address = %(address)s
signer = %(signer)s
key_origin = %(key_origin)s
cap = %(cap)s
maximum_fee = %(maximum_fee)s
nonce_pool = %(nonce_pool)s
beyond_recall = %(beyond_recall)s
[wallets.hot-sol.sweep]
to = %(sweep_to)s
fee = %(sweep_fee)s
count = %(sweep_count)s
%(windows)s[change_quorum]
policy = %(policy_quorum)s
book = %(book_quorum)s
delay = %(change_delay)s
%(rules)s%(more)s"""


def policy_file(**changes: object) -> bytes:
    """Return a policy file; `changes` replace values of `_POLICY`.

    `tiers` is {up_to: seats}, or {up_to: {"people": paths, "services": names, "delay": time}};
    `windows` {scope: [period, amount, count]}, or a list of (scope, period, amount, count);
    `services` {name: keys}; `delay` is of every tier that says nothing else; `more` is text behind.
    """
    unknown = changes.keys() - _POLICY.keys()
    if unknown:
        raise TypeError(f"a policy file of these tests has no {', '.join(unknown)}")
    values: dict[str, Any] = {**_POLICY, **changes}
    rule = {name: values.pop(name) for name in _RULE}
    more = values.pop("more")
    windows, services = values.pop("windows"), values.pop("services")
    if isinstance(windows, dict):
        windows = [(scope, *limits) for scope, limits in windows.items()]
    rendered = {name: json.dumps(value) for name, value in values.items()}  # also valid TOML
    rendered |= {"rules": rule_text("customers", **rule), "more": more}
    rendered["windows"] = "".join(
        _table("[wallets.hot-sol.windows]", _window(*window)) for window in windows
    )
    rendered["services"] = "[services]\n" + "".join(
        _table(f"services.{name}", {"keys": keys}) for name, keys in services.items()
    )
    return (_FILE % rendered).encode()


def rule_text(name: str, **changes: Any) -> str:
    """Return the text of one rule; `changes` replace values of `_RULE`."""
    values: dict[str, Any] = {"name": name, **_RULE, **changes}
    tiers, delay = values.pop("tiers"), values.pop("delay")
    return _table("[rules]", values) + "".join(
        _table("[rules.tiers]", {"up_to": up_to} | _tier(tier, delay))
        for up_to, tier in tiers.items()
    )


def wallet_text(name: str, **changes: object) -> str:
    """Return the text of another wallet, cold unless `tier` says hot, with windows of WINDOWS."""
    values: dict[str, object] = {
        "enabled": True,
        "tier": "cold",
        "asset": "SOL",
        "address": COLD_ADDRESS,
        "signer": public(f"audit of {name}"),
        "key_origin": "token",
        "cap": "50 SOL",
        "maximum_fee": "0.001 SOL",
        "nonce_pool": 4,
        "beyond_recall": "500 SOL",
    } | changes
    windows = "".join(
        _table(f"[wallets.{name}.windows]", _window(scope, *limits))
        for scope, limits in WINDOWS.items()
    )
    sweep = {"to": COLD_ADDRESS, "fee": "0.01 SOL", "count": 24}
    swept = _table(f"wallets.{name}.sweep", sweep) if values["tier"] == "hot" else ""
    return _table(f"wallets.{name}", values) + swept + windows


def _window(*values: object) -> dict[str, object]:
    return dict(zip(("of", "period", "amount", "count"), values, strict=True))


def _tier(tier: Any, delay: str) -> dict[str, object]:
    paths = {"people": [tier] if tier else []} if isinstance(tier, list) else tier
    return {"services": [], "people": [], "delay": delay} | paths


def _table(header: str, values: Mapping[str, object]) -> str:
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    return f"[{header}]\n" + "".join(lines)


def make_policy(**changes: object) -> Policy:
    """Return `policy_file(**changes)`, parsed."""
    return parse_policy(policy_file(**changes))


def make_intent(**changes: Any) -> Intent:
    """Return an intent of 0.5 SOL, made at NOW for an hour; sign it with key("exchange")."""
    intent = Intent(
        key=public("exchange"),
        requester="exchange",
        request_id="w-1",
        wallet="hot-sol",
        network="solana:devnet",
        asset="SOL",
        destination=CUSTOMER,
        amount=SOL // 2,
        created=NOW,
        expires=NOW + HOUR,
    )
    return replace(intent, **changes)


def make_facts(intent: Intent, *approvals: Approval, **changes: Any) -> Facts:
    """Return facts at NOW: listed, nothing spent, all long known; `changes` of single facts."""
    facts = early_facts(intent, now=NOW, in_address_book=True, approvals=approvals, fee=0)
    return replace(facts, **changes)


def make_approval(
    policy: Policy, intent: Intent, person: str = "alice", /, **changes: Any
) -> Approval:
    """Return `person`'s approval of `intent` under `policy`; sign it with key(person)."""
    approval = Approval(
        key=public(person),
        decision="approve",
        intent=digest(encode(intent)),
        approver=person,
        policy=policy.digest,
        expires=NOW + HOUR,
    )
    return replace(approval, **changes)


def make_change(subject: str, subject_digest: str, person: str, /, **changes: Any) -> Change:
    """Return `person`'s signature-to-be under a first version; sign it with key(person)."""
    change = Change(
        key=public(person),
        person=person,
        subject=subject,
        digest=subject_digest,
        previous="",
        expires=NOW + HOUR,
    )
    return replace(change, **changes)


def make_book(*destinations: Destination, **changes: Any) -> Book:
    """Return a first address-book version that adds `destinations`, or CUSTOMER alone."""
    added = tuple(
        BookEntry(network="solana:devnet", address=to.address, memo=to.memo, label="a customer")
        for to in destinations or (CUSTOMER,)
    )
    return replace(Book(version=1, previous="", add=added, remove=()), **changes)


def make_recover(**changes: Any) -> Recover:
    """Return a recovery of the signer whose audit key is key("audit"), made at NOW."""
    recover = Recover(
        audit_key=public("audit"),
        old_journal="0f" * 16,
        new_journal="f0" * 16,
        watchtower="",
        created=NOW,
    )
    return replace(recover, **changes)


def make_freeze(person: str = "alice", /, **changes: Any) -> Freeze:
    """Return `person`'s freeze of all wallets in the first epoch; sign it with key(person)."""
    return replace(Freeze(key=public(person), person=person, wallet="*", epoch=""), **changes)


def make_unfreeze(person: str, *freezes: str, **changes: Any) -> Unfreeze:
    """Return `person`'s unfreeze of these digests in the first epoch; sign it with key(person)."""
    unfreeze = Unfreeze(
        key=public(person),
        person=person,
        epoch="",
        freezes=tuple(sorted(freezes)),
        expires=NOW + HOUR,
    )
    return replace(unfreeze, **changes)


def make_hello(policy: Policy, **changes: Any) -> Hello:
    """Return what a signer says that just started under `policy`; sign it with key("audit")."""
    hello = Hello(
        key=public("audit"),
        question="a0" * 32,
        challenge="c0" * 32,
        journal="0f" * 16,
        sequence=0,
        head="00" * 32,
        policy=policy.digest,
        epoch="",
        freezes=digest_of(()),
        lease="",
    )
    return replace(hello, **changes)


def make_lease(hello: Hello, *resolved: Resolved, **changes: Any) -> Lease:
    """Return the lease at NOW that answers `hello`; sign it with key("watchtower")."""
    lease = Lease(
        key=public("watchtower"),
        audit_key=hello.key,
        challenge=hello.challenge,
        journal=hello.journal,
        sequence=hello.sequence,
        head=hello.head,
        policy=hello.policy,
        epoch=hello.epoch,
        time=NOW,
        expires=NOW + LEASE_MS,
        rejections=(),
        resolved=resolved,
    )
    return replace(lease, **{"expires": changes.get("time", NOW) + LEASE_MS} | changes)


def make_ack(receipt: Receipt, **changes: Any) -> Ack:
    """Return the word that the receipt is held; sign it with key("watchtower")."""
    return replace(Ack(key=public("watchtower"), receipt=digest(encode(receipt))), **changes)


def make_dead(intent: Intent, transaction_id: str, **changes: Any) -> Dead:
    """Return the word that this transaction never lands; sign it with key("watchtower")."""
    dead = Dead(
        key=public("watchtower"), intent=digest(encode(intent)), transaction_id=transaction_id
    )
    return replace(dead, **changes)


def make_elapsed(change: str, **changes: Any) -> Elapsed:
    """Return the word that this version's delay was over at NOW; sign it with key("watchtower")."""
    return replace(Elapsed(key=public("watchtower"), change=change, time=NOW), **changes)


def make_theft(transaction: bytes = b"stolen", **changes: Any) -> Theft:
    """Return the claim that these bytes are a theft of all but 7 SOL; key("watchtower") signs."""
    theft = Theft(
        key=public("watchtower"),
        wallet="hot-sol",
        epoch="",
        transaction=transaction.hex(),
        blockhash="b0" * 32,
        balance=7 * SOL,
    )
    return replace(theft, **changes)


def make_receipt(intent: Intent, **changes: Any) -> Receipt:
    """Return the receipt at NOW of a signature for `intent`; key("audit") signs its batch."""
    receipt = Receipt(
        key=public("audit"),
        outcome="signed",
        code="",
        requester=intent.requester,
        request_id=intent.request_id,
        wallet=intent.wallet,
        intent=digest(encode(intent)),
        transaction_id="1" * 64,
        amount=intent.amount + 5_000,
        nonce_account=STRANGER.address,
        nonce_value="05" * 32,
        journal="0f" * 16,
        sequence=1,
        head="11" * 32,
        log_head="",
        time=NOW,
    )
    return replace(receipt, **changes)


def travelling(*receipts: Receipt, signer: str = "audit") -> list[bytes]:
    """Return each receipt as it travels, all in one batch that key(signer) signed."""
    return make_receipts(public(signer), receipts, lambda data: key(signer).sign(data).signature)


async def told_nobody(*_: object) -> None:
    """Hear of a call by a wrong role."""
