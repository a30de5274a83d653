"""A20: one person, two votes: one key sent twice, two keys of one officer, officer as requester."""

import pytest

from policies.codes import Code
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import digest
from tests.factories import HOUR, NOW, SOL, make_approval, make_intent, policy_file, public
from tests.integration.guard.payments import pay
from tests.integration.guard.versions import following, refused, signed_by, version_job
from tests.signing import SignerRig, transfer

LARGE = make_intent(amount=20 * SOL)


def test_an_approvers_votes_count_once(rig: SignerRig) -> None:
    alice, bob = (make_approval(rig.policy, LARGE, name) for name in ("alice", "bob"))
    for twice in (
        (alice, alice),
        (alice, make_approval(rig.policy, LARGE, "alice", key=public("alice-2"))),
        (alice, make_approval(rig.policy, LARGE, "alice", expires=NOW + HOUR - 1)),
        (bob, bob),  # who is in both groups
        (bob, make_approval(rig.policy, LARGE, "bob", expires=NOW + HOUR - 1)),
    ):
        assert rig.refused(transfer(LARGE, *twice)) is Code.APPROVALS_MISSING
    assert rig.signed(transfer(LARGE, alice, bob))


def test_under_a_new_version_too(rig: SignerRig) -> None:
    file = following(rig, cap="45 SOL")
    (alice,) = signed_by(rig, file, "alice")
    (later,) = signed_by(rig, file, "alice", expires=NOW + HOUR)
    (second,) = signed_by(rig, file, "alice", key=public("alice-2"))
    for changes in ([alice, alice], [alice, later], [alice, second]):
        refused(rig.ask(version_job(file, changes)), Code.QUORUM_MISSING)
    both = signed_by(rig, file, "alice", "bob")
    assert rig.ask(version_job(file, both)).applied.digest == digest(file)


def test_the_requester_is_no_approver(rig: SignerRig) -> None:
    own = make_approval(rig.policy, LARGE, "exchange")
    carol = make_approval(rig.policy, LARGE, "carol")
    assert rig.refused(transfer(LARGE, own, carol)) is Code.APPROVAL_INVALID
    borrowed = make_approval(rig.policy, LARGE, "alice", key=public("exchange"))
    assert rig.refused(transfer(LARGE, borrowed, carol)) is Code.APPROVAL_INVALID
    pay(rig, 20 * SOL, "alice", "carol")


@pytest.mark.parametrize(
    "changes",
    [
        {"exchange": [public("exchange"), public("alice")]},
        {"alice": [public("alice"), public("bob")]},
        {"services": {"screening": [public("carol")]}},
        {"signer": public("alice")},
    ],
)
def test_no_policy_can_give_one_key_two_names(changes: dict[str, object]) -> None:
    with pytest.raises(FileError, match=r"already|is the key of"):
        parse_policy(policy_file(**changes))
    parse_policy(policy_file())
