"""Certificates that are not quite right, and roles as the API's documentation names them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from custody.identity import ROLES, Role
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.codes import Code
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import METHODS, Served, odd_certificate, refused, served

house = houses.house
PROTO = Path(__file__).parents[2] / "proto/kura/custody/v1/custody.proto"
CUSTODY = "/kura.custody.v1.Custody/"
AUDITOR = "spiffe://kura/auditor/somebody"


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(house.parts, tmp_path / "pki") as made:
        yield made


def empty(method: str) -> Any:
    return getattr(wire, f"{method}Request")()


def test_every_method_has_the_roles_that_its_documentation_names() -> None:
    documented = {}
    for comment, method in re.findall(r"((?:  // .*\n)+)  rpc (\w+)\(", PROTO.read_text()):
        roles = re.search(r"Roles?: ([^.]*)\.", comment)
        assert roles, method
        names = re.sub(r"\(.*?\)|, (for itself|its own)", "", roles[1]).split(", ")
        documented[CUSTODY + method] = {Role(name.strip()) for name in names}
    assert {name.removeprefix(CUSTODY) for name in documented} == set(METHODS)
    assert {path: roles for path, roles in ROLES.items() if path in documented} == documented
    assert all(path in documented for path in ROLES if path.startswith(CUSTODY))


@pytest.mark.parametrize("role", Role)
async def test_no_handler_runs_for_a_role_that_is_not_named(api: Served, role: Role) -> None:
    async with api.stub(role) as stub:
        for method in METHODS:
            status, refusal = await answered(getattr(stub, method)(empty(method)))
            denied = role not in ROLES[CUSTODY + method]
            assert (refusal is Code.ROLE_DENIED) == denied, method
            assert (status is grpc.StatusCode.PERMISSION_DENIED) == denied, method
    assert api.ran == [method for method in METHODS if role in ROLES[CUSTODY + method]]


async def answered(call: Any) -> tuple[grpc.StatusCode, Code | None]:
    try:
        await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else call.read())
    except grpc.aio.AioRpcError:
        status, refusal = await refused(call)
        return status, refusal.code
    return grpc.StatusCode.OK, None


NOBODY: tuple[tuple[str, ...], ...] = (
    (),
    ("https://kura/auditor/somebody",),
    ("spiffe://elsewhere/auditor/somebody",),
    ("spiffe://kura.evil/auditor/somebody",),
    ("spiffe://kura/emperor/somebody",),
    ("spiffe://kura/AUDITOR/somebody",),
    ("spiffe://kura/auditor",),
    ("spiffe://kura/auditor/",),
    ("spiffe://kura/auditor/somebody/else",),
    ("spiffe://kura/auditor/some%62ody",),
    ("spiffe://kura/auditor/" + "a" * 33,),
    (AUDITOR, "spiffe://kura/operator/somebody"),
    (AUDITOR, "https://kura/"),
)


async def test_a_certificate_of_our_ca_that_names_nobody(api: Served, tmp_path: Path) -> None:
    for number, uris in enumerate(NOBODY):
        tls = odd_certificate(tmp_path / "pki", tmp_path / str(number), *uris)
        async with api.channel(Role.AUDITOR, tls=tls) as channel:
            call = custody_pb2_grpc.CustodyStub(channel).ListBalances(wire.ListBalancesRequest())
            status, refusal = await refused(call)
        assert status is grpc.StatusCode.PERMISSION_DENIED, uris
        assert refusal.code is Code.ROLE_DENIED, uris
        assert "without a known identity" in refusal.message, uris
    assert not api.ran


async def test_a_role_that_may_not_call_hears_which_call_and_who_may(api: Served) -> None:
    async with api.stub(Role.AUDITOR, "eve") as eve:
        _, refusal = await refused(eve.CreateBookVersion(wire.CreateBookVersionRequest()))
    words = "spiffe://kura/auditor/eve may not call CreateBookVersion: it is for officer, operator"
    assert refusal.message == words


async def test_the_same_certificate_with_its_one_name(api: Served, tmp_path: Path) -> None:
    tls = odd_certificate(tmp_path / "pki", tmp_path / "odd", AUDITOR)
    async with api.channel(Role.AUDITOR, tls=tls) as channel:
        await custody_pb2_grpc.CustodyStub(channel).ListBalances(wire.ListBalancesRequest())
    assert api.ran == ["ListBalances"]


async def test_a_certificate_that_signed_itself(api: Served, tmp_path: Path) -> None:
    tls = odd_certificate(tmp_path / "pki", tmp_path / "odd", AUDITOR, signed=False)
    async with api.channel(Role.AUDITOR, tls=tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await custody_pb2_grpc.CustodyStub(channel).ListBalances(wire.ListBalancesRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not api.ran
