"""Signed approvals: whose they are, and that they speak about this intent and this policy."""

from typing import Any

import pytest

from policies.approvals import APPROVALS_MAX, open_approval, open_approvals, open_rejection
from policies.changes import CHANGES_MAX
from policies.codes import Code, Refusal
from policies.evaluate import Allowed, evaluate
from policies.statements import Approval, Signed, digest, encode
from tests.factories import (
    HOUR,
    NOW,
    SOL,
    key,
    make_approval,
    make_change,
    make_facts,
    make_intent,
    make_policy,
    public,
    sign,
    sign_bytes,
)
from tests.malformed import LOW_ORDER, with_field

POLICY = make_policy()
INTENT = make_intent(amount=20 * SOL)  # 1 of operations (alice, bob) and 1 of risk (bob, carol)
DIGEST = digest(encode(INTENT))


def approve(person: str, with_key: str = "", **changes: Any) -> Signed:
    """Return `person`'s approval of INTENT, signed with the key that it names."""
    name = with_key or person
    return sign(key(name), make_approval(POLICY, INTENT, person, key=public(name), **changes))


def opened(*signed: Signed, now: int = NOW) -> tuple[Approval, ...] | Refusal:
    return open_approvals(POLICY, DIGEST, signed, now)


def verdict(*signed: Signed) -> Allowed | Refusal:
    approvals = opened(*signed)
    if isinstance(approvals, Refusal):
        return approvals
    return evaluate(POLICY, INTENT, make_facts(INTENT, *approvals))


def refused(item: Signed) -> tuple[Code, str]:
    """Return code and field of the refusal; one bad approval spoils good ones beside it."""
    alone = open_approval(POLICY, DIGEST, item)
    assert isinstance(alone, Refusal)
    assert opened(approve("alice"), item, approve("carol")) == alone
    assert alone.code is Code.APPROVAL_INVALID
    return alone.code, alone.field


def test_good_approvals_are_returned_in_order_and_allow() -> None:
    assert opened() == ()
    approvals = opened(approve("alice"), approve("carol"))
    assert not isinstance(approvals, Refusal)
    assert [item.approver for item in approvals] == ["alice", "carol"]
    assert isinstance(verdict(approve("alice"), approve("carol")), Allowed)


def test_two_keys_of_one_person_count_once() -> None:
    two = verdict(approve("alice"), approve("alice", "alice-2"))
    assert two == verdict(approve("alice"))
    assert isinstance(two, Refusal)
    assert (two.code, two.message) == (Code.APPROVALS_MISSING, "still needs 1 of risk")


def test_a_person_of_two_groups_and_one_approval_twice_count_once() -> None:
    both = verdict(approve("bob"), approve("bob"), approve("bob", expires=NOW + 1))
    assert isinstance(both, Refusal)
    assert both.code is Code.APPROVALS_MISSING
    assert isinstance(verdict(approve("bob"), approve("alice")), Allowed)


def test_either_key_of_a_person_serves() -> None:
    assert isinstance(verdict(approve("alice", "alice-2"), approve("carol")), Allowed)


def test_a_forged_signature_is_refused() -> None:
    good = approve("alice")
    for signature in (b"", bytes(64), approve("carol").signature, good.signature[:-1]):
        item = Signed(good.statement, signature)
        assert refused(item) == (Code.APPROVAL_INVALID, "approval.signature")


def test_every_flipped_bit_is_refused() -> None:
    good = approve("alice")
    whole = good.statement + good.signature
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            item = Signed(bytes(changed[:-64]), bytes(changed[-64:]))
            assert isinstance(open_approval(POLICY, DIGEST, item), Refusal)


@pytest.mark.parametrize("name", ["mallory", "bob", "exchange", "audit"])
def test_a_key_that_is_not_the_persons_is_refused(name: str) -> None:
    """Also another officer's key and the requester's: the backend asks, it never approves."""
    assert refused(approve("alice", name)) == (Code.APPROVAL_INVALID, "approval.key")


@pytest.mark.parametrize("person", ["mallory", "exchange", "operations"])
def test_who_is_not_a_person_of_the_policy_is_refused(person: str) -> None:
    assert refused(approve(person)) == (Code.APPROVAL_INVALID, "approval.key")


def test_an_approval_signed_by_another_than_it_names_is_refused() -> None:
    item = sign(key("bob"), make_approval(POLICY, INTENT, "alice"))
    assert refused(item) == (Code.APPROVAL_INVALID, "approval.signature")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_key_is_refused_before_it_is_looked_up(point: str) -> None:
    data = with_field(make_approval(POLICY, INTENT), "key", f"ed25519:{point}")
    item = Signed(data, bytes.fromhex(point) + bytes(32))
    assert refused(item) == (Code.APPROVAL_INVALID, "approval.key")


def test_another_intent_is_refused() -> None:
    other = make_intent(amount=20 * SOL + 1)
    item = sign(key("alice"), make_approval(POLICY, other))
    assert refused(item) == (Code.APPROVAL_INVALID, "approval.intent")


def test_a_statement_of_another_kind_is_refused() -> None:
    item = sign(key("alice"), make_change("policy", DIGEST, "alice"))
    assert refused(item) == (Code.APPROVAL_INVALID, "approval.kind")


def test_a_malformed_approval_names_its_field() -> None:
    data = with_field(make_approval(POLICY, INTENT), "decision", "yes")
    item = sign_bytes(key("alice"), data)
    assert refused(item) == (Code.APPROVAL_INVALID, "approval.decision")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy": make_policy(version=2).digest}, "is for another version of the policy"),
        ({"policy": "0" * 64}, "is for another version of the policy"),
        ({"expires": NOW}, "has expired"),
        ({"expires": NOW - 1}, "has expired"),
        ({"expires": 0}, "has expired"),
    ],
)
def test_an_approval_out_of_date_asks_again(changes: dict[str, Any], words: str) -> None:
    refusal = opened(approve("carol"), approve("alice", **changes))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.code.waits) == (Code.APPROVALS_STALE, True)
    assert refusal.message == f"the approval of alice {words}"


def test_an_approval_holds_until_just_before_it_expires() -> None:
    item = approve("alice", expires=NOW + HOUR)
    assert not isinstance(opened(item, now=NOW + HOUR - 1), Refusal)
    assert isinstance(opened(item, now=NOW + HOUR), Refusal)


def test_a_forgery_is_told_before_what_is_out_of_date() -> None:
    forged = Signed(approve("bob").statement, bytes(64))
    refusal = opened(approve("alice", expires=0), forged)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.APPROVAL_INVALID


def test_no_more_signatures_than_a_job_may_carry() -> None:
    assert not isinstance(opened(*[approve("alice")] * APPROVALS_MAX), Refusal)
    refusal = opened(*[approve("alice")] * (APPROVALS_MAX + 1))
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.APPROVAL_INVALID
    assert CHANGES_MAX >= APPROVALS_MAX  # a quorum that a policy file may ask for can be brought


def test_a_rejection_says_itself_what_it_is_of() -> None:
    rejection = open_rejection(POLICY, approve("carol", decision="reject"), NOW)
    assert isinstance(rejection, Approval)
    assert (rejection.approver, rejection.decision, rejection.intent) == ("carol", "reject", DIGEST)
    service = sign(key("screening"), make_approval(POLICY, INTENT, "screening", decision="reject"))
    assert isinstance(open_rejection(POLICY, service, NOW), Refusal)  # no approver of this policy


@pytest.mark.parametrize(
    ("item", "code", "field"),
    [
        (approve("alice"), Code.APPROVAL_INVALID, "approval.decision"),
        (approve("alice", "bob", decision="reject"), Code.APPROVAL_INVALID, "approval.key"),
        (approve("mallory", decision="reject"), Code.APPROVAL_INVALID, "approval.key"),
        (Signed(b"{}", bytes(64)), Code.APPROVAL_INVALID, "approval.kind"),
        (approve("alice", decision="reject", policy="0" * 64), Code.APPROVALS_STALE, ""),
        (approve("alice", decision="reject", expires=NOW), Code.APPROVALS_STALE, ""),
    ],
)
def test_what_is_no_rejection_of_now(item: Signed, code: Code, field: str) -> None:
    refusal = open_rejection(POLICY, item, NOW)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (code, field)
