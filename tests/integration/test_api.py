"""The custody API over real mutual TLS: what it shows, to whom, and how it says no."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from custody.errors import DETAILS_KEY, ReusedRefusal
from custody.identity import Role
from custody.store import withdrawals
from kura.custody.v1 import custody_pb2 as wire
from policies.advice import NEXT
from policies.codes import Code
from policies.statements import Cancel, Signed, digest
from tests.factories import CUSTOMER, SOL, key, public, sign
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import Served, refused, served

house = houses.house
LARGE = 20 * SOL


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(house.parts, tmp_path / "pki") as made:
        yield made


def statement(signed: Signed) -> wire.SignedStatement:
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


def create(signed: Signed) -> wire.CreateWithdrawalRequest:
    return wire.CreateWithdrawalRequest(intent=statement(signed))


async def test_a_withdrawal_from_create_to_completed(house: House, api: Served) -> None:
    await house.ready()
    intent = house.intent(amount=LARGE, request_id="order-1")
    async with api.stub(Role.REQUESTER, "exchange") as exchange:
        made = (await exchange.CreateWithdrawal(create(intent))).withdrawal
        assert made.state == wire.WITHDRAWAL_STATE_PENDING_APPROVAL
        assert made.waiting_for == "APPROVALS"
        assert made.approvals_missing == ["1 of operations", "1 of risk"]
        assert (made.requester, made.request_id) == ("exchange", "order-1")
        assert (made.wallet, made.network, made.asset) == (
            "wallets/hot-sol",
            "solana:devnet",
            "SOL",
        )
        assert (made.destination.address, made.amount) == (CUSTOMER.address, str(LARGE))
        assert made.intent == statement(intent)
        assert not made.HasField("refusal")
        digest = made.name.removeprefix("withdrawals/")
        for person, missing in (("alice", ["1 of risk"]), ("carol", [])):
            async with api.stub(Role.OFFICER, person) as officer:
                (pending,) = (
                    await officer.ListPendingApprovals(wire.ListPendingApprovalsRequest())
                ).withdrawals
                approval = statement(house.approval(digest, person))
                request = wire.CreateApprovalRequest(parent=pending.name, approval=approval)
                shown = (await officer.CreateApproval(request)).withdrawal
                assert shown.approvals_missing == missing
        await house.step()
        done = (await exchange.GetWithdrawal(wire.GetWithdrawalRequest(name=made.name))).withdrawal
        assert done.state == wire.WITHDRAWAL_STATE_COMPLETED
        assert (done.fee, len(done.approvals)) == ("5002", 2)
        assert done.transaction_id
        again = (await exchange.CreateWithdrawal(create(intent))).withdrawal
        assert again == done
    async with api.stub(Role.AUDITOR) as auditor:
        (balance,) = (await auditor.ListBalances(wire.ListBalancesRequest())).balances
        assert balance.total == str(await house.on_chain(house.wallet)) == balance.available
        assert balance.in_use == "0"
        policy = await auditor.GetPolicy(wire.GetPolicyRequest())
        assert (policy.digest, policy.book_version) == (house.policy.digest, "1")
        (wallet,) = (await auditor.ListWallets(wire.ListWalletsRequest())).wallets
        assert wallet == (await auditor.GetWallet(wire.GetWalletRequest(name=wallet.name))).wallet
        assert (wallet.address, wallet.signer) == (house.wallet, house.audit_key)


async def test_what_waits_for_people_says_so_when_custody_cannot_tell_for_whom(
    house: House, api: Served
) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.sql("UPDATE signer SET policy = ''")
    async with api.stub(Role.REQUESTER, "exchange") as exchange:
        name = f"withdrawals/{row.digest}"
        shown = (await exchange.GetWithdrawal(wire.GetWithdrawalRequest(name=name))).withdrawal
    assert (shown.waiting_for, shown.approvals_missing) == ("APPROVALS", [])
    assert shown.earliest_time == shown.update_time


async def test_a_refusal_carries_code_field_and_what_to_do(house: House, api: Served) -> None:
    await house.ready()
    async with api.stub(Role.REQUESTER, "exchange") as exchange:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.CreateWithdrawal(create(house.intent(amount=51 * SOL)))
        error = caught.value
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert str(error.details()).startswith("CAP_EXCEEDED: 51 SOL is above the cap")
        details = dict(error.trailing_metadata() or ())[DETAILS_KEY]
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        first, second = status_pb2.Status.FromString(details).details
        assert first.Unpack(info)
        assert second.Unpack(bad)
        assert (info.domain, info.reason) == ("kura", "CAP_EXCEEDED")
        assert info.metadata["by"] == "custody"
        assert info.metadata["rule"] == "wallets.hot-sol.cap"
        assert info.metadata["next"] == NEXT[Code.CAP_EXCEEDED]
        assert [violation.field for violation in bad.field_violations] == ["intent.amount"]

        made = (await exchange.CreateWithdrawal(create(house.intent(request_id="a")))).withdrawal
        reused = create(house.intent(request_id="a", amount=1_000_000))
        status, refusal = await refused(exchange.CreateWithdrawal(reused))
        assert status is grpc.StatusCode.ALREADY_EXISTS
        assert isinstance(refusal, ReusedRefusal)
        assert refusal.name == made.name
        status, refusal = await refused(exchange.CreateWithdrawal(wire.CreateWithdrawalRequest()))
        assert (status, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "intent")


async def test_a_requester_sees_and_cancels_only_its_own(house: House, api: Served) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    name = f"withdrawals/{row.digest}"
    cancel = statement(sign(key("exchange"), Cancel(key=public("exchange"), intent=row.digest)))
    async with api.stub(Role.REQUESTER, "other") as other:
        nobodys = wire.GetWithdrawalRequest(name="withdrawals/" + "0" * 64)
        for call in (
            other.GetWithdrawal(wire.GetWithdrawalRequest(name=name)),
            other.GetWithdrawal(nobodys),
            other.CancelWithdrawal(wire.CancelWithdrawalRequest(name=name, cancel=cancel)),
        ):
            status, refusal = await refused(call)
            assert (status, refusal.field) == (grpc.StatusCode.NOT_FOUND, "name")
        assert not (await other.ListWithdrawals(wire.ListWithdrawalsRequest())).withdrawals
        status, refusal = await refused(other.CreateWithdrawal(create(row.signed)))
        assert (status, refusal.code) == (
            grpc.StatusCode.PERMISSION_DENIED,
            Code.REQUESTER_UNKNOWN,
        )
    async with api.stub(Role.REQUESTER, "exchange") as exchange:
        assert len((await exchange.ListWithdrawals(wire.ListWithdrawalsRequest())).withdrawals) == 1
        request = wire.CancelWithdrawalRequest(name=name, cancel=cancel)
        cancelled = (await exchange.CancelWithdrawal(request)).withdrawal
        assert cancelled.state == wire.WITHDRAWAL_STATE_ENDING
        assert cancelled.ending == wire.WITHDRAWAL_STATE_CANCELLED


async def test_every_line_about_a_withdrawal_names_it(house: House, api: Served) -> None:
    await house.ready()
    capped, paid = house.intent(amount=10_000 * SOL), await house.create()
    await house.step()
    cancel = sign(key("exchange"), Cancel(key=public("exchange"), intent=paid.digest))
    late = wire.CancelWithdrawalRequest(name=f"withdrawals/{paid.digest}", cancel=statement(cancel))
    batch = wire.BatchCreateWithdrawalsRequest(requests=[create(capped)])
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        async with api.stub(Role.REQUESTER, "exchange") as exchange:
            await refused(exchange.CreateWithdrawal(create(capped)))
            await exchange.BatchCreateWithdrawals(batch)
            await refused(exchange.CancelWithdrawal(late))
        house.gateway.unreachable = True
        waiting = await house.create()
        await house.step()
        house.gateway.unreachable = False
    named = [line["withdrawal"] for line in lines if line["event"] == "refused"]
    assert named == [digest(capped.statement)] * 2 + [paid.digest]
    silent = [line["withdrawals"] for line in lines if line["event"] == "signer not reached"]
    assert silent
    assert all(names == [waiting.digest] for names in silent)


async def test_an_officer_decides_only_for_itself(house: House, api: Served) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    request = wire.CreateApprovalRequest(
        parent=f"withdrawals/{row.digest}", approval=statement(house.approval(row.digest, "alice"))
    )
    async with api.stub(Role.OFFICER, "carol") as carol:
        status, refusal = await refused(carol.CreateApproval(request))
    assert (status, refusal.code) == (grpc.StatusCode.INVALID_ARGUMENT, Code.APPROVAL_INVALID)
    assert refusal.field == "approval.approver"


async def test_names_that_are_none(house: House, api: Served) -> None:
    await house.ready()
    async with api.stub(Role.OFFICER, "alice") as stub:
        for name in ("", "withdrawals/", "withdrawals/" + "A" * 64, "x" * 76, "\0"):
            for field, call in (
                ("name", stub.GetWithdrawal(wire.GetWithdrawalRequest(name=name))),
                ("parent", stub.CreateApproval(wire.CreateApprovalRequest(parent=name))),
            ):
                status, refusal = await refused(call)
                assert (status, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field), name
        for name in ("", "hot-sol", "wallets/", "wallets/hot-btc", "wallets/\0"):
            status, refusal = await refused(stub.GetWallet(wire.GetWalletRequest(name=name)))
            assert (status, refusal.field) == (grpc.StatusCode.NOT_FOUND, "name"), name


async def test_what_waits_for_too_long_is_not_done_behind_ones_back(
    house: House, api: Served
) -> None:
    await house.ready()
    house.node_line.held.clear()
    async with api.stub(Role.REQUESTER, "exchange") as exchange:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.CreateWithdrawal(create(house.intent()), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(60):
        await house.node_line.abandoned.wait()
    house.node_line.held.set()
    assert await house.sql("SELECT count(*) FROM withdrawal") == [(0,)]


FAULTS = (
    (RuntimeError, grpc.StatusCode.INTERNAL, Code.FAULT),
    (psycopg.DataError, grpc.StatusCode.INTERNAL, Code.FAULT),
    (psycopg.OperationalError, grpc.StatusCode.UNAVAILABLE, Code.DATABASE_UNREACHABLE),
)


async def test_a_fault_is_told_without_its_insides(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = wire.GetWithdrawalRequest(name="withdrawals/" + "0" * 64)
    async with api.stub(Role.AUDITOR) as auditor:
        for error, status, code in FAULTS:

            async def fail(*_: object, error: type[Exception] = error) -> None:
                raise error("dsn=tiger")

            with monkeypatch.context() as patch:
                patch.setattr(withdrawals, "get", fail)
                call = auditor.GetWithdrawal(request)
                seen, refusal = await refused(call)
                assert (seen, refusal.code) == (status, code)
                assert "tiger" not in f"{await call.details()}{await call.trailing_metadata()}"
        assert (await refused(auditor.GetWithdrawal(request)))[0] is grpc.StatusCode.NOT_FOUND


async def test_health_and_reflection_answer_everybody_who_is_certified(api: Served) -> None:
    async with api.channel(Role.SERVER, "monitor") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "kura.custody.v1.Custody"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = await reflection.ServerReflectionInfo(iter([ask])).read()
        services = {service.name for service in answer.list_services_response.service}
    assert services == {
        "kura.custody.v1.Custody",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
