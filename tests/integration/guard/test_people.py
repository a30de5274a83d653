"""Whose approvals count. A forged one refuses the whole job: somebody made it on purpose."""

import pytest

from policies.codes import Code
from policies.statements import Approval, Signed, encode
from tests.factories import HOUR, NOW, SOL, key, make_approval, make_intent, public, sign
from tests.signing import SignerRig, transfer

LARGE = make_intent(amount=20 * SOL)  # 1 of operations (alice, bob) and 1 of risk (bob, carol)


def approval(rig: SignerRig, person: str, **changes: object) -> Approval:
    return make_approval(rig.policy, LARGE, person, **changes)


def test_a_person_counts_once_however_many_keys(rig: SignerRig) -> None:
    second_key = approval(rig, "alice", key=public("alice-2"))
    both = (approval(rig, "alice"), second_key)
    assert rig.refused(transfer(LARGE, *both)) is Code.APPROVALS_MISSING
    later = approval(rig, "bob", expires=NOW + 2 * HOUR)  # bob could take either seat
    assert rig.refused(transfer(LARGE, approval(rig, "bob"), later)) is Code.APPROVALS_MISSING
    assert rig.signed(transfer(LARGE, *both, approval(rig, "carol")))


def test_a_second_key_of_a_person_is_theirs(rig: SignerRig) -> None:
    second_key = approval(rig, "alice", key=public("alice-2"))
    assert rig.signed(transfer(LARGE, second_key, approval(rig, "carol")))


def test_what_is_no_approval_of_this_intent_refuses_the_job(rig: SignerRig) -> None:
    alice, carol = approval(rig, "alice"), approval(rig, "carol")
    genuine = sign(key("carol"), carol)
    for bad in (
        sign(key("mallory"), carol),
        sign(key("alice"), carol),
        approval(rig, "carol", intent="0" * 64),
        make_approval(rig.policy, make_intent(amount=19 * SOL), "carol"),
        approval(rig, "carol", key=public("alice")),
        approval(rig, "carol", key=public("exchange")),
        approval(rig, "exchange"),
        Signed(encode(approval(rig, "carol", key=public("mallory"))), genuine.signature),
        sign(key("mallory"), approval(rig, "carol", key=public("mallory"))),
        sign(key("mallory"), approval(rig, "mallory")),
        sign(key("exchange"), LARGE),
        Signed(b"", genuine.signature),
        Signed(genuine.statement, b""),
        Signed(genuine.statement + b" ", genuine.signature),
        Signed(genuine.statement, genuine.signature + b"\0"),
    ):
        assert rig.refused(transfer(LARGE, alice, bad)) is Code.APPROVAL_INVALID, bad
        assert rig.refused(transfer(LARGE, alice, carol, bad)) is Code.APPROVAL_INVALID, bad
        assert rig.refused(transfer(make_intent(), bad)) is Code.APPROVAL_INVALID, bad
    assert rig.signed(transfer(LARGE, alice, genuine))


def test_every_field_of_an_approval_is_covered_by_its_signature(rig: SignerRig) -> None:
    """A rejection turned into an approval, one of another intent, a longer life, another policy."""
    other = {
        "decision": "reject",
        "intent": "0" * 64,
        "approver": "bob",
        "key": public("bob"),
        "policy": "0" * 64,
        "expires": NOW + HOUR - 1,
    }
    for field, value in other.items():
        signature = sign(key("carol"), approval(rig, "carol", **{field: value})).signature
        forged = Signed(encode(approval(rig, "carol")), signature)
        job = transfer(LARGE, approval(rig, "alice"), forged)
        assert rig.refused(job) is Code.APPROVAL_INVALID, field


def test_every_byte_of_an_approval_counts(rig: SignerRig) -> None:
    genuine = sign(key("carol"), approval(rig, "carol"))
    for place in range(len(genuine.statement)):
        flipped = bytearray(genuine.statement)
        flipped[place] ^= 1
        forged = Signed(bytes(flipped), genuine.signature)
        result = rig.ask(transfer(LARGE, approval(rig, "alice"), forged))
        assert result.refusal.code == Code.APPROVAL_INVALID, place
    assert rig.find("w-1") is None


def test_a_rejection_by_one_who_was_asked_is_final(rig: SignerRig) -> None:
    approvals = [approval(rig, person) for person in ("alice", "bob", "carol")]
    for changes in ({}, {"key": public("alice-2")}):
        no = approval(rig, "alice", decision="reject", **changes)
        assert rig.refused(transfer(LARGE, *approvals, no)) is Code.APPROVAL_REJECTED
        assert rig.refused(transfer(LARGE, no, *approvals)) is Code.APPROVAL_REJECTED
    assert rig.signed(transfer(LARGE, *approvals))


def test_who_was_not_asked_cannot_reject(rig: SignerRig) -> None:
    small = make_intent()
    assert rig.signed(transfer(small, make_approval(rig.policy, small, "bob", decision="reject")))


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_an_approval_of_another_time_or_policy_is_asked_for_again(
    rig: SignerRig, decision: str
) -> None:
    alice = approval(rig, "alice")
    for changes in ({"expires": NOW}, {"expires": 0}, {"policy": "0" * 64}):
        old = approval(rig, "carol", decision=decision, **changes)
        assert rig.refused(transfer(LARGE, alice, old)) is Code.APPROVALS_STALE
    assert rig.signed(transfer(LARGE, alice, approval(rig, "carol", expires=NOW + 1)))


def test_more_approvals_than_a_policy_can_ask_for_are_refused(rig: SignerRig) -> None:
    """Each costs a signature check; custody must not choose how many."""
    alice, carol = approval(rig, "alice"), approval(rig, "carol")
    assert rig.refused(transfer(LARGE, *[alice] * 64, carol)) is Code.APPROVAL_INVALID
    assert rig.signed(transfer(LARGE, *[alice] * 63, carol))
