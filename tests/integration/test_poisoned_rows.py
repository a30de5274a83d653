"""Rows that nobody of ours wrote: each is left alone, and all the others go on."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
import pytest
from structlog.testing import capture_logs

from custody.api import CustodyServicer
from custody.call_log import CallLog
from custody.domain.audit import verify
from custody.flows import checks, housekeeping, nonce_pool, sign
from custody.flows.status import gather, next_actions
from custody.store import audit, signers
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.statements import Signed
from tests.factories import HOUR, SOL
from tests.integration import house as houses
from tests.integration.house import House

house = houses.house
LARGE = 20 * SOL
STORE: LiteralString = (
    "INSERT INTO approval (withdrawal, digest, approver, decision, policy, expires, statement,"
    " signature) VALUES (%s, '', %s, 'approve', %s, %s, %s, %s)"
)


async def slip_in(house: House, row: Row, signed: Signed, approver: str) -> None:
    """Put an approval into the database, past custody's checks, as one that is valid now."""
    until = house.clock.now() + HOUR
    values = (row.digest, approver, house.policy.digest, until, signed.statement, signed.signature)
    await house.sql(STORE, *values)


async def spoil_transactions(house: House, rows: list[Row]) -> None:
    query: LiteralString = "UPDATE withdrawal SET transaction = 'x' WHERE digest = %s"
    for row in rows:
        await house.sql(query, row.digest)


async def test_what_raises_is_put_off_and_the_others_are_paid(house: House) -> None:
    await house.ready()
    bad = await house.create()
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    await spoil_transactions(house, [bad])
    good = [await house.create() for _ in range(3)]
    with capture_logs() as logs:
        await house.step()
    assert [(await house.row(row)).state for row in good] == ["COMPLETED"] * 3
    (waiting,) = await house.sql(
        "SELECT retry_at > now() + interval '5 seconds', waiting_for FROM withdrawal"
        " WHERE digest = %s",
        bad.digest,
    )
    assert waiting == (True, "OPERATOR"), "it is tried again at once, or nobody is told"
    (todo,) = next_actions(await gather(house.parts))
    assert "1 wait for OPERATOR: they met a fault" in todo
    assert {entry["event"] for entry in logs if entry["log_level"] == "error"} == {"fault"}


async def test_a_claim_that_raises_holds_up_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ready()
    bad, good = await house.create(), await house.create()
    judge = checks.genuine

    def poisoned(policy: object, digest: str, *rest: object) -> list[Signed]:
        if digest == bad.digest:
            raise ValueError("nobody foresaw this row")
        return judge(policy, digest, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checks, "genuine", poisoned)
    await house.step()
    assert (await house.row(good)).state == "COMPLETED"
    assert (await house.row(bad)).state == "QUEUED"
    monkeypatch.undo()


async def test_a_nonce_account_that_raises_holds_up_no_other(house: House) -> None:
    house.pay(house.wallet, 100 * SOL)
    await house.sql("INSERT INTO nonce (wallet, index, journal) VALUES ('a-stranger', 0, '')")
    await house.step()
    await nonce_pool.keep_pool(house.parts)
    rows = await house.sql("SELECT count(*) FROM nonce WHERE value IS NOT NULL")
    assert rows == [(house.policy.wallets["hot-sol"].nonce_pool,)]
    await house.sql("DELETE FROM nonce WHERE wallet = 'a-stranger'")


async def test_values_that_would_stop_every_reader_are_not_stored(house: House) -> None:
    await house.ready()
    await house.create()
    spoil: tuple[LiteralString, ...] = (
        "UPDATE withdrawal SET create_time = 'infinity'",
        "UPDATE withdrawal SET create_time = '20000-01-01'",  # more than Python's years
        "UPDATE withdrawal SET update_time = '4000-01-01 BC'",
        "UPDATE withdrawal SET retry_at = '-infinity'",
        "UPDATE signer SET seen = '20000-01-01'",
        (
            "INSERT INTO event (time, kind, event, actor, subject, details)"
            " VALUES ('20000-01-01', 'ORDER', '', '', '', '{}')"
        ),
        "UPDATE withdrawal SET nonce_index = -1",
        "UPDATE withdrawal SET nonce_value = 'short'",
        "UPDATE withdrawal SET unit_price = -1",
        "UPDATE withdrawal SET expires = 9223372036854775807",
        "UPDATE withdrawal SET statement = convert_to(repeat('x', 100000), 'UTF8')",
        "UPDATE nonce SET index = -1 WHERE index = 0",
        "UPDATE nonce SET value = 'short'",
    )
    for query in spoil:
        with pytest.raises(psycopg.errors.CheckViolation):
            await house.sql(query)


@pytest.mark.parametrize("when", ["before the second approval", "before it is claimed"])
async def test_forged_approvals_neither_end_nor_hold_up_a_withdrawal(
    house: House, when: str
) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.decide(row, "alice")
    if when == "before it is claimed":
        await house.decide(row, "carol")
    genuine = house.approval(row.digest, "bob")
    await slip_in(house, row, Signed(genuine.statement, bytes(64)), "bob")
    stale = house.approval(row.digest, "bob", expires=house.clock.now() - 1)
    await slip_in(house, row, stale, "stale")
    await slip_in(house, row, Signed(b"nonsense", b""), "nonsense")
    with capture_logs() as logs:
        if when == "before the second approval":
            (shown,) = await shown_of(house, row)
            assert shown == ["1 of risk"]
            await house.decide(row, "carol")
        await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert [entry for entry in logs if entry["log_level"] == "critical"]


async def shown_of(house: House, *rows: Row) -> list[list[str]]:
    """Return what the API says is missing of each."""
    servicer = CustodyServicer(house.parts, CallLog(house.parts.database))
    return [list((await servicer._shown(row)).approvals_missing) for row in rows]


async def test_one_approval_under_many_names_counts_and_is_sent_once(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.decide(row, "alice")
    for number in range(70):
        await slip_in(house, row, house.approval(row.digest, "alice"), f"alice-{number}")
    await house.step()
    assert (await house.row(row)).state == "PENDING_APPROVAL"
    await house.decide(row, "carol")
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert len(house.gateway.asked[-1].approvals) == 2


async def test_an_officer_who_approves_again_and_again_is_one_person(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    for minutes in range(70):
        until = house.clock.now() + HOUR - minutes * 1_000
        assert isinstance(await house.decide(row, "alice", expires=until), Row)
    await house.decide(row, "carol")
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert len(house.gateway.asked[-1].approvals) == 2


async def test_a_signer_from_the_future_is_nobody(house: House) -> None:
    await house.ready()
    await house.sql(
        "INSERT INTO signer (audit_key, policy, policy_digest, book_version, book_digest, seen)"
        " VALUES ('ed25519:future', 'no policy', '', 7, '', now() + interval '1 day')"
    )
    row = await house.create()
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    facts = await gather(house.parts)
    assert facts.policy == house.policy
    async with house.parts.database.transaction() as connection:
        latest = await signers.latest(connection)
    assert latest
    assert latest.audit_key == house.audit_key


@pytest.mark.parametrize("key", ["ed25519:\u202e", "ed25519:\n", "x" * 70_000], ids=len)
async def test_what_a_relay_says_of_its_signer_does_not_stop_the_audit_log(
    house: House, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ready()
    ask = house.gateway.ask

    async def lying(jobs: Sequence[wire.Job], traces: Sequence[str] = ()) -> list[wire.Result]:
        (result,) = await ask(jobs, traces)
        result.status.audit_key, result.status.book_digest = key, "f" * 64
        return [result]

    monkeypatch.setattr(house.gateway, "ask", lying)
    with pytest.raises(ValueError, match=r"hidden character|more than"):
        await housekeeping.read_status(house.parts)
    monkeypatch.undo()
    await house.create()
    await house.step()
    async with house.parts.database.transaction() as connection:
        await audit.seal_all(connection)
        events = await audit.page(connection, 0, 1_000)
    verify(event.encode() for event in events)
    assert events[-1].event == "FINALISED"
