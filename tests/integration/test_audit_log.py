"""The audit log in the database: one order, whatever commits when; nothing lost, nothing twice."""

import asyncio
import random
from typing import LiteralString

import pytest
from psycopg import Rollback
from psycopg.errors import RaiseException

from custody.domain.audit import AuditEvent, Kind, verify
from custody.store import audit
from custody.store.database import Database, migrate

SEED = random.randrange(2**32)


async def log_of(database: Database) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    async with database.transaction() as connection:
        while found := await audit.page(connection, events[-1].position if events else 0, 7):
            events += found
    return events


@pytest.fixture
async def opened(database: str) -> Database:
    await migrate(database)
    opened = Database(database)
    await opened.open()
    return opened


async def test_events_that_commit_late_come_after_what_was_read_before(opened: Database) -> None:
    async with opened.transaction() as late:
        await audit.record(late, Kind.ORDER, "FIRST_WRITTEN", actor="a")
        async with opened.transaction() as early:
            await audit.record(early, Kind.ORDER, "FIRST_COMMITTED", actor="b")
        async with opened.transaction() as connection:
            assert await audit.seal(connection) == 1
        assert [event.event for event in await log_of(opened)] == ["FIRST_COMMITTED"]
    async with opened.transaction() as connection:
        assert await audit.seal(connection) == 1
    log = await log_of(opened)
    assert [event.event for event in log] == ["FIRST_COMMITTED", "FIRST_WRITTEN"]
    assert verify(event.encode() for event in log) == (2, log[-1].hash)
    await opened.close()


async def test_many_writers_and_sealers_make_one_unbroken_chain(opened: Database) -> None:
    print(f"seed {SEED}")  # noqa: T201
    chance, cursors = random.Random(SEED), list[list[int]]()

    async def write(name: str) -> None:
        for number in range(20):
            async with opened.transaction() as connection:
                await audit.record(connection, Kind.ORDER, "ORDER", actor=name, n=str(number))
                await connection.execute("SELECT pg_sleep(%s)", (chance.random() / 500,))

    async def follow() -> None:
        seen = [0]
        cursors.append(seen)
        while len(seen) <= 60:
            async with opened.transaction() as connection:
                await audit.seal(connection)
                seen += [event.position for event in await audit.page(connection, seen[-1], 5)]

    async with asyncio.timeout(60):
        await asyncio.gather(*(write(name) for name in "abc"), follow(), follow())
    assert cursors == [list(range(61))] * 2
    log = await log_of(opened)
    assert verify(event.encode() for event in log) == (60, log[-1].hash)
    for name in "abc":
        assert [e.details["n"] for e in log if e.actor == name] == [str(n) for n in range(20)]
    await opened.close()


async def test_an_event_of_a_transaction_that_failed_never_was(opened: Database) -> None:
    async with opened.transaction() as connection, connection.transaction() as failed:
        await audit.record(connection, Kind.ORDER, "ORDER", actor="a")
        raise Rollback(failed)
    async with opened.transaction() as connection:
        assert await audit.seal(connection) == 0
    await opened.close()


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE event SET actor = 'somebody else'",
        "UPDATE event SET position = NULL, previous = NULL, hash = NULL, actor = 'b'",
        "UPDATE event SET position = 7, previous = '', hash = '', time = now()",
        "DELETE FROM event",
        "TRUNCATE event",
        "UPDATE ledger_entry SET amount = 0",
        "DELETE FROM ledger_entry",
        "TRUNCATE ledger_entry",
    ],
)
async def test_what_was_written_is_only_added_to(
    opened: Database, tamper: LiteralString, sealed: bool
) -> None:
    async with opened.transaction() as connection:
        await audit.record(connection, Kind.ORDER, "ORDER", actor="a")
        await connection.execute(
            "INSERT INTO ledger_entry (wallet, kind, amount, reference)"
            " VALUES ('hot', 'inflow', 5, 'r')"
        )
        if sealed:
            await audit.seal(connection)
    with pytest.raises(RaiseException, match="is only added to"):
        async with opened.transaction() as connection:
            await connection.execute(tamper)
    await opened.close()
