"""The officer's own check: whatever custody shows, only what was signed is shown to an officer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from custody.cli.trust import (
    RefusedAnywayError,
    UntrustedError,
    Verified,
    open_policy,
    verify_withdrawal,
)
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from policies.policy import Policy
from policies.statements import Destination, Intent, Signed, digest, encode
from tests.factories import (
    HOUR,
    NOW,
    SOL,
    STRANGER,
    key,
    make_approval,
    make_intent,
    make_policy,
    policy_file,
    rule_text,
    sign,
    sign_bytes,
)
from tests.memory_custody import shown

POLICY = make_policy()
INTENT = make_intent(amount=20 * SOL, destination=Destination(STRANGER.address, "tag 7"))
SIGNED = sign(key("exchange"), INTENT)
NAME = f"withdrawals/{digest(SIGNED.statement)}"


def look(withdrawal: wire.Withdrawal, policy: Policy = POLICY, now: int = NOW) -> Verified:
    return verify_withdrawal(NAME, withdrawal, policy, now)


def decided(person: str, intent: Intent = INTENT, **changes: Any) -> Signed:
    return sign(key(person), make_approval(POLICY, intent, person, **changes))


def test_what_is_shown_is_what_was_signed() -> None:
    seen = look(shown(SIGNED))
    assert seen.intent == INTENT
    assert seen.name == NAME
    (asked,) = seen.asked
    assert asked.asks == asked.missing == ("1 of operations", "1 of risk")
    assert seen.asked_people() == {"alice", "bob", "carol"}


TAMPERED: dict[str, Callable[[wire.Withdrawal], object]] = {
    "name": lambda item: setattr(item, "name", "withdrawals/" + "0" * 64),
    "requester": lambda item: setattr(item, "requester", "exchanqe"),
    "request_id": lambda item: setattr(item, "request_id", "w-2"),
    "wallet": lambda item: setattr(item, "wallet", "wallets/hot-s0l"),
    "network": lambda item: setattr(item, "network", "solana:mainnet"),
    "asset": lambda item: setattr(item, "asset", "USDC"),
    "destination.address": lambda item: setattr(
        item.destination, "address", STRANGER.address[:-1] + "s"
    ),
    "destination.memo": lambda item: setattr(item.destination, "memo", "tag 8"),
    "amount": lambda item: setattr(item, "amount", "2000000000"),
    "expire_time": lambda item: setattr(item.expire_time, "nanos", 1_000_000),
}


@pytest.mark.parametrize("field", TAMPERED)
def test_a_field_that_is_shown_otherwise_is_named(field: str) -> None:
    withdrawal = shown(SIGNED)
    TAMPERED[field](withdrawal)
    with pytest.raises(UntrustedError, match="approve nothing") as caught:
        look(withdrawal)
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["name", *TAMPERED])
def test_a_field_that_is_left_out_is_named(field: str) -> None:
    withdrawal = shown(SIGNED)
    outer, _, inner = field.partition(".")
    (getattr(withdrawal, outer) if inner else withdrawal).ClearField(inner or outer)
    with pytest.raises(UntrustedError) as caught:
        look(withdrawal)
    assert caught.value.field == field


def test_another_withdrawal_than_the_one_asked_for_is_not_shown() -> None:
    other = sign(key("exchange"), replace(INTENT, request_id="w-2"))
    with pytest.raises(UntrustedError) as caught:
        look(shown(other))
    assert caught.value.field == "name"


def test_other_bytes_under_the_same_name_are_not_shown() -> None:
    other = sign(key("exchange"), replace(INTENT, amount=21 * SOL))
    withdrawal = shown(other)
    withdrawal.name = NAME
    with pytest.raises(UntrustedError) as caught:
        look(withdrawal)
    assert caught.value.field == "name"


@pytest.mark.parametrize("statement", [b"", b"{}", b'{"kind":"kura.intent.v1"}', b"\xff"])
def test_bytes_that_are_no_intent_are_not_shown(statement: bytes) -> None:
    name = f"withdrawals/{digest(statement)}"
    withdrawal = shown(SIGNED)
    withdrawal.name, withdrawal.intent.statement = name, statement
    with pytest.raises(UntrustedError) as caught:
        verify_withdrawal(name, withdrawal, POLICY, NOW)
    assert caught.value.field == "intent"


@pytest.mark.parametrize("signature", [b"", bytes(64), SIGNED.signature[:-1] + b"\x00"])
def test_an_intent_that_its_requester_did_not_sign_is_refused(signature: bytes) -> None:
    withdrawal = shown(SIGNED)
    withdrawal.intent.signature = signature
    with pytest.raises(RefusedAnywayError) as caught:
        look(withdrawal)
    assert caught.value.refusal.code is Code.SIGNATURE_INVALID


def test_an_intent_of_a_key_that_the_policy_does_not_name_is_refused() -> None:
    thief = make_intent(key=make_approval(POLICY, INTENT, "thief").key, amount=20 * SOL)
    signed = sign(key("thief"), thief)
    withdrawal = shown(signed)
    with pytest.raises(RefusedAnywayError) as caught:
        verify_withdrawal(withdrawal.name, withdrawal, POLICY, NOW)
    assert caught.value.refusal.code is Code.REQUESTER_UNKNOWN


@pytest.mark.parametrize(
    ("intent", "now", "code"),
    [
        (replace(INTENT, amount=51 * SOL), NOW, Code.CAP_EXCEEDED),
        (replace(INTENT, amount=41 * SOL), NOW, Code.TIERS_EXCEEDED),
        (replace(INTENT, wallet="hot-2"), NOW, Code.WALLET_UNKNOWN),
        (replace(INTENT, asset="USDC"), NOW, Code.ASSET_MISMATCH),
        (INTENT, INTENT.expires, Code.INTENT_EXPIRED),
        (INTENT, NOW - HOUR, Code.INTENT_EARLY),
    ],
)
def test_what_the_signer_would_refuse_is_not_put_before_an_officer(
    intent: Intent, now: int, code: Code
) -> None:
    withdrawal = shown(sign(key("exchange"), intent))
    with pytest.raises(RefusedAnywayError) as caught:
        verify_withdrawal(withdrawal.name, withdrawal, POLICY, now)
    assert caught.value.refusal.code is code


def test_valid_decisions_fill_seats() -> None:
    seen = look(shown(SIGNED, decided("alice")))
    assert [item.state for item in seen.decisions] == ["valid"]
    assert list(map(str, seen.asked[0].missing)) == ["1 of risk"]


FORGED = {
    "by another key": sign_bytes(key("thief"), encode(make_approval(POLICY, INTENT, "alice"))),
    "by a stranger": sign(key("thief"), make_approval(POLICY, INTENT, "thief")),
    "of another intent": decided("alice", replace(INTENT, amount=SOL)),
    "no approval": Signed(b"{}", bytes(64)),
    "empty": Signed(b"", b""),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_forged_decision_is_shown_as_invalid_and_fills_no_seat(forged: Signed) -> None:
    seen = look(shown(SIGNED, forged, decided("bob")))
    assert [item.state for item in seen.decisions] == ["INVALID", "valid"]
    assert len(seen.asked[0].missing) == 1


@pytest.mark.parametrize(
    ("changes", "state"), [({"expires": NOW}, "EXPIRED"), ({"policy": "ab" * 32}, "OUTDATED")]
)
def test_a_decision_that_no_longer_counts_fills_no_seat(
    changes: dict[str, Any], state: str
) -> None:
    seen = look(shown(SIGNED, decided("alice", **changes)))
    assert [item.state for item in seen.decisions] == [state]
    assert seen.asked[0].missing == seen.asked[0].asks


def test_a_rejection_is_shown() -> None:
    seen = look(shown(SIGNED, decided("carol", decision="reject")))
    assert [item.words for item in seen.decisions] == ["reject by carol"]
    assert seen.asked[0].missing == seen.asked[0].asks


def test_one_person_fills_one_seat_however_often() -> None:
    twice = decided("bob"), decided("bob", expires=NOW + 2 * HOUR)
    assert len(look(shown(SIGNED, *twice)).asked[0].missing) == 1


def test_both_rules_are_shown_when_only_the_signer_knows_which() -> None:
    more = rule_text("strangers", destination="any", tiers={"30 SOL": ["2 of risk"]})
    file = policy_file(tiers={"40 SOL": []}, more=more)
    seen = look(shown(SIGNED), open_policy(file, None))
    assert [asked.rule for asked in seen.asked] == ["customers", "strangers"]


def test_the_policy_is_the_one_that_was_pinned() -> None:
    file = policy_file()
    assert open_policy(file, digest(file)) == POLICY
    with pytest.raises(UntrustedError) as caught:
        open_policy(policy_file(cap="5000 SOL"), digest(file))
    assert caught.value.field == "policy digest"


@pytest.mark.parametrize("file", [b"", b"\xff", b"# kura.policy.v1\nversion = 1\n"])
def test_bytes_that_are_no_policy_are_not_used(file: bytes) -> None:
    with pytest.raises(UntrustedError):
        open_policy(file, None)
