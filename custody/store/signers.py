"""The policy and the address book that the signer says are in force: it is the authority."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, LiteralString, TypeAlias

from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from custody.store.database import Connection
from policies.statements import Book, Destination, decode

_ENTRY: LiteralString = "sequence, network, address, memo, label"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy version that waits in the signer for its delay; `earliest` in Unix ms."""

    digest: str
    earliest: int
    vetoed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze in force in the signer; `since`: when custody first saw it there, in Unix ms."""

    digest: str
    wallet: str
    person: str
    since: int


@dataclass(frozen=True, slots=True)
class SignerRow:
    """The signer as last seen. `locked`: a code when it signs nothing, "" when it does.

    `lease_until`: Unix ms, 0 without a lease; `watchtower`: the key whose leases it takes.
    """

    audit_key: str
    policy: bytes
    policy_digest: str
    book_version: int
    book_digest: str
    locked: str = ""
    locked_message: str = ""
    proposals: tuple[Proposal, ...] = ()
    epoch: str = ""
    freezes: tuple[Frozen, ...] = ()
    lease_until: int = 0
    watchtower: str = ""
    journal: str = ""


@dataclass(frozen=True, slots=True)
class BookRow:
    """A version of the address book on its way to the signer.

    `changes` is a kura.signer.v1.BookVersion; `refusal` what the signer said against it, "" if not.
    """

    version: int
    digest: str
    statement: bytes
    changes: bytes
    applied: bool = False
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry of custody's copy. `sequence` counts in the order in which they came."""

    sequence: int
    network: str
    address: str
    memo: str
    label: str


async def save(connection: Connection, row: SignerRow) -> None:
    """Note what a signer said of itself."""
    query = (
        "INSERT INTO signer VALUES (%s, %s, %s, %s, %s, now(), %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (audit_key) DO UPDATE SET policy = excluded.policy,"
        " policy_digest = excluded.policy_digest, book_version = excluded.book_version,"
        " book_digest = excluded.book_digest, locked = excluded.locked,"
        " locked_message = excluded.locked_message, proposals = excluded.proposals,"
        " epoch = excluded.epoch, freezes = excluded.freezes, lease_until = excluded.lease_until,"
        " watchtower = excluded.watchtower, journal = excluded.journal, seen = now()"
    )
    values = (row.audit_key, row.policy, row.policy_digest, row.book_version, row.book_digest)
    proposals = Jsonb([asdict(proposal) for proposal in row.proposals])
    said = (row.locked, row.locked_message, proposals, row.epoch)
    freezes = Jsonb([asdict(freeze) for freeze in row.freezes])
    lease = (row.lease_until, row.watchtower, row.journal)
    await connection.execute(query, (*values, *said, freezes, *lease))


async def see_policy(connection: Connection, name: str, file: bytes) -> None:
    """Keep a policy that a signer has in force, for what was signed under it."""
    query = "INSERT INTO policy_seen (digest, file) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    await connection.execute(query, (name, file))


async def policies_seen(connection: Connection) -> list[bytes]:
    """Return every policy file that ever was in force, the newest first."""
    cursor = await connection.execute("SELECT file FROM policy_seen ORDER BY sequence DESC")
    return [file for (file,) in await cursor.fetchall()]


async def latest(connection: Connection) -> SignerRow | None:
    """Return the signer seen last; what claims to come from the future is nobody.

    By the clock, not by the time at which this transaction began: others commit after that.
    """
    query = (
        "SELECT audit_key, policy, policy_digest, book_version, book_digest, locked,"
        " locked_message, proposals, epoch, freezes, lease_until, watchtower, journal"
        " FROM signer"
        " WHERE seen <= clock_timestamp() ORDER BY seen DESC LIMIT 1"
    )
    async with connection.cursor(row_factory=kwargs_row(_signer)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchone()


_Stored: TypeAlias = Sequence[Mapping[str, Any]]


def _signer(*, proposals: _Stored, freezes: _Stored, **columns: Any) -> SignerRow:
    return SignerRow(**columns, proposals=proposals_of(proposals), freezes=freezes_of(freezes))


def proposals_of(stored: Sequence[Mapping[str, Any]]) -> tuple[Proposal, ...]:
    """Return the proposals as `save` kept them."""
    return tuple(
        Proposal(item["digest"], item["earliest"], tuple(item["vetoed_by"])) for item in stored
    )


def freezes_of(stored: Sequence[Mapping[str, Any]]) -> tuple[Frozen, ...]:
    """Return the freezes as `save` kept them."""
    return tuple(Frozen(**item) for item in stored)


async def journals(connection: Connection) -> dict[str, str]:
    """Return the journal of each signer that ever answered, by its audit key."""
    query = "SELECT audit_key, journal FROM signer WHERE journal <> ''"
    return dict(await (await connection.execute(query)).fetchall())


async def add_book(connection: Connection, row: BookRow) -> bool:
    """Keep a version for the signer; False when another one that was not refused has its number."""
    again = "DELETE FROM book_version WHERE digest = %s AND retired IS NOT NULL"
    await connection.execute(again, (row.digest,))
    query = (
        "INSERT INTO book_version (version, digest, statement, changes) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (version) WHERE retired IS NULL"
        " DO UPDATE SET digest = excluded.digest, refusal = '',"
        " statement = excluded.statement, changes = excluded.changes"
        " WHERE book_version.refusal <> ''"
    )
    values = (row.version, row.digest, row.statement, row.changes)
    return (await connection.execute(query, values)).rowcount == 1


async def get_book(connection: Connection, version: int) -> BookRow | None:
    """Return one version."""
    return await _book(connection, "WHERE version = %s AND retired IS NULL", (version,))


async def next_book(connection: Connection) -> BookRow | None:
    """Return the oldest version that the signer has not taken yet."""
    where = "WHERE NOT applied AND refusal = '' AND retired IS NULL ORDER BY version LIMIT 1"
    return await _book(connection, where, ())


async def book_refused(connection: Connection, row: BookRow, refusal: str) -> None:
    """Note what the signer said against a version."""
    query = "UPDATE book_version SET refusal = %s WHERE digest = %s"
    await connection.execute(query, (refusal, row.digest))


async def book_applied(connection: Connection, row: BookRow, book: Book) -> None:
    """Put a version in force in custody's own copy, after the signer did."""
    query = "UPDATE book_version SET applied = true, retired = NULL WHERE digest = %s"
    await connection.execute(query, (row.digest,))
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "DELETE FROM book_entry WHERE (network, address, memo) = (%s, %s, %s)",
            [(entry.network, entry.address, entry.memo) for entry in book.remove],
        )
        await cursor.executemany(
            "INSERT INTO book_entry VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(entry.network, entry.address, entry.memo, entry.label) for entry in book.add],
        )


async def follow_book(connection: Connection, held: tuple[int, str], row: SignerRow) -> bool:
    """Make custody's copy the book that the signer has, when that is an earlier one; tell so.

    `held` is the copy's (version, digest) from before the signer was asked: what it took since is
    no sign. A book that custody does not know leaves the copy empty. Nothing is handed to the
    signer by itself: officers decide what follows. Retired versions keep their bytes.
    """
    has = (row.book_version, row.book_digest)
    if has == held or (has[0] > held[0] and not await _is_retired(connection, row.book_digest)):
        return False
    await connection.execute("LOCK TABLE book_version IN SHARE ROW EXCLUSIVE MODE")
    if await copied_version(connection) != held:
        return False
    query = (
        "UPDATE book_version SET applied = false, retired = %s"
        " WHERE retired IS NULL AND (applied OR version <= %s)"
    )
    await connection.execute(query, (row.book_version, row.book_version))
    await connection.execute("DELETE FROM book_entry")
    for digest in await _chain(connection, *has):
        if known := await _book(connection, "WHERE digest = %s", (digest,)):
            await book_applied(connection, known, decode(Book, known.statement))
    return True


async def _is_retired(connection: Connection, digest: str) -> bool:
    query = "SELECT 1 FROM book_version WHERE digest = %s AND retired IS NOT NULL"
    return await (await connection.execute(query, (digest,))).fetchone() is not None


async def _chain(connection: Connection, version: int, digest: str) -> list[str]:
    """Return the digests from version 1 to this one; none when custody does not know them all."""
    chain: list[str] = []
    for number in range(version, 0, -1):
        row = await _book(connection, "WHERE (version, digest) = (%s, %s)", (number, digest))
        if row is None:
            return []
        chain.append(digest)
        digest = decode(Book, row.statement).previous
    return chain[::-1]


async def hold_still(connection: Connection) -> None:
    """Let this transaction, which begins here, see one version of the address book only."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


async def copied_version(connection: Connection) -> tuple[int, str]:
    """Return (version, digest) that custody's own copy is of; (0, "") before the first."""
    query = "SELECT version, digest FROM book_version WHERE applied ORDER BY version DESC LIMIT 1"
    row = await (await connection.execute(query)).fetchone()
    return (row[0], row[1]) if row else (0, "")


async def entries(
    connection: Connection, after: int, size: int, network: str, ends: Sequence[str]
) -> list[EntryRow]:
    """Return a page of entries, oldest first; with `ends`, those of a network that have them."""
    if ends:
        # A LIMIT for each of `ends` keeps the index in use, whatever the planner believes.
        query: LiteralString = (
            "SELECT entry.* FROM unnest(%s::text[]) AS asked (ends) CROSS JOIN LATERAL"
            f" (SELECT {_ENTRY} FROM book_entry"
            " WHERE (network, book_entry.ends) = (%s, asked.ends) AND sequence > %s"
            " ORDER BY sequence LIMIT %s) AS entry ORDER BY sequence LIMIT %s"
        )
        values: tuple[object, ...] = (list(ends), network, after, size, size)
    else:
        query = f"SELECT {_ENTRY} FROM book_entry WHERE sequence > %s ORDER BY sequence LIMIT %s"
        values = (after, size)
    async with connection.cursor(row_factory=class_row(EntryRow)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def in_address_book(connection: Connection, network: str, destination: Destination) -> bool:
    """Tell whether the whole destination stands in the version in force."""
    query = "SELECT 1 FROM book_entry WHERE (network, address, memo) = (%s, %s, %s)"
    values = (network, destination.address, destination.memo)
    return await (await connection.execute(query, values)).fetchone() is not None


async def listed(
    connection: Connection, places: Sequence[tuple[str, str, str]]
) -> set[tuple[str, str, str]]:
    """Return which of these (network, address, memo) stand in the version in force."""
    query = (
        "SELECT network, address, memo FROM book_entry JOIN"
        " unnest(%s::text[], %s::text[], %s::text[]) AS asked (network, address, memo)"
        " USING (network, address, memo)"
    )
    columns = [list(column) for column in zip(*places, strict=True)] or [[], [], []]
    rows = await (await connection.execute(query, columns)).fetchall()
    return {(row[0], row[1], row[2]) for row in rows}


async def _book(
    connection: Connection, where: LiteralString, values: Sequence[Any]
) -> BookRow | None:
    query: LiteralString = (
        "SELECT version, digest, statement, changes, applied, refusal FROM book_version " + where
    )
    async with connection.cursor(row_factory=class_row(BookRow)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchone()
