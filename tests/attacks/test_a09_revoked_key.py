"""A09, Ronin 2022: an old grant never revoked: a revoked officer's key, and one group's keys."""

import pytest

from policies.codes import Code
from tests.factories import SOL, make_approval, make_intent, public
from tests.integration.guard.payments import intend, job_of, pay
from tests.integration.guard.test_versions import without
from tests.integration.guard.versions import apply, following, in_force, refused, version_job, veto
from tests.signing import SignerRig, transfer

LARGE = 20 * SOL  # 1 of operations (alice, bob) and 1 of risk (bob, carol)


def test_a_revoked_officer_is_revoked_at_once(rig: SignerRig) -> None:
    pay(rig, LARGE, "alice", "carol")  # alice's key is good until now
    waiting = make_intent(amount=LARGE)
    banked = [make_approval(rig.policy, waiting, name) for name in ("alice", "carol")]
    loose = following(rig, cap="60 SOL")
    refused(apply(rig, loose, "alice", "carol"), Code.POLICY_DELAYED)
    removal = without("alice", following(rig))
    assert apply(rig, removal, "bob", "carol").HasField("applied"), "without any delay"
    assert rig.refused(transfer(waiting, *banked)) is Code.APPROVAL_INVALID
    anew = [make_approval(rig.policy, waiting, name) for name in ("alice", "carol")]
    assert rig.refused(transfer(waiting, *anew)) is Code.APPROVAL_INVALID
    second_key = make_approval(rig.policy, waiting, "alice", key=public("alice-2"))
    assert rig.refused(transfer(waiting, anew[1], second_key)) is Code.APPROVAL_INVALID
    next_one = without("alice", following(rig, cap="40 SOL"))
    refused(apply(rig, next_one, "alice", "carol"), Code.QUORUM_MISSING)
    refused(veto(rig, "0" * 64, "alice"), Code.VETO_INVALID)
    rig.restart()
    assert rig.refused(transfer(waiting, *anew)) is Code.APPROVAL_INVALID
    pay(rig, LARGE, "bob", "carol")


def test_a_revoked_key_of_an_officer_who_stays(rig: SignerRig) -> None:
    intent = make_intent(amount=LARGE)
    file = following(rig, alice=[public("alice")])
    assert apply(rig, file).HasField("applied")
    carol = make_approval(rig.policy, intent, "carol")
    lost = make_approval(rig.policy, intent, "alice", key=public("alice-2"))
    assert rig.refused(transfer(intent, lost, carol)) is Code.APPROVAL_INVALID
    assert rig.signed(transfer(intent, make_approval(rig.policy, intent, "alice"), carol))


@pytest.mark.parametrize("people", [("alice",), ("carol",), ("alice", "alice")])
def test_all_keys_of_one_group_are_one_group(rig: SignerRig, people: tuple[str, ...]) -> None:
    intent = intend(rig, LARGE)
    assert rig.refused(job_of(rig, intent, *people)) is Code.APPROVALS_MISSING
    file = following(rig, enabled=False)
    refused(rig.ask(version_job(file, [])), Code.QUORUM_MISSING)
    refused(apply(rig, file, *people), Code.QUORUM_MISSING)
    assert in_force(rig) == rig.policy.digest
    assert rig.signed(job_of(rig, intent, "alice", "carol"))
