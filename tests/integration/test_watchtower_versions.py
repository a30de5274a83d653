"""Versions that only tighten, between the watchtower's half and a real guard."""

from typing import Any

import pytest

from custody.watchtower import signers, versions
from custody.watchtower.rules import Cause
from custody.watchtower.service import Service
from custody.watchtower.status import state_of
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Signed, Veto, digest
from tests.factories import key, public, sign
from tests.integration import test_watchtower_leases as towers
from tests.integration.guard.versions import QUORUM, following, signed_by
from tests.integration.guard.versions import apply as apply_version
from tests.integration.test_watchtower_leases import AUDIT, Around

around = towers.around


def signatures(around: Around, file: bytes) -> list[Signed]:
    return [sign(key(made.person), made) for made in signed_by(around.rig, file, *QUORUM)]


def note(around: Around, file: bytes) -> None:
    """Note a version, as a watchtower that was killed right afterwards has it."""
    known = versions.propose(around.parts, file, signatures(around, file))
    assert isinstance(known, versions.Proposal), known


async def propose(around: Around, file: bytes) -> tower_wire.CreatePolicyVersionResponse:
    """Hand a version in as an officer does."""
    changes = [
        tower_wire.SignedStatement(statement=one.statement, signature=one.signature)
        for one in signatures(around, file)
    ]
    service: Any = Service(around.parts, around, None)  # type: ignore[arg-type]
    request = tower_wire.CreatePolicyVersionRequest(file=file, changes=changes)
    said = await Service.CreatePolicyVersion.__wrapped__(service, request)  # type: ignore[attr-defined]
    assert isinstance(said, tower_wire.CreatePolicyVersionResponse), said
    return said


def in_force(around: Around) -> str:
    return digest(around.status().policy)


async def rounds(around: Around) -> None:
    """Let the watchtower hear the signer thrice."""
    for _ in range(3):
        around.rig.now += 1
        await around.until(lambda: (link := around.link()) and link.heard == around.rig.now)


async def test_one_that_tightens_is_in_force_when_its_officer_is_answered(around: Around) -> None:
    async with around.running():
        await around.leased()
        file = following(around.rig, cap="45 SOL")
        assert await propose(around, file) == tower_wire.CreatePolicyVersionResponse()
        assert in_force(around) == digest(file)
        await around.leased()
        assert not versions.pending(around.parts, AUDIT)
        assert await propose(around, file) == tower_wire.CreatePolicyVersionResponse()


async def test_one_that_was_noted_and_not_told_is_told_after_a_restart(around: Around) -> None:
    async with around.running():
        await around.leased()
        file = following(around.rig, cap="45 SOL")
        around.silent = True
        note(around, file)
    around.parts.policies = signers.policies(around.parts.database)
    around.parts.links.clear()
    around.silent = False
    async with around.running():
        await around.leased()
        assert in_force(around) == digest(file)


async def test_one_that_loosens_is_handed_over_by_nobody_here(around: Around) -> None:
    async with around.running():
        await around.leased()
        before, file = in_force(around), following(around.rig, cap="60 SOL")
        said = await propose(around, file)
        assert said.earliest_time == around.rig.now + around.rig.policy.change_delay
        await rounds(around)
        await around.leased()
        assert in_force(around) == before


async def test_a_relay_that_drops_it_and_says_it_was_taken_gets_no_lease(around: Around) -> None:
    file = following(around.rig, cap="45 SOL")

    def pretend(reply: wire.Reply) -> None:
        for result in reply.results:
            if result.HasField("refusal"):
                result.applied.digest = digest(file)

    async with around.running():
        await around.leased()
        around.drops_versions, around.corrupt = True, pretend
        assert (await propose(around, file)).earliest_time  # not: in force
        await around.refused(Cause.POLICY, f"{digest(file)}, which only tightens")
        around.rig.now += LEASE_MS
        await rounds(around)
        assert not around.status().lease_until
        assert state_of(around.parts).name == "PAUSED"
        assert "custody policy veto" in state_of(around.parts).reason
        around.drops_versions, around.corrupt = False, lambda _: None
        await around.leased()
        assert in_force(around) == digest(file)


async def test_a_version_that_the_signer_refuses_ends_by_a_veto(around: Around) -> None:
    file = following(around.rig, cap="45 SOL")
    async with around.running():
        await around.leased()
        around.drops_versions = True  # the guard refuses what is left of the job
        note(around, file)
        await around.refused(Cause.POLICY, "only tightens")
        order = sign(key("bob"), Veto(key=public("bob"), person="bob", change=digest(file)))
        assert isinstance(versions.veto(around.parts, order), tuple)
        around.rig.now += LEASE_MS
        await around.leased()
        around.drops_versions = False  # it was none of the signer's doing
        await around.until(lambda: in_force(around) == digest(file))
        await around.leased()


async def test_it_ends_with_its_signatures(around: Around) -> None:
    file = following(around.rig, cap="45 SOL")
    async with around.running():
        await around.leased()
        around.drops_versions = True
        note(around, file)
        await around.refused(Cause.POLICY, "only tightens")
        ((expires,),) = around.parts.database.rows("SELECT expires FROM tightening")
        around.rig.now = expires - LEASE_MS - 1
        await around.refused(Cause.POLICY, "only tightens")
        await rounds(around)  # and past that moment
        await around.leased()


async def test_one_that_is_refused_does_not_hold_up_the_next(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, other = (following(around.rig, cap=f"{cap} SOL") for cap in (46, 45))
    guard = around.rig.guard.answer

    def answer(jobs: list[wire.Job]) -> list[wire.Result]:
        for job in jobs:
            if job.apply.policy.file == refused:
                job.ClearField("apply")
        return guard(jobs)

    async with around.running():
        await around.leased()
        monkeypatch.setattr(around.rig.guard, "answer", answer)
        note(around, refused)
        around.rig.now += 1
        note(around, other)
        await around.until(lambda: in_force(around) == digest(other))
        await around.leased()


@pytest.mark.parametrize("which", ["the same", "another"])
async def test_what_custody_brought_first_ends_it(around: Around, which: str) -> None:
    file, other = (following(around.rig, cap=f"{cap} SOL") for cap in (45, 44))
    async with around.running():
        await around.leased()
        around.drops_versions = True
        note(around, file)
        await around.refused(Cause.POLICY, "only tightens")
        brought = file if which == "the same" else other
        assert apply_version(around.rig, brought).HasField("applied")
        await around.leased()
        assert around.parts.policies[AUDIT] == parse_policy(brought)
