"""What gets into the audit log: orders, refusals, sign-ins, changes of configuration; and batch."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from custody.call_log import REFUSALS_A_MINUTE
from custody.domain.audit import AuditEvent, verify
from custody.identity import Role
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from policies.statements import digest
from tests.factories import SOL
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import Served, refused, served
from tests.integration.test_api import create, statement

house = houses.house
LARGE = 20 * SOL


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(house.parts, tmp_path / "pki") as made:
        yield made


async def log_of(api: Served) -> list[AuditEvent]:
    """Return the whole log as an auditor reads it, page by page, checked."""
    rows, token = list[bytes](), ""
    async with api.stub(Role.AUDITOR) as auditor:
        while token or not rows:
            request = wire.ListAuditEventsRequest(page_size=9, page_token=token)
            page = await auditor.ListAuditEvents(request)
            rows += [event.event for event in page.events]
            token = page.next_page_token
    verify(rows)
    return [AuditEvent.decode(row) for row in rows]


async def test_a_call_by_a_wrong_role_is_in_the_log(house: House, api: Served) -> None:
    await house.ready()
    async with api.stub(Role.OFFICER, "alice") as alice:
        await refused(alice.CreateWithdrawal(wire.CreateWithdrawalRequest()))
    told = {(event.kind, event.event, event.actor, event.subject) for event in await log_of(api)}
    alice_uri = "spiffe://kura/officer/alice"
    assert ("REFUSAL", "ROLE_DENIED", alice_uri, "CreateWithdrawal") in told


async def test_every_kind_of_event_is_there_with_actor_and_digests(
    house: House, api: Served
) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    signed = house.approval(row.digest, "alice")
    async with api.stub(Role.OFFICER, "alice") as alice:
        request = wire.CreateApprovalRequest(
            parent=f"withdrawals/{row.digest}", approval=statement(signed)
        )
        await alice.CreateApproval(request)
        await refused(alice.GetWithdrawal(wire.GetWithdrawalRequest(name="nonsense")))
    await house.cancel(row)
    await house.step()
    told = {
        (event.kind, event.event, event.actor, event.subject, event.details.get("digest", ""))
        for event in await log_of(api)
    }
    withdrawal, officer = f"withdrawals/{row.digest}", "spiffe://kura/officer/alice"
    policy, book = house.policy.digest, (await house.sql("SELECT digest FROM book_version"))[0][0]
    assert {
        ("CONFIGURATION", "POLICY", "signer", "policy", policy),
        ("CONFIGURATION", "BOOK", "signer", "book/1", book),
        ("ORDER", "BOOK", "alice,carol", "book/1", book),
        ("WITHDRAWAL", "CREATED", "exchange", withdrawal, ""),
        ("SIGN_IN", "SIGN_IN", officer, "", ""),
        ("ORDER", "APPROVE", "alice", withdrawal, digest(signed.statement)),
        ("REFUSAL", "ARGUMENT_INVALID", officer, "GetWithdrawal", ""),
        ("WITHDRAWAL", "CANCEL_CERTIFIED", "signer", withdrawal, ""),
    } <= told
    assert len([event for event in told if event[:2] == ("ORDER", "CANCEL")]) == 1


async def test_who_is_refused_again_and_again_does_not_fill_the_log(
    house: House, api: Served
) -> None:
    async with api.stub(Role.OFFICER, "mallory") as mallory:
        for _ in range(REFUSALS_A_MINUTE + 20):
            await refused(mallory.GetWithdrawal(wire.GetWithdrawalRequest(name="nonsense")))
    written = [event for event in await log_of(api) if event.kind == "REFUSAL"]
    assert REFUSALS_A_MINUTE <= len(written) <= 2 * REFUSALS_A_MINUTE  # a minute may end meanwhile


async def test_each_request_of_a_batch_is_answered_on_its_own(house: House, api: Served) -> None:
    await house.ready()
    good = [house.intent() for _ in range(3)]
    capped = house.intent(amount=10_000 * SOL)
    requests = [create(signed) for signed in (good[0], capped, good[1], good[2])]
    requests.insert(2, wire.CreateWithdrawalRequest())
    batch = wire.BatchCreateWithdrawalsRequest(requests=requests)
    async with api.stub(Role.REQUESTER, "exchange") as exchange:
        for _ in range(2):  # and again whole
            results = (await exchange.BatchCreateWithdrawals(batch)).results
            made = [results[index].withdrawal.name for index in (0, 3, 4)]
            assert made == [f"withdrawals/{digest(signed.statement)}" for signed in good]
            assert results[1].refusal.code == Code.CAP_EXCEEDED
            assert results[1].refusal.next
            assert results[2].refusal.code == Code.INTENT_MALFORMED
        too_many = wire.BatchCreateWithdrawalsRequest(requests=[create(good[0])] * 1001)
        for wrong in (wire.BatchCreateWithdrawalsRequest(), too_many):
            status, refusal = await refused(exchange.BatchCreateWithdrawals(wrong))
            assert (status, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "requests")
    assert await house.sql("SELECT count(*) FROM withdrawal") == [(3,)]
    told = [event for event in await log_of(api) if event.subject == "BatchCreateWithdrawals"]
    assert {event.actor for event in told} == {"spiffe://kura/requester/exchange"}
    codes = [Code.CAP_EXCEEDED, Code.INTENT_MALFORMED] * 2 + [Code.ARGUMENT_INVALID] * 2
    assert [event.event for event in told] == codes
