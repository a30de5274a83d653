"""Policy versions and vetoes over real mutual TLS, with both clients."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from custody.calls import CustodyCalls
from custody.calls_async import AsyncCustodyCalls
from custody.identity import Identity, Role
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from policies.statements import Signed, Veto, digest
from tests.factories import key, public, sign
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import Served, refused, served
from tests.integration.test_policy_versions import LOOSER

house = houses.house
PATIENCE = timedelta(seconds=60)


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    await house.ready()
    async with served(house.parts, tmp_path / "pki") as api:
        yield api


def veto_of(file: bytes, person: str) -> Signed:
    return sign(key(person), Veto(key=public(person), person=person, change=digest(file)))


async def test_the_way_of_a_version_with_the_asyncio_client(house: House, api: Served) -> None:
    file = house.next_policy(*LOOSER)
    name, changes = f"policyVersions/{digest(file)}", house.policy_changes(file)
    tls = api.authority.issue(Identity(Role.OFFICER, "bob"))
    async with AsyncCustodyCalls(api.target, tls, PATIENCE) as bob:
        made = await bob.create_policy_version(file, changes)
        assert (made.name, made.version) == (name, "2")
        assert made.state == wire.POLICY_VERSION_STATE_PENDING
        assert not made.policy
        await house.step()
        waits = await bob.get_policy_version(name)
        assert waits.state == wire.POLICY_VERSION_STATE_DELAYED
        assert waits.policy == file
        assert [Signed(item.statement, item.signature) for item in waits.changes] == changes
        assert list(waits.signed_by) == ["alice", "carol"]
        until = waits.earliest_time.ToMilliseconds() - house.clock.now()
        assert until == pytest.approx(house.policy.change_delay, abs=30_000)
        (listed,) = [item async for item in bob.list_policy_versions()]
        assert (listed.name, listed.policy, list(listed.changes)) == (name, b"", [])
        (signer,) = (await bob.get_status()).signers
        assert [item.name for item in signer.proposals] == [name]
        assert not (await bob.create_veto(name, veto_of(file, "bob"))).applied
        await house.step()
        veto = await bob.create_veto(name, veto_of(file, "bob"))
        assert (veto.name, veto.applied) == (f"{name}/vetoes/bob", True)
        ended = await bob.get_policy_version(name)
        assert ended.state == wire.POLICY_VERSION_STATE_REFUSED
        assert (ended.refusal.code, list(ended.vetoed_by)) == ("POLICY_VETOED", ["bob"])


async def test_the_synchronous_client_does_the_same(house: House, api: Served) -> None:
    file = house.next_policy(*LOOSER)
    changes = house.policy_changes(file)
    tls = api.authority.issue(Identity(Role.OFFICER, "bob"))

    def ask() -> None:
        with CustodyCalls(api.target, tls, PATIENCE) as bob:
            made = bob.create_policy_version(file, changes)
            assert bob.get_policy_version(made.name).policy == file
            assert [item.name for item in bob.list_policy_versions()] == [made.name]
            assert not bob.create_veto(made.name, veto_of(file, "bob")).applied

    await asyncio.to_thread(ask)


async def test_what_is_refused_names_its_field(house: House, api: Served) -> None:
    file = house.next_policy(*LOOSER)
    parent = f"policyVersions/{digest(file)}"
    signed = veto_of(file, "alice")
    envelope = wire.SignedStatement(statement=signed.statement, signature=signed.signature)
    under_none = [
        wire.SignedStatement(statement=change.statement, signature=change.signature)
        for change in house.policy_changes(b"[")
    ]
    async with api.stub(Role.OFFICER, "bob") as bob:
        for call, status, code, field in (
            (
                bob.GetPolicyVersion(wire.GetPolicyVersionRequest(name="policyVersions/x")),
                grpc.StatusCode.INVALID_ARGUMENT,
                Code.ARGUMENT_INVALID,
                "name",
            ),
            (
                bob.GetPolicyVersion(wire.GetPolicyVersionRequest(name=parent)),
                grpc.StatusCode.NOT_FOUND,
                Code.NOT_FOUND,
                "name",
            ),
            (
                bob.CreateVeto(wire.CreateVetoRequest(parent="x", veto=envelope)),
                grpc.StatusCode.INVALID_ARGUMENT,
                Code.ARGUMENT_INVALID,
                "parent",
            ),
            (
                bob.CreatePolicyVersion(
                    wire.CreatePolicyVersionRequest(policy=b"[", changes=under_none)
                ),
                grpc.StatusCode.INVALID_ARGUMENT,
                Code.POLICY_MALFORMED,
                "",
            ),
            (
                bob.CreatePolicyVersion(wire.CreatePolicyVersionRequest(policy=file)),
                grpc.StatusCode.FAILED_PRECONDITION,
                Code.QUORUM_MISSING,
                "",
            ),
            (
                bob.ListPolicyVersions(wire.ListPolicyVersionsRequest(page_token="x")),
                grpc.StatusCode.INVALID_ARGUMENT,
                Code.ARGUMENT_INVALID,
                "page_token",
            ),
        ):
            got, refusal = await refused(call)
            assert (got, refusal.code, refusal.field) == (status, code, field)
        await house.propose(file)
        _, refusal = await refused(
            bob.CreateVeto(wire.CreateVetoRequest(parent=parent, veto=envelope))
        )
        assert (refusal.code, refusal.field) == (Code.VETO_INVALID, "veto.person")


async def test_pages_of_versions(house: House, api: Served) -> None:
    names = []
    for number in range(5):
        file = house.next_policy(('"1 SOL"', f'"1.{number + 1} SOL"'))
        await house.propose(file)
        names.append(f"policyVersions/{digest(file)}")
    found, token = list[str](), ""
    async with api.stub(Role.AUDITOR) as auditor:
        while token or not found:
            request = wire.ListPolicyVersionsRequest(page_size=2, page_token=token)
            page = await auditor.ListPolicyVersions(request)
            found += [item.name for item in page.policy_versions]
            token = page.next_page_token
    assert found == names[::-1]
