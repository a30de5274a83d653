"""Who may call what: every role for every RPC over real mutual TLS, and every wrong certificate."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from custody.api import CustodyServicer
from custody.call_log import CallLog
from custody.chains.solana import SolanaNode
from custody.dev.pki import Authority
from custody.errors import refusal_of
from custody.flows.parts import Parts
from custody.identity import ROLES, Identity, Role
from custody.serving import build_server
from custody.store.database import Database, migrate
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2_grpc
from policies.codes import Code
from tests.factories import told_nobody

CUSTODY = sorted(method for method in ROLES if method.startswith("/kura.custody"))
HOSTS = ("localhost", "127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
async def target(authority: Authority, database: str) -> AsyncIterator[str]:
    """A served api, its database empty and its node absent."""
    await migrate(database)
    parts = Parts(database=Database(database), node=SolanaNode("http://127.0.0.1:9"))
    await parts.database.open()
    tls = authority.issue(Identity(Role.SERVER, "api"), HOSTS)
    server, port, _ = await build_server("localhost:0", tls, told_nobody)
    custody_pb2_grpc.add_CustodyServicer_to_server(
        CustodyServicer(parts, CallLog(parts.database)), server
    )
    await server.start()
    yield f"localhost:{port}"
    await server.stop(None)
    await parts.node.close()
    await parts.database.close()


async def refused(target: str, tls: TlsFiles, method: str, request: bytes = b"") -> Code | str:
    """Return the refusal's code, the status of another error, or "" for an answer."""
    async with grpc.aio.secure_channel(target, tls.channel_credentials()) as channel:
        try:
            await channel.unary_stream(method)(request, timeout=60).read()  # a stream's first
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            return refusal.code if refusal else str(error.code().name)
    return ""


@pytest.mark.parametrize("role", Role)
async def test_each_role_opens_its_rpcs_and_no_other(
    target: str, authority: Authority, role: Role
) -> None:
    tls = authority.issue(Identity(role, "someone"))
    answers = await asyncio.gather(*(refused(target, tls, method) for method in CUSTODY))
    denied = {
        method for method, code in zip(CUSTODY, answers, strict=True) if code == Code.ROLE_DENIED
    }
    assert denied == {method for method in CUSTODY if role not in ROLES[method]}


async def test_an_unlisted_method_is_open_to_nobody(target: str, authority: Authority) -> None:
    tls = authority.issue(Identity(Role.OPERATOR, "someone"))
    assert await refused(target, tls, "/kura.custody.v1.Custody/Unknown") == "UNIMPLEMENTED"


async def test_another_ca_and_an_expired_certificate_open_nothing(
    target: str, authority: Authority, tmp_path: Path
) -> None:
    right = authority.issue(Identity(Role.AUDITOR, "right"))
    foreign = Authority(tmp_path / "foreign").issue(Identity(Role.AUDITOR, "foreign"))
    late = authority.issue(Identity(Role.AUDITOR, "late"), life=timedelta(minutes=-1))
    method = "/kura.custody.v1.Custody/ListBalances"
    assert await refused(target, right, method) == ""
    for wrong in (TlsFiles(right.ca, foreign.certificate, foreign.key), late):
        assert await refused(target, wrong, method) == "UNAVAILABLE"


async def test_no_certificate_opens_nothing(target: str, authority: Authority) -> None:
    ca = authority.issue(Identity(Role.AUDITOR, "right")).ca.read_bytes()
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=60)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SERVER])
async def test_health_answers_every_certified_caller(
    target: str, authority: Authority, role: Role
) -> None:
    tls = authority.issue(Identity(role, "someone"))
    assert await refused(target, tls, "/grpc.health.v1.Health/Check") == ""


async def test_oversized_requests_are_refused(target: str, authority: Authority) -> None:
    tls = authority.issue(Identity(Role.REQUESTER, "exchange"))
    method = "/kura.custody.v1.Custody/CreateWithdrawal"
    large = b"\x0a\x83\x80\x80\x01" + bytes(2 * 1024 * 1024 + 3)
    assert await refused(target, tls, method, large) == "RESOURCE_EXHAUSTED"
