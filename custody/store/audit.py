"""The audit log: events written in the transaction of what they tell, then put in one order.

`record` adds an event; `seal` gives committed events their position and their place in the hash
chain, in one process at a time. Whoever reads (`page`) sees sealed events only, so that a position
once passed never gets an event before it: a cursor loses nothing and repeats nothing.
"""

from datetime import UTC, datetime
from typing import LiteralString

from psycopg.types.json import Jsonb

from custody.domain.audit import NOTHING_BEFORE, AuditEvent, Kind, refuse_unsealable
from custody.store.database import Connection, notify

SEAL_LOCK = 0x6B757262
SEALED_AT_ONCE = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def record(  # noqa: PLR0913 - the columns of a row
    connection: Connection,
    kind: Kind,
    event: str,
    *,
    actor: str,
    subject: str = "",
    requester: str = "",
    **details: str,
) -> None:
    """Add an event, to be sealed once this transaction has committed, and wake who waits for it.

    `subject` is a resource's name, such as withdrawals/{digest}; `requester` is whose withdrawal it
    is, for `steps` only; `details` are short: names, states and digests. ValueError for what the
    chain cannot hold: once written, it would stop the log for ever.
    """
    refuse_unsealable(event, actor, subject, details)
    query = (
        "INSERT INTO event (kind, event, actor, subject, details, requester)"
        " VALUES (%s, %s, %s, %s, %s, %s)"
    )
    await connection.execute(query, (kind, event, actor, subject, Jsonb(details), requester))
    await notify(connection)


async def seal(connection: Connection) -> int:
    """Seal what has committed, oldest first; return how many events that were."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (SEAL_LOCK,))
    position, previous = await head(connection)
    query = (
        "SELECT sequence, time, kind, event, actor, subject, details FROM event"
        " WHERE position IS NULL ORDER BY sequence LIMIT %s"
    )
    rows = await (await connection.execute(query, (SEALED_AT_ONCE,))).fetchall()
    sealed = []
    for sequence, *values in rows:
        position += 1
        event = _event(position, previous, *values)
        sealed.append((position, previous, event.hash, sequence))
        previous = event.hash
    query = "UPDATE event SET position = %s, previous = %s, hash = %s WHERE sequence = %s"
    async with connection.cursor() as cursor:
        await cursor.executemany(query, sealed)
    return len(sealed)


async def seal_all(connection: Connection) -> int:
    """Seal all that has committed; return the last position."""
    while await seal(connection) == SEALED_AT_ONCE:
        pass
    return (await head(connection))[0]


async def head(connection: Connection) -> tuple[int, str]:
    """Return (position, hash) of the last sealed event."""
    query = "SELECT position, hash FROM event ORDER BY position DESC NULLS LAST LIMIT 1"
    row = await (await connection.execute(query)).fetchone()
    return (row[0], row[1]) if row and row[0] else (0, NOTHING_BEFORE)


async def hash_at(connection: Connection, position: int) -> str | None:
    """Return the hash of the sealed event at `position`, None when there is none."""
    if position == 0:
        return NOTHING_BEFORE
    query = "SELECT hash FROM event WHERE position = %s"
    row = await (await connection.execute(query, (position,))).fetchone()
    return row[0] if row else None


async def page(
    connection: Connection, after: int, size: int, *, upto: int | None = None
) -> list[AuditEvent]:
    """Return up to `size` sealed events after position `after`, in order."""
    return await _events(connection, "TRUE", after, size, upto, {})


async def steps(
    connection: Connection, after: int, size: int, *, upto: int, requester: str = ""
) -> list[AuditEvent]:
    """Return the withdrawals' changes of state among them; of one requester, "" for all."""
    where: LiteralString = "kind = 'WITHDRAWAL'"
    if requester:
        where = "requester = %(requester)s AND requester <> ''"  # by its index, without a hit too
    return await _events(connection, where, after, size, upto, {"requester": requester})


async def _events(  # noqa: PLR0913, PLR0917
    connection: Connection,
    where: LiteralString,
    after: int,
    size: int,
    upto: int | None,
    values: dict[str, object],
) -> list[AuditEvent]:
    query: LiteralString = (
        "SELECT position, previous, time, kind, event, actor, subject, details FROM event WHERE "
        + where
        + " AND position > %(after)s AND (%(upto)s::bigint IS NULL OR position <= %(upto)s)"
        " ORDER BY position LIMIT %(size)s"
    )
    values = {**values, "after": after, "upto": upto, "size": size}
    rows = await (await connection.execute(query, values)).fetchall()
    return [_event(*row) for row in rows]


def _event(  # noqa: PLR0913, PLR0917 - the columns of a row
    position: int,
    previous: str,
    time: datetime,
    kind: str,
    event: str,
    actor: str,
    subject: str,
    details: dict[str, str],
) -> AuditEvent:
    return AuditEvent(
        position=position,
        time=round((time - _EPOCH).total_seconds() * 1000),
        kind=kind,
        event=event,
        actor=actor,
        subject=subject,
        details=details,
        previous=previous,
    )
