"""Policy versions and vetoes on their way to the signer, and what it said to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, LiteralString

from psycopg.rows import class_row

from custody.store.database import Connection, notify
from policies.codes import Refusal
from policies.statements import Signed

PUT_LOCK = 0x6B757263


class Progress(StrEnum):
    """How far a policy version or a veto is."""

    PENDING = "PENDING"  # the signer is asked
    DELAYED = "DELAYED"  # it waits for its delay there
    APPLIED = "APPLIED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A policy version. `changes` is a kura.signer.v1.PolicyVersion, `earliest` in Unix ms."""

    sequence: int
    digest: str
    version: int
    file: bytes
    changes: bytes
    people: str
    state: str
    earliest: int
    refusal_code: str
    refusal_message: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class VetoRow:
    """One person's veto of the policy version with digest `change`."""

    change: str
    person: str
    statement: bytes
    signature: bytes
    state: str
    refusal_code: str
    refusal_message: str

    @property
    def signed(self) -> Signed:
        """The veto as its officer signed it."""
        return Signed(self.statement, self.signature)


_VERSION: LiteralString = (
    "SELECT sequence, digest, version, file, changes, people, state, earliest, refusal_code,"
    " refusal_message, create_time FROM policy_version "
)
_VETO: LiteralString = (
    "SELECT change, person, statement, signature, state, refusal_code, refusal_message FROM veto "
)


async def put(  # noqa: PLR0913, PLR0917 - the columns of a row
    connection: Connection, digest: str, version: int, file: bytes, changes: bytes, people: str
) -> None:
    """Keep a version, or its newer signatures, for the signer to be asked at once."""
    query = (
        "INSERT INTO policy_version (digest, version, file, changes, people)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (digest) DO UPDATE SET changes ="
        " excluded.changes, people = excluded.people, state = 'PENDING', refusal_code = '',"
        " refusal_message = '', ask_at = now() WHERE policy_version.state <> 'APPLIED'"
    )
    await connection.execute(query, (digest, version, file, changes, people))
    await notify(connection)


async def get(connection: Connection, digest: str, *, lock: bool = False) -> VersionRow | None:
    """Return one version, locked until the transaction ends when asked."""
    rows = await _versions(connection, "WHERE digest = %s" + " FOR UPDATE" * lock, (digest,))
    return rows[0] if rows else None


async def page(connection: Connection, before: int, size: int) -> list[VersionRow]:
    """Return up to `size` versions below sequence `before`, newest first."""
    where: LiteralString = "WHERE sequence < %s ORDER BY sequence DESC LIMIT %s"
    return await _versions(connection, where, (before, size))


async def one_at_a_time(connection: Connection) -> None:
    """Let nobody else add a version until this transaction ends, so that the count is right."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (PUT_LOCK,))


async def count_open(connection: Connection) -> int:
    """Return how many versions are on their way."""
    query = "SELECT count(*) FROM policy_version WHERE state IN ('PENDING', 'DELAYED')"
    row = await (await connection.execute(query)).fetchone()
    return int(row[0]) if row else 0


async def due(connection: Connection) -> VersionRow | None:
    """Return the version that the signer is to be asked about first."""
    where: LiteralString = (
        "WHERE state IN ('PENDING', 'DELAYED') AND ask_at <= now() ORDER BY ask_at LIMIT 1"
    )
    rows = await _versions(connection, where, ())
    return rows[0] if rows else None


async def settle(  # noqa: PLR0913 - what the signer said
    connection: Connection,
    row: VersionRow,
    state: Progress,
    refusal: Refusal | None = None,
    *,
    earliest: int = 0,
    again: float = 0,
) -> None:
    """Note what the signer said, unless other bytes were handed over since it was asked.

    `again`: seconds until it is asked again, if it is.
    """
    query = (
        "UPDATE policy_version SET state = %s, refusal_code = %s, refusal_message = %s,"
        " earliest = %s, ask_at = now() + %s WHERE digest = %s AND changes = %s"
        " AND state <> 'APPLIED'"
    )
    said = (refusal.code, refusal.message) if refusal else ("", "")
    values = (state, *said, earliest, timedelta(seconds=again), row.digest, row.changes)
    await connection.execute(query, values)


async def in_force(connection: Connection, digest: str) -> None:
    """Note that a version is in force; those that follow another are asked about again at once."""
    query = (
        "UPDATE policy_version SET state = 'APPLIED', refusal_code = '', refusal_message = ''"
        " WHERE digest = %s"
    )
    await connection.execute(query, (digest,))
    await _ask_now(connection, "state IN ('PENDING', 'DELAYED')", ())


async def put_veto(connection: Connection, change: str, person: str, signed: Signed) -> None:
    """Keep a veto for the signer; one that it took stays."""
    query = (
        "INSERT INTO veto (change, person, statement, signature) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (change, person) DO UPDATE SET statement = excluded.statement,"
        " signature = excluded.signature, state = 'PENDING', refusal_code = '',"
        " refusal_message = '', ask_at = now() WHERE veto.state <> 'APPLIED'"
    )
    await connection.execute(query, (change, person, signed.statement, signed.signature))
    await notify(connection)


async def get_veto(connection: Connection, change: str, person: str) -> VetoRow | None:
    """Return one person's veto of one version."""
    rows = await _vetoes(connection, "WHERE (change, person) = (%s, %s)", (change, person))
    return rows[0] if rows else None


async def due_veto(connection: Connection) -> VetoRow | None:
    """Return the veto that the signer is to be told first."""
    where: LiteralString = "WHERE state = 'PENDING' AND ask_at <= now() ORDER BY ask_at LIMIT 1"
    rows = await _vetoes(connection, where, ())
    return rows[0] if rows else None


async def settle_veto(
    connection: Connection,
    row: VetoRow,
    state: Progress,
    refusal: Refusal | None = None,
    again: float = 0,
) -> None:
    """Note what the signer said to a veto; the version is then asked about again at once."""
    query = (
        "UPDATE veto SET state = %s, refusal_code = %s, refusal_message = %s,"
        " ask_at = now() + %s WHERE (change, person) = (%s, %s)"
    )
    said = (refusal.code, refusal.message) if refusal else ("", "")
    values = (state, *said, timedelta(seconds=again), row.change, row.person)
    await connection.execute(query, values)
    if state is Progress.APPLIED:
        await _ask_now(connection, "digest = %s AND state = 'DELAYED'", (row.change,))


async def _ask_now(connection: Connection, where: LiteralString, values: Sequence[Any]) -> None:
    await connection.execute(f"UPDATE policy_version SET ask_at = now() WHERE {where}", values)


async def _versions(
    connection: Connection, where: LiteralString, values: Sequence[Any]
) -> list[VersionRow]:
    async with connection.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(_VERSION + where, values)
        return await cursor.fetchall()


async def _vetoes(
    connection: Connection, where: LiteralString, values: Sequence[Any]
) -> list[VetoRow]:
    async with connection.cursor(row_factory=class_row(VetoRow)) as cursor:
        await cursor.execute(_VETO + where, values)
        return await cursor.fetchall()
