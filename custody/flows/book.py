"""CreateBookVersion: custody keeps a signed address-book version until the signer has decided."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from custody.domain.audit import Kind
from custody.flows import checks
from custody.flows.parts import Parts, unix_ms
from custody.store import audit, signers
from custody.store.database import Connection
from custody.store.signers import BookRow, SignerRow
from kura.signer.v1 import signer_pb2 as wire
from policies.changes import open_book
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import Book, Change, Signed, StatementError, decode, digest


@dataclass(frozen=True, slots=True)
class BookState:
    """`state`: pending or applied."""

    state: str
    digest: str


async def create_book_version(
    parts: Parts, statement: bytes, changes: Sequence[Signed]
) -> BookState | Refusal:
    """Keep the version for the signer, or say what became of the same bytes before."""
    try:
        book = decode(Book, statement)
    except StatementError as error:
        field = f"book.{error.field}".rstrip(".")
        return Refusal(Code.BOOK_MALFORMED, str(error), field=field)
    row = BookRow(book.version, digest(statement), statement, _frame(statement, changes))
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        if signer is None or not signer.policy:
            return checks.SIGNER_UNSEEN
        past = await signers.get_book(connection, book.version)
        if past and not (past.refusal and past.changes != row.changes):
            return _became(past, row)
        return await _add(connection, signer, row, changes)


async def _add(
    connection: Connection, signer: SignerRow, row: BookRow, changes: Sequence[Signed]
) -> BookState | Refusal:
    in_force = (signer.book_version, signer.book_digest)
    policy = parse_policy(signer.policy)
    book = open_book(policy, row.statement, changes, in_force=in_force, now=unix_ms())
    if isinstance(book, Refusal):
        return replace(book, field=f"book.{book.field}") if book.field else book
    if await signers.add_book(connection, row):
        people = ",".join(decode(Change, item.statement).person for item in changes)
        subject = f"book/{row.version}"
        await audit.record(
            connection, Kind.ORDER, "BOOK", actor=people, subject=subject, digest=row.digest
        )
    kept = await signers.get_book(connection, row.version)
    return _became(kept or row, row)


def _became(kept: BookRow, row: BookRow) -> BookState | Refusal:
    """Say what became of `row`, when `kept` is the version of its number."""
    if kept.digest == row.digest:
        return _state(kept)
    words = f"version {row.version} of the address book is another one"
    return Refusal(Code.BOOK_OUT_OF_ORDER, words, field="book.version")


def _state(row: BookRow) -> BookState | Refusal:
    if row.refusal:
        return Refusal(Code.QUORUM_MISSING, f"the signer refused it: {row.refusal}")
    return BookState("applied" if row.applied else "pending", row.digest)


def _frame(statement: bytes, changes: Sequence[Signed]) -> bytes:
    version = wire.BookVersion(
        statement=statement,
        changes=[
            wire.SignedStatement(statement=item.statement, signature=item.signature)
            for item in changes
        ],
    )
    return version.SerializeToString(deterministic=True)
