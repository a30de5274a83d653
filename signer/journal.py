"""What the signer must never forget, in SQLite (WAL, synchronous FULL).

Invariants: a method that writes returns after fsync; one (requester, request_id) has at most one
message, for ever; one value of a nonce account stands in at most one message; policy and address
book only move forward. One process at a time: the file is held in exclusive mode.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from policies.statements import Book, Destination

_SCHEMA = """
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1), journal TEXT NOT NULL, created INTEGER NOT NULL
) STRICT;
CREATE TABLE policy (version INTEGER PRIMARY KEY, file BLOB NOT NULL) STRICT;
CREATE TABLE book (version INTEGER PRIMARY KEY, digest TEXT NOT NULL) STRICT;
CREATE TABLE book_entry (
  network TEXT NOT NULL, address TEXT NOT NULL, memo TEXT NOT NULL,
  PRIMARY KEY (network, address, memo)
) STRICT, WITHOUT ROWID;
CREATE TABLE reservation (
  requester TEXT NOT NULL, request_id TEXT NOT NULL, intent TEXT NOT NULL UNIQUE,
  wallet TEXT NOT NULL, nonce_index INTEGER NOT NULL, nonce_value BLOB NOT NULL,
  message BLOB NOT NULL, signature BLOB, reserved INTEGER NOT NULL,
  PRIMARY KEY (requester, request_id),
  UNIQUE (wallet, nonce_index, nonce_value)
) STRICT;
CREATE TABLE tombstone (
  requester TEXT NOT NULL, request_id TEXT NOT NULL, intent TEXT NOT NULL, ended INTEGER NOT NULL,
  PRIMARY KEY (requester, request_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE nonce_open (
  wallet TEXT NOT NULL, nonce_index INTEGER NOT NULL, message BLOB NOT NULL,
  opened INTEGER NOT NULL,
  PRIMARY KEY (wallet, nonce_index, message)
) STRICT, WITHOUT ROWID;
"""


class JournalError(Exception):
    """The journal is missing, foreign, in use or damaged; the message says what to do."""


class NonceUsed(Exception):  # noqa: N818 - an answer of the journal, not a fault
    """The value of the nonce account already stands in another message."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A message that will be signed for one request, and no other. Times in Unix ms."""

    requester: str
    request_id: str
    intent: str
    wallet: str
    nonce_index: int
    nonce_value: bytes
    message: bytes
    signature: bytes | None
    reserved: int


_DAY_MS = 24 * 3600 * 1000
_COLUMNS = ", ".join(Reservation.__slots__)


class Journal:
    """An open journal. Not safe for use by two threads at once; the server holds one lock."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise JournalError(f"{path} does not exist: make it once with signer init")
        try:
            db = self._db = _connect(path)
            self.name, self.created = db.execute("SELECT journal, created FROM meta").fetchone()
        except (sqlite3.Error, TypeError) as error:  # TypeError: a journal without its one row
            words = "restore it, or ask the quorum for signer recover"
            if "locked" in str(error):
                words = "is another signer serving from it?"
            raise JournalError(f"{path}: {error}: {words}") from error

    @classmethod
    def create(cls, path: Path, created: int) -> Self:
        """Make an empty journal at `created` (Unix ms), with a random name of 32 hex digits."""
        if path.exists():
            raise JournalError(f"{path} exists already: signer init runs once")
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        db = _connect(new)
        db.executescript(_SCHEMA)
        db.execute("INSERT INTO meta VALUES (1, ?, ?)", (secrets.token_hex(16), created))
        db.close()
        new.rename(path)
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def policy(self) -> bytes | None:
        """Return the exact bytes of the policy in force, or None before genesis."""
        row = self._db.execute("SELECT file FROM policy ORDER BY version DESC LIMIT 1").fetchone()
        return row[0] if row else None

    def install_policy(self, version: int, file: bytes) -> None:
        """Install the first policy; JournalError when there is one."""
        with self._transaction():
            if self.policy() is not None:
                raise JournalError("a policy is installed already: genesis happens once")
            self._db.execute("INSERT INTO policy VALUES (?, ?)", (version, file))

    def book_version(self) -> tuple[int, str]:
        """Return (version, digest) of the address book in force; (0, "") before the first."""
        row = self._db.execute("SELECT version, digest FROM book ORDER BY version DESC LIMIT 1")
        return row.fetchone() or (0, "")

    def apply_book(self, book: Book, digest: str) -> None:
        """Put one version in force: removals, then additions."""
        with self._transaction():
            self._db.execute("INSERT INTO book VALUES (?, ?)", (book.version, digest))
            self._db.executemany(
                "DELETE FROM book_entry WHERE (network, address, memo) = (?, ?, ?)",
                [(entry.network, entry.address, entry.memo) for entry in book.remove],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO book_entry VALUES (?, ?, ?)",
                [(entry.network, entry.address, entry.memo) for entry in book.add],
            )

    def in_address_book(self, network: str, destination: Destination) -> bool:
        """Tell whether the whole destination stands in the version in force."""
        where = (network, destination.address, destination.memo)
        query = "SELECT 1 FROM book_entry WHERE (network, address, memo) = (?, ?, ?)"
        return self._db.execute(query, where).fetchone() is not None

    def find(self, requester: str, request_id: str) -> Reservation | None:
        """Return what was reserved for this request."""
        query = f"SELECT {_COLUMNS} FROM reservation WHERE (requester, request_id) = (?, ?)"  # noqa: S608 - constant columns
        row = self._db.execute(query, (requester, request_id)).fetchone()
        return Reservation(*row) if row else None

    def reserve(self, reservation: Reservation) -> None:
        """Remember a message before it is signed; NonceUsed when its nonce value is taken."""
        with self._transaction():
            nonce = (reservation.wallet, reservation.nonce_index, reservation.nonce_value)
            query = "SELECT 1 FROM reservation WHERE (wallet, nonce_index, nonce_value) = (?, ?, ?)"
            if self._db.execute(query, nonce).fetchone():
                raise NonceUsed
            values = tuple(getattr(reservation, column) for column in Reservation.__slots__)
            marks = ", ".join("?" * len(values))
            self._db.execute(f"INSERT INTO reservation ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608

    def record(self, intent: str, signature: bytes) -> None:
        """Remember the signature of a reserved message."""
        with self._transaction():
            query = "UPDATE reservation SET signature = ? WHERE intent = ? AND signature IS NULL"
            if self._db.execute(query, (signature, intent)).rowcount != 1:
                raise JournalError(f"intent {intent} is not reserved, or signed already")

    def end(self, requester: str, request_id: str, intent: str, now: int) -> None:
        """Put a tombstone on a request that was not signed; one that is there stays. Unix ms."""
        with self._transaction():
            values = (requester, request_id, intent, now)
            self._db.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?, ?)", values)

    def has_ended(self, requester: str, request_id: str) -> bool:
        """Tell whether a tombstone stands on this request."""
        query = "SELECT 1 FROM tombstone WHERE (requester, request_id) = (?, ?)"
        return self._db.execute(query, (requester, request_id)).fetchone() is not None

    def open_nonce(self, wallet: str, index: int, message: bytes, *, now: int, most: int) -> bool:
        """Remember an attempt to open a nonce account; False after `most` others in 24 hours."""
        with self._transaction():
            self._db.execute("DELETE FROM nonce_open WHERE abs(opened - ?) >= ?", (now, _DAY_MS))
            query = "SELECT message FROM nonce_open WHERE (wallet, nonce_index) = (?, ?)"
            tried = {row[0] for row in self._db.execute(query, (wallet, index))}
            if message not in tried and len(tried) >= most:
                return False
            values = (wallet, index, message, now)
            self._db.execute("INSERT OR IGNORE INTO nonce_open VALUES (?, ?, ?, ?)", values)
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db
