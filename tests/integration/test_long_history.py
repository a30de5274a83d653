"""A long history: what a list or watch without a hit reads of it, and what takes too long."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custody.identity import Role
from custody.store import audit, withdrawals
from custody.store.database import Connection, Database
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import refused, served

house = houses.house
ROWS = 20_000
READ_MAX = 200
NEWEST = 2**63 - 1
_PAST = (
    "INSERT INTO withdrawal (digest, requester, request_id, statement, signature, wallet, network,"
    " asset, address, memo, amount, expires, state, receipt, acknowledged)"
    " SELECT 'past ' || n, 'exchange', 'past ' || n, '', '', 'hot-sol', 'solana:devnet', 'SOL',"
    " 'somewhere', '', 1, 0, 'BLOCKED', 'a receipt', true FROM generate_series(1, %s) AS n"
)
_EVENTS = (
    "INSERT INTO event (kind, event, actor, subject, details, requester, position, previous, hash)"
    " SELECT 'WITHDRAWAL', 'CREATED', 'exchange', 'withdrawals/past ' || n, '{}', 'exchange',"
    " 1000000 + n, '', '' FROM generate_series(1, %s) AS n"
)
_READ = "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_xact_user_tables"


@pytest.fixture
async def old(house: House) -> House:
    """A house with a past."""
    await house.ready()
    for query in (_PAST, _EVENTS):
        await house.sql(query, ROWS)
    await house.sql("ANALYZE")
    return house


async def rows_read(connection: Connection) -> int:
    """Rows that this connection has read, as far as they are not handed to the statistics yet.

    PostgreSQL hands them over when a transaction ends, once a second at most: what earlier ones of
    this connection read may be among them, but nothing is handed over inside a transaction.
    """
    (read,) = await (await connection.execute(_READ)).fetchone() or (None,)
    assert read is not None
    return int(read)


@pytest.mark.parametrize(
    "chosen",
    [
        {"waiting_for": "FUNDS"},
        {"waiting_for": "APPROVALS", "requester": "exchange"},
        {"wallet": "cold-sol"},
        {"request_id": "order-7"},
        {"requester": "nobody"},
        {"states": ("QUEUED", "ENDING")},
    ],
    ids=str,
)
async def test_a_list_without_a_hit_reads_little(old: House, chosen: dict[str, Any]) -> None:
    async with old.parts.database.transaction() as connection:
        before = await rows_read(connection)
        assert await withdrawals.page(connection, NEWEST, 100, **chosen) == []
        assert await rows_read(connection) - before < READ_MAX


async def test_a_watch_of_a_requester_without_events_reads_little(old: House) -> None:
    async with old.parts.database.transaction() as connection:
        before = await rows_read(connection)
        assert not await audit.steps(connection, 0, 100, upto=NEWEST, requester="nobody")
        assert await rows_read(connection) - before < READ_MAX


async def test_what_takes_too_long_may_be_asked_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Database(house.dsn, statement_seconds=0.05)
    await slow.open()
    parts = replace(house.parts, database=slow)

    async def sleep(connection: Connection, *_: object) -> None:
        await connection.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr(withdrawals, "get", sleep)
    async with served(parts, tmp_path / "pki") as api, api.stub(Role.AUDITOR) as auditor:
        request = wire.GetWithdrawalRequest(name="withdrawals/" + "0" * 64)
        _, refusal = await refused(auditor.GetWithdrawal(request))
    await slow.close()
    assert refusal.code is Code.DATABASE_UNREACHABLE
    assert "too long" in refusal.message
