"""The verdict: each refusal by its code and field, and who may ask at all."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from policies.codes import Code, Refusal
from policies.evaluate import (
    EARLY_MS,
    Allowed,
    approvals_missing,
    approvers_needed,
    evaluate,
    find_tier,
    open_intent,
)
from policies.policy import DestinationClass, Policy
from policies.statements import Approval, Destination, Intent, Signed, encode
from tests.factories import (
    HOT_ADDRESS,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    key,
    make_approval,
    make_facts,
    make_intent,
    make_policy,
    public,
    sign,
    sign_bytes,
)
from tests.malformed import with_field

POLICY = make_policy()
PEOPLE = ["alice", "bob", "carol", "mallory", "exchange"]


def approval(person: str, decision: str = "approve") -> Approval:
    """Return an approval as `open_approvals` hands it over: everything but these two is checked."""
    return make_approval(POLICY, make_intent(), person, decision=decision)


def verdict(
    intent: Intent,
    *approvals: Approval,
    listed: bool = True,
    now: int = NOW,
    policy: Policy = POLICY,
) -> Allowed | Refusal:
    return evaluate(policy, intent, make_facts(intent, *approvals, now=now, in_address_book=listed))


def allowed(outcome: object, rule: str = "customers") -> bool:
    return isinstance(outcome, Allowed) and outcome.rule == rule


def code(outcome: object) -> Code:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def test_what_the_policy_allows() -> None:
    alice, carol = approval("alice"), approval("carol")
    assert allowed(verdict(make_intent(amount=SOL)))
    assert allowed(verdict(make_intent(amount=10 * SOL), alice))
    assert allowed(verdict(make_intent(amount=40 * SOL), alice, carol))


@pytest.mark.parametrize(
    ("changes", "expected", "field"),
    [
        ({"wallet": "cold-sol"}, Code.WALLET_UNKNOWN, "wallet"),
        ({"asset": "XRP"}, Code.ASSET_MISMATCH, "asset"),
        ({"network": "solana:mainnet"}, Code.NETWORK_MISMATCH, "network"),
        ({"network": "stellar:devnet"}, Code.NETWORK_MISMATCH, "network"),
        (
            {"destination": Destination(HOT_ADDRESS, "")},
            Code.DESTINATION_INVALID,
            "destination.address",
        ),
        (
            {"destination": Destination(HOT_ADDRESS, "memo")},
            Code.DESTINATION_INVALID,
            "destination.address",
        ),
        ({"expires": NOW}, Code.INTENT_EXPIRED, "expires"),
        ({"expires": NOW - 1}, Code.INTENT_EXPIRED, "expires"),
        ({"created": NOW + EARLY_MS + 1}, Code.INTENT_EARLY, "created"),
        ({"amount": 50 * SOL + 1}, Code.CAP_EXCEEDED, "amount"),
        ({"amount": 2**63 - 1}, Code.CAP_EXCEEDED, "amount"),
        ({"amount": 40 * SOL + 1}, Code.TIERS_EXCEEDED, "amount"),
        ({"amount": 50 * SOL}, Code.TIERS_EXCEEDED, "amount"),
        ({"requester": "other"}, Code.NO_RULE, "wallet"),
    ],
)
def test_what_it_refuses_names_the_field(
    changes: dict[str, Any], expected: Code, field: str
) -> None:
    everyone = [approval(person) for person in PEOPLE]
    intent = replace(make_intent(created=NOW - HOUR), **changes)
    refusal = verdict(intent, *everyone)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (expected, field)


def test_the_limits_of_time_and_amount_are_inclusive_where_they_say_so() -> None:
    assert allowed(verdict(make_intent(expires=NOW + 1)))
    assert allowed(verdict(make_intent(created=NOW + EARLY_MS)))
    assert code(verdict(make_intent(), now=NOW + HOUR)) is Code.INTENT_EXPIRED
    assert code(verdict(make_intent(amount=SOL + 1))) is Code.APPROVALS_MISSING


def test_a_destination_outside_the_address_book_is_refused() -> None:
    refusal = verdict(make_intent(destination=STRANGER), listed=False)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.DESTINATION_NOT_ALLOWED
    assert refusal.field == "destination.address"
    assert refusal.message == f"{STRANGER.address} is not in the address book"
    with_memo = verdict(make_intent(destination=replace(STRANGER, memo="7")), listed=False)
    assert isinstance(with_memo, Refusal)
    assert with_memo.message.endswith("with this memo")


def test_a_rule_for_any_destination_asks_no_address_book() -> None:
    policy = make_policy(destination="any")
    assert allowed(verdict(make_intent(), listed=False, policy=policy))


def test_the_first_rule_that_matches_decides() -> None:
    (first,) = POLICY.rules
    wider = replace(first, name="anyone", destination=DestinationClass.ANY)
    policy = replace(POLICY, rules=(first, wider))
    assert allowed(verdict(make_intent(), listed=True, policy=policy))
    assert allowed(verdict(make_intent(), listed=False, policy=policy), "anyone")


def test_without_a_rule_everything_is_refused() -> None:
    policy = replace(POLICY, rules=())
    everyone = [approval(person) for person in PEOPLE]
    assert code(verdict(make_intent(), *everyone, policy=policy)) is Code.NO_RULE


def test_who_is_missing_is_named() -> None:
    intent = make_intent(amount=40 * SOL)
    refusal = verdict(intent)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.rule) == (Code.APPROVALS_MISSING, "customers")
    assert refusal.message == "still needs 1 of operations and 1 of risk"
    for person in ("alice", "bob"):
        alone = verdict(intent, approval(person))
        assert isinstance(alone, Refusal)
        assert alone.message == "still needs 1 of risk"
    assert code(verdict(intent, approval("mallory"), approval("exchange"))) is refusal.code


def test_a_rejection_of_who_is_asked_refuses_whatever_else_came() -> None:
    intent, yes = make_intent(amount=10 * SOL), approval("alice")
    no = approval("bob", "reject")
    for approvals in itertools.permutations([yes, no, approval("bob"), approval("carol")]):
        refusal = verdict(intent, *approvals)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.message) == (Code.APPROVAL_REJECTED, "bob rejected it")


def test_a_rejection_fills_no_seat() -> None:
    tier = find_tier(POLICY.rules[0], 10 * SOL)
    assert tier
    (rule,) = POLICY.rules
    no, yes = [approval("alice", "reject")], [approval("alice")]
    assert approvals_missing(POLICY, rule, tier, no) == ("1 of operations",)
    assert approvals_missing(POLICY, rule, tier, yes) == ()
    assert approvers_needed(POLICY, rule, tier, no) == {"alice", "bob"}
    assert approvers_needed(POLICY, rule, tier, yes) == set()


def test_only_who_is_asked_can_reject() -> None:
    assert allowed(verdict(make_intent(amount=SOL), approval("alice", "reject")))
    ten, yes = make_intent(amount=10 * SOL), approval("alice")
    for person in ("carol", "mallory", "exchange"):
        assert allowed(verdict(ten, yes, approval(person, "reject")))


def opened(signed: Signed) -> tuple[Code, str]:
    refusal = open_intent(POLICY, signed)
    assert isinstance(refusal, Refusal)
    return refusal.code, refusal.field


def test_an_intent_that_its_requester_signed_is_opened() -> None:
    assert open_intent(POLICY, sign(key("exchange"), make_intent())) == make_intent()


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63)])
def test_an_unsigned_intent_is_refused(signature: bytes) -> None:
    signed = Signed(encode(make_intent()), signature)
    assert opened(signed) == (Code.SIGNATURE_INVALID, "signature")


def test_an_intent_that_another_key_signed_is_refused() -> None:
    signed = sign(key("alice"), make_intent())
    assert opened(signed) == (Code.SIGNATURE_INVALID, "signature")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": public("mallory")},
        {"key": public("alice")},  # an officer is no requester
        {"requester": "alice", "key": public("alice")},
        {"requester": "other"},
    ],
)
def test_who_is_no_requester_is_refused(changes: dict[str, Any]) -> None:
    intent = make_intent(**changes)
    for name in ("exchange", "mallory", "alice"):
        assert opened(sign(key(name), intent)) == (Code.REQUESTER_UNKNOWN, "key")


def test_every_key_of_a_requester_serves() -> None:
    policy = make_policy(exchange=[public("exchange"), public("exchange-2")])
    intent = make_intent(key=public("exchange-2"))
    assert open_intent(policy, sign(key("exchange-2"), intent)) == intent


@pytest.mark.parametrize(
    ("path", "value"),
    [("amount", "1.5"), ("amount", 1), ("destination.memo", "\u202e"), ("kind", "kura.intent.v2")],
)
def test_a_malformed_intent_names_its_field(path: str, value: object) -> None:
    signed = sign_bytes(key("exchange"), with_field(make_intent(), path, value))
    assert opened(signed) == (Code.INTENT_MALFORMED, path)


def test_an_approval_is_no_intent() -> None:
    signed = sign(key("exchange"), make_approval(POLICY, make_intent()))
    assert opened(signed) == (Code.INTENT_MALFORMED, "kind")
