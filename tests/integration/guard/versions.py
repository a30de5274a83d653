"""Policy versions as custody hands them over, and vetoes."""

from typing import Any

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.policy_file import parse_policy
from policies.statements import Change, Elapsed, Signed, Veto, digest
from tests.factories import HOUR, make_change, make_elapsed, policy_file, public
from tests.signing import SignerRig, enveloped

QUORUM = ("alice", "carol")
DAY = 24 * HOUR


def following(rig: SignerRig, **changes: Any) -> bytes:
    """Return a version that follows the one in force; it is equal unless `changes` say so."""
    return policy_file(
        **{"version": rig.policy.version + 1, "previous": rig.policy.digest} | changes
    )


def signed_by(rig: SignerRig, file: bytes, *people: str, **changes: Any) -> list[Change]:
    """Return people's signatures under a version, for a week."""
    usual = {"previous": rig.policy.digest, "expires": rig.now + 7 * DAY}
    return [make_change("policy", digest(file), name, **usual | changes) for name in people]


def version_job(
    file: bytes, changes: list[Change] | list[Signed], elapsed: Elapsed | Signed | None = None
) -> wire.Job:
    signed = [enveloped(change) for change in changes]
    word = enveloped(elapsed) if elapsed else None
    version = wire.PolicyVersion(file=file, changes=signed, elapsed=word)
    return wire.Job(apply=wire.Apply(policy=version))


def apply(
    rig: SignerRig, file: bytes, *people: str, elapsed: bool = False, **changes: Any
) -> wire.Result:
    """Hand over a version with these people's signatures; the quorum's when none is named.

    `elapsed`: with the watchtower's word of now that its delay is over.
    """
    word = make_elapsed(digest(file), time=rig.now) if elapsed else None
    job = version_job(file, signed_by(rig, file, *(people or QUORUM), **changes), word)
    result = rig.ask(job)
    if result.HasField("applied"):
        assert result.applied.digest == digest(file)
        rig.policy = parse_policy(file)
    return result


def in_force(rig: SignerRig) -> str:
    """Return the digest of the policy in force, as the signer says."""
    return digest(rig.ask(wire.Job(status=wire.Status())).status.policy)


def refused(result: wire.Result, code: Code) -> int:
    """Return the refusal's earliest_time; it must be this one."""
    assert result.refusal.code == code, result
    assert result.refusal.message
    return int(result.refusal.earliest_time)


def veto(rig: SignerRig, change: str, person: str, key: str = "") -> wire.Result:
    statement = Veto(key=public(key or person), person=person, change=change)
    return rig.ask(wire.Job(apply=wire.Apply(veto=enveloped(statement))))


def proposals(rig: SignerRig) -> list[wire.Proposal]:
    return list(rig.ask(wire.Job(status=wire.Status())).status.proposals)
