"""Limits on the wire: what is refused runs no handler, and every kind of method still works."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from custody import limits
from custody.dev.layout import HOSTS
from custody.dev.pki import Authority
from custody.errors import refusal_of
from custody.identity import Identity, Role
from custody.limits import BATCHED_PER_CALL, Limits
from custody.serving import build_server
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.codes import Code
from tests.integration.served import refused

LIMITS = Limits(calls_per_second=1, calls_burst=20, streams_at_once=2)


class Servicer(custody_pb2_grpc.CustodyServicer):
    """Answers what a test needs. `ran` counts the calls that came so far."""

    ran = 0

    async def ListBalances(self, request: Any, context: Any) -> wire.ListBalancesResponse:  # noqa: N802
        self.ran += 1
        return wire.ListBalancesResponse()

    async def ListWithdrawals(self, request: Any, context: Any) -> wire.ListWithdrawalsResponse:  # noqa: N802
        self.ran += 1
        shown = [wire.Withdrawal()] * request.page_size
        return wire.ListWithdrawalsResponse(withdrawals=shown)

    async def BatchCreateWithdrawals(  # noqa: N802
        self, request: Any, context: Any
    ) -> wire.BatchCreateWithdrawalsResponse:
        self.ran += 1
        return wire.BatchCreateWithdrawalsResponse()


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
def told() -> list[tuple[Identity | None, str, Code]]:
    """Whose calls were refused, which, and why."""
    return []


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a second passes between two calls, and brings another one's token."""
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
async def dial(
    servicer: Servicer, told: list[tuple[Identity | None, str, Code]], tmp_path: Path
) -> AsyncIterator[Any]:
    authority = Authority(tmp_path / "pki")
    tls = authority.issue(Identity(Role.SERVER, "api"), HOSTS)

    async def denied(who: Identity | None, method: str, code: Code, _: str) -> None:
        told.append((who, method, code))

    server, port, _ = await build_server("127.0.0.1:0", tls, denied, limits=LIMITS)
    custody_pb2_grpc.add_CustodyServicer_to_server(servicer, server)
    await server.start()

    @asynccontextmanager
    async def dial(name: str) -> AsyncIterator[grpc.aio.Channel]:
        mine = authority.issue(Identity(Role.REQUESTER, name)).channel_credentials()
        async with grpc.aio.secure_channel(f"localhost:{port}", mine) as channel:
            yield channel

    yield dial
    await server.stop(0)


async def test_above_the_rate_no_handler_runs_and_the_audit_log_hears_of_it(
    dial: Any, servicer: Servicer, told: list[Any]
) -> None:
    async with dial("greedy") as greedy, dial("modest") as modest:
        stub, request = custody_pb2_grpc.CustodyStub(greedy), wire.ListBalancesRequest()
        for _ in range(20):
            await stub.ListBalances(request)
        status, refusal = await refused(stub.ListBalances(request))
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.code is Code.RATE_EXCEEDED
        assert refusal.message == "spiffe://kura/requester/greedy may make 1 calls a second"
        assert servicer.ran == 20
        greedy_one = Identity(Role.REQUESTER, "greedy")
        assert told == [(greedy_one, "ListBalances", Code.RATE_EXCEEDED)]
        await custody_pb2_grpc.CustodyStub(modest).ListBalances(request)


async def test_a_batch_counts_by_its_withdrawals(dial: Any, servicer: Servicer) -> None:
    one = wire.CreateWithdrawalRequest()
    batch = wire.BatchCreateWithdrawalsRequest(requests=[one] * 10 * BATCHED_PER_CALL)
    async with dial("batches") as channel:
        stub = custody_pb2_grpc.CustodyStub(channel)
        await stub.BatchCreateWithdrawals(batch)
        _, refusal = await refused(stub.BatchCreateWithdrawals(batch))
    assert refusal.code is Code.RATE_EXCEEDED
    assert servicer.ran == 1


async def test_a_page_counts_by_what_it_holds(dial: Any, servicer: Servicer) -> None:
    size = 20 * BATCHED_PER_CALL
    async with dial("pages") as channel:
        stub = custody_pb2_grpc.CustodyStub(channel)
        await stub.ListBalances(wire.ListBalancesRequest(page_size=size))  # an empty one
        await stub.ListWithdrawals(wire.ListWithdrawalsRequest(page_size=size))
        _, refusal = await refused(stub.ListWithdrawals(wire.ListWithdrawalsRequest()))
    assert refusal.code is Code.RATE_EXCEEDED
    assert servicer.ran == 2


async def test_health_and_reflection_still_stream(dial: Any) -> None:
    async with dial("watcher") as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        first, second = watch(b"", timeout=60), watch(b"", timeout=60)
        serving = health_pb2.HealthCheckResponse(status="SERVING").SerializeToString()
        assert [await first.read(), await second.read()] == [serving] * 2
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        question = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
        _, refusal = await refused(reflect(iter([question])))
        assert (
            refusal.message
            == "spiffe://kura/requester/watcher has 2 streams open, the most at once"
        )
        first.cancel()
        async with asyncio.timeout(60):
            while isinstance(answer := await reflected(reflect(iter([question]))), Code):
                assert answer is Code.RATE_EXCEEDED
        assert b"grpc.health.v1.Health" in answer


async def reflected(call: Any) -> bytes | Code:
    try:
        answer: bytes = await call.read()
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        return refusal.code if refusal else Code.FAULT
    call.cancel()
    return answer


async def test_a_call_without_a_request_is_told_so(dial: Any) -> None:
    async with dial("empty") as channel:
        call = channel.stream_unary("/kura.custody.v1.Custody/ListBalances")(iter(()))
        with pytest.raises(grpc.aio.AioRpcError, match="carries no request") as failed:
            await call
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
