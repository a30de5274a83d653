"""What an approver rejected counts in the signer, whatever custody's jobs leave out."""

from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Approval, digest, encode
from signer import rejections
from tests.factories import HOUR, NOW, SOL, make_approval, make_intent, public
from tests.integration.guard.orders import rejection_job
from tests.integration.guard.test_end import ended
from tests.integration.guard.test_once import pull_out, repeats
from tests.integration.guard.versions import apply, following
from tests.signing import SignerRig, transfer

LARGE = make_intent(amount=20 * SOL)  # 1 of operations (alice, bob) and 1 of risk (bob, carol)
QUORUM = ("alice", "carol")


def no(rig: SignerRig, person: str = "bob", **changes: Any) -> Approval:
    return make_approval(
        rig.policy, changes.pop("intent", LARGE), person, decision="reject", **changes
    )


def reject(rig: SignerRig, rejection: Approval) -> str:
    """Hand one over, which the signer must take; return its digest."""
    name = digest(encode(rejection))
    result = rig.ask(rejection_job(rejection))
    assert result.applied.digest == name, result
    return name


def approved(rig: SignerRig, **changes: Any) -> wire.Job:
    """Return the job that custody makes of it: with all that the policy asks for."""
    return transfer(LARGE, *(make_approval(rig.policy, LARGE, who, **changes) for who in QUORUM))


def test_what_custody_leaves_out_counts_over_restarts(rig: SignerRig) -> None:
    reject(rig, no(rig))
    for _ in range(2):
        assert rig.refused(approved(rig)) is Code.APPROVAL_REJECTED
        rig.restart()
    assert "bob rejected it" in rig.ask(approved(rig)).refusal.message


def test_it_stops_the_intent_that_it_names_and_no_other(rig: SignerRig) -> None:
    reject(rig, no(rig, intent=make_intent(amount=20 * SOL, request_id="another")))
    assert rig.signed(approved(rig))


@pytest.mark.parametrize("person", ["alice", "bob", "carol"])
def test_each_on_the_path_can_reject(rig: SignerRig, person: str) -> None:
    reject(rig, no(rig, person))
    assert rig.refused(approved(rig)) is Code.APPROVAL_REJECTED


def test_who_is_not_asked_changes_nothing(rig: SignerRig) -> None:
    small = make_intent()
    reject(rig, no(rig, intent=small))
    assert rig.signed(transfer(small))


def test_a_strangers_and_a_forged_one_are_refused(rig: SignerRig) -> None:
    before = rig.remembered()
    for bad in (
        no(rig, "mallory", key=public("alice")),
        no(rig, "bob", key=public("alice")),
        no(rig, "exchange", key=public("exchange")),
        make_approval(rig.policy, LARGE, "bob"),
    ):
        assert rig.ask(rejection_job(bad)).refusal.code == Code.APPROVAL_INVALID, bad
    assert rig.remembered() == before
    assert rig.signed(approved(rig))


def test_it_counts_until_it_expires(rig: SignerRig) -> None:
    rejection = no(rig, expires=NOW + 1000)
    reject(rig, rejection)
    rig.now += 999
    assert rig.refused(approved(rig)) is Code.APPROVAL_REJECTED
    rig.now += 1
    assert rig.refused(rejection_job(rejection)) is Code.APPROVALS_STALE
    assert rig.signed(approved(rig))


def test_a_new_policy_version_voids_it_and_it_cannot_be_played_again(rig: SignerRig) -> None:
    old = no(rig)
    reject(rig, old)
    assert apply(rig, following(rig, cap="45 SOL")).HasField("applied")
    assert not rig.journal.db.execute("SELECT 1 FROM rejection").fetchall()
    assert rig.refused(rejection_job(old)) is Code.APPROVALS_STALE
    assert rig.signed(approved(rig))


def test_again_does_no_harm_and_writes_nothing(rig: SignerRig) -> None:
    rejection = no(rig)
    reject(rig, rejection)
    before, sequence = rig.remembered(), rig.journal.sequence
    reject(rig, rejection)
    assert (rig.remembered(), rig.journal.sequence) == (before, sequence)


def test_what_is_signed_already_stays_signed(rig: SignerRig) -> None:
    first = rig.signed(approved(rig))
    reject(rig, no(rig))
    assert repeats(rig, first, approved(rig))


def test_what_is_reserved_and_not_signed_is_not_signed_any_more(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.token, "sign", pull_out)
    with pytest.raises(OSError, match="pulled out"):
        rig.ask(approved(rig))
    rig.restart()
    reject(rig, no(rig))
    assert rig.refused(approved(rig)) is Code.APPROVAL_REJECTED
    ended(rig, LARGE)


def test_it_is_taken_under_freeze_and_without_a_lease(rig: SignerRig) -> None:
    rig.leased = False
    rig.restart()
    reject(rig, no(rig))
    rig.leased = True
    assert rig.refused(approved(rig)) is Code.APPROVAL_REJECTED


def test_one_approver_fills_no_more_than_their_own_places(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "REJECTIONS_MAX", 3)
    for number in range(3):
        reject(rig, no(rig, intent=make_intent(request_id=f"r-{number}")))
    assert rig.refused(rejection_job(no(rig))) is Code.RATE_EXCEEDED
    reject(rig, no(rig, intent=make_intent(request_id="r-0")))  # one that is there
    reject(rig, no(rig, "alice"))
    assert rig.refused(approved(rig)) is Code.APPROVAL_REJECTED
    rig.now += HOUR
    reject(rig, no(rig, expires=rig.now + HOUR))
    query = "SELECT approver FROM rejection"
    assert rig.journal.db.execute(query).fetchall() == [("bob",)]  # what expired is gone


def test_a_lease_that_names_one_is_taken_only_with_it(rig: SignerRig) -> None:
    rig.leased = False
    rejection = no(rig)
    name = digest(encode(rejection))
    refusal = rig.lease(rejections=(name,)).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "rejections")
    reject(rig, rejection)
    assert rig.lease(rejections=(name, "0" * 64)).refusal.field == "rejections"
    assert rig.lease(rejections=(name,)).applied.digest
