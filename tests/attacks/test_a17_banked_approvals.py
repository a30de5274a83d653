"""A17, Drift 2026: approvals banked for later, then the thresholds changed under them."""

from policies.codes import Code
from policies.statements import digest
from tests.factories import NOW, SOL, STRANGER, make_approval, make_intent
from tests.integration.guard.payments import ask, code_of, pay
from tests.integration.guard.versions import DAY, apply, following, in_force, refused, veto
from tests.signing import SignerRig, transfer

LARGE = make_intent(amount=20 * SOL, expires=NOW + 7 * DAY)
ONE_IS_ENOUGH = {"tiers": {"1 SOL": [], "40 SOL": ["1 of operations"]}}


def test_a_lower_threshold_waits_and_one_officer_stops_it(rig: SignerRig) -> None:
    """The attacker holds a quorum's signatures under the new version, banked months ago."""
    banked = make_approval(rig.policy, LARGE, "alice", expires=NOW + 7 * DAY)
    assert rig.refused(transfer(LARGE, banked)) is Code.APPROVALS_MISSING
    file = following(rig, **ONE_IS_ENOUGH)
    assert refused(apply(rig, file), Code.POLICY_DELAYED) == NOW + DAY
    assert rig.refused(transfer(LARGE, banked)) is Code.APPROVALS_MISSING
    rig.now += DAY - 1
    refused(apply(rig, file), Code.POLICY_DELAYED)
    assert veto(rig, digest(file), "bob").HasField("applied")
    rig.now += DAY
    refused(apply(rig, file, elapsed=True), Code.POLICY_VETOED)
    assert rig.refused(transfer(LARGE, banked)) is Code.APPROVALS_MISSING
    assert in_force(rig) == rig.policy.digest
    pay(rig, 20 * SOL, "alice", "carol")


def test_what_was_banked_is_void_when_the_new_thresholds_act(rig: SignerRig) -> None:
    banked = make_approval(rig.policy, LARGE, "alice", expires=NOW + 7 * DAY)
    file = following(rig, **ONE_IS_ENOUGH)
    refused(apply(rig, file), Code.POLICY_DELAYED)
    rig.now += DAY
    assert apply(rig, file, elapsed=True).HasField("applied")
    assert rig.refused(transfer(LARGE, banked)) is Code.APPROVALS_STALE
    fresh = make_approval(rig.policy, LARGE, "alice", expires=NOW + 7 * DAY)
    assert rig.signed(transfer(LARGE, fresh)), "one is asked now, and says so anew"


def test_banked_signatures_under_a_version_expire(rig: SignerRig) -> None:
    file = following(rig, destination="any")
    rig.now += DAY
    refused(apply(rig, file, elapsed=True, expires=rig.now), Code.QUORUM_MISSING)
    assert code_of(ask(rig, destination=STRANGER)) is Code.DESTINATION_NOT_ALLOWED
    pay(rig)


def test_an_approval_under_a_version_that_is_not_in_force_yet(rig: SignerRig) -> None:
    """Signed ahead of time, so that it is there the moment the version acts."""
    file = following(rig, **ONE_IS_ENOUGH)
    refused(apply(rig, file), Code.POLICY_DELAYED)
    ahead = make_approval(rig.policy, LARGE, "alice", policy=digest(file), expires=NOW + 7 * DAY)
    assert rig.refused(transfer(LARGE, ahead)) is Code.APPROVALS_STALE
    pay(rig, 20 * SOL, "alice", "carol")
