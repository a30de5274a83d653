"""A21, policy downgrade: an old version, one with a gap, one signed by the new officers alone."""

from policies.codes import Code
from policies.policy_file import parse_policy
from policies.statements import digest
from tests.factories import SOL, key, make_change, policy_file, public, sign
from tests.integration.guard.payments import ask, code_of, pay
from tests.integration.guard.versions import (
    DAY,
    apply,
    following,
    in_force,
    refused,
    signed_by,
    version_job,
)
from tests.signing import SignerRig

STRICT = {"cap": "45 SOL"}


def test_an_old_version_with_its_genuine_signatures(rig: SignerRig) -> None:
    first, genesis = policy_file(), signed_by(rig, policy_file(), "alice", "carol", previous="")
    second = following(rig, **STRICT)
    of_second = signed_by(rig, second, "alice", "carol")
    assert rig.ask(version_job(second, of_second)).applied.digest == digest(second)
    rig.policy = parse_policy(second)
    third = following(rig, cap="41 SOL")
    assert apply(rig, third).HasField("applied")
    for old, signatures in ((first, genesis), (second, of_second)):
        refused(rig.ask(version_job(old, signatures)), Code.POLICY_OUT_OF_ORDER)
        refused(apply(rig, old), Code.POLICY_OUT_OF_ORDER)
    rig.restart()
    assert in_force(rig) == digest(third)
    assert code_of(ask(rig, 42 * SOL)) is Code.CAP_EXCEEDED
    pay(rig, 40 * SOL, "alice", "carol")


def test_the_old_content_under_a_new_number_waits(rig: SignerRig) -> None:
    assert apply(rig, following(rig, **STRICT)).HasField("applied")
    again = following(rig)  # as loose as the first one
    assert refused(apply(rig, again), Code.POLICY_DELAYED) == rig.now + DAY
    assert code_of(ask(rig, 46 * SOL)) is Code.CAP_EXCEEDED
    pay(rig)


def test_a_gap(rig: SignerRig) -> None:
    second = following(rig, cap="60 SOL")
    third = policy_file(version=3, previous=digest(second), cap="60 SOL", enabled=False)
    signatures = signed_by(rig, third, "alice", "carol", previous=digest(second))
    refused(rig.ask(version_job(third, signatures)), Code.POLICY_OUT_OF_ORDER)
    skipped = following(rig, version=3, **STRICT)
    refused(apply(rig, skipped), Code.POLICY_OUT_OF_ORDER)
    assert in_force(rig) == rig.policy.digest
    pay(rig)


def test_signed_by_the_new_officers_alone(rig: SignerRig) -> None:
    """The version puts the attacker's people in, and they sign it."""
    text = following(rig).decode()
    text = text.replace(public("alice"), public("mallory")).replace(public("carol"), public("eve"))
    file = text.encode()
    assert parse_policy(file).people["alice"] == {public("mallory"), public("alice-2")}
    changes = [
        sign(
            key(thief),
            make_change(
                "policy",
                digest(file),
                name,
                key=public(thief),
                previous=rig.policy.digest,
                expires=rig.now + DAY,
            ),
        )
        for name, thief in (("alice", "mallory"), ("carol", "eve"))
    ]
    refused(rig.ask(version_job(file, changes)), Code.QUORUM_MISSING)
    assert in_force(rig) == rig.policy.digest
    pay(rig)


def test_a_lower_quorum_does_not_count_for_its_own_version(rig: SignerRig) -> None:
    lower = {"policy_quorum": ["1 of operations"], "book_quorum": ["1 of operations"]}
    file = following(rig, **lower)
    refused(apply(rig, file, "alice"), Code.QUORUM_MISSING)
    refused(apply(rig, file, "alice", "carol"), Code.POLICY_DELAYED)
    rig.now += DAY
    refused(apply(rig, file, "alice", elapsed=True), Code.QUORUM_MISSING)
    assert apply(rig, file, "alice", "carol", elapsed=True).HasField("applied")
    assert apply(rig, following(rig, **lower, **STRICT), "bob").HasField("applied")
    pay(rig)
