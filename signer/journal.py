"""What the signer must never forget, in SQLite (WAL, synchronous FULL), and the chain over it.

Invariants: a transaction that returned is on the disk; every entry moves the chain's head, which
covers all entries before it; the head is in the token too (`anchor`), so that an older copy
of this file is noticed. One process at a time: the file is held in exclusive mode. SQLite's log
names the file that it goes on from, so that an older file beside the newest log is noticed too.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from signer.clock import Moment

# One row of `request` for each request that was reserved, signed or ended, for ever. It is kept
# small: 10 million fit into 2 GB. Keys and `nonce` are digests, see signer.requests.
_SCHEMA = """
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1), journal TEXT NOT NULL, created INTEGER NOT NULL,
  recovered INTEGER, sequence INTEGER NOT NULL, head BLOB NOT NULL,
  wall INTEGER NOT NULL, steady INTEGER NOT NULL, boot TEXT NOT NULL, tick INTEGER NOT NULL,
  file INTEGER NOT NULL, epoch TEXT NOT NULL, watchtower TEXT NOT NULL, confirmed INTEGER NOT NULL
) STRICT;
CREATE TABLE head (sequence INTEGER PRIMARY KEY, head BLOB NOT NULL) STRICT;

CREATE TABLE request (
  number INTEGER PRIMARY KEY, key BLOB NOT NULL, intent BLOB NOT NULL, state INTEGER NOT NULL,
  signature BLOB, nonce INTEGER UNIQUE, time INTEGER NOT NULL, cost INTEGER NOT NULL
) STRICT;
CREATE INDEX request_key ON request (substr(key, 1, 8));
CREATE TABLE message (
  number INTEGER PRIMARY KEY, message BLOB NOT NULL, time INTEGER NOT NULL
) STRICT;
CREATE TABLE issued (
  id BLOB PRIMARY KEY, wallet TEXT NOT NULL, cost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE upkeep (message BLOB PRIMARY KEY, nonce INTEGER UNIQUE) STRICT, WITHOUT ROWID;
CREATE TABLE committed (
  wallet TEXT NOT NULL, asset TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (wallet, asset)
) STRICT, WITHOUT ROWID;
CREATE TABLE sight (
  intent BLOB PRIMARY KEY, tick INTEGER NOT NULL, expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE destination (
  key BLOB PRIMARY KEY, tick INTEGER NOT NULL, sent INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX destination_unpaid ON destination (tick) WHERE sent = 0;

CREATE TABLE counter (
  wallet TEXT NOT NULL, asset TEXT NOT NULL, scope TEXT NOT NULL, holder TEXT NOT NULL,
  buckets BLOB NOT NULL, tick INTEGER NOT NULL,
  PRIMARY KEY (wallet, asset, scope, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX counter_idle ON counter (tick) WHERE scope = 'destination';

CREATE TABLE policy (version INTEGER PRIMARY KEY, digest TEXT NOT NULL, file BLOB NOT NULL) STRICT;
CREATE TABLE requester_key (
  requester TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (requester, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE wallet (name TEXT PRIMARY KEY, signer TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE proposal (digest TEXT PRIMARY KEY, tick INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE veto (
  change TEXT NOT NULL, person TEXT NOT NULL, PRIMARY KEY (change, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE rejection (
  digest TEXT PRIMARY KEY, intent TEXT NOT NULL, approver TEXT NOT NULL, expires INTEGER NOT NULL,
  statement BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rejection_intent ON rejection (intent);
CREATE TABLE freeze (
  digest TEXT PRIMARY KEY, wallet TEXT NOT NULL, person TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE swept (message BLOB PRIMARY KEY, wallet TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE book (version INTEGER PRIMARY KEY, digest TEXT NOT NULL) STRICT;
CREATE TABLE book_entry (
  network TEXT NOT NULL, address TEXT NOT NULL, memo TEXT NOT NULL, tick INTEGER NOT NULL,
  PRIMARY KEY (network, address, memo)
) STRICT, WITHOUT ROWID;
"""
_HEADS_KEPT = 4096  # more than one frame adds; and all since the entry that a lease named last
_NOTHING = bytes(32)
_LOG_ENTRIES = 256  # then SQLite's log goes into the file
_FILE_NUMBER = slice(60, 64)  # in the file's header: user_version


class JournalError(Exception):
    """The journal is missing, foreign, in use or damaged; the message says what to do."""


class Journal:
    """An open journal. Not safe for use by two threads at once; the server holds one lock.

    `created` in Unix ms; `recovered`: the tick of the recovery that it began with, or None.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise JournalError(f"{path} does not exist: signer doctor says what to do")
        try:
            number = _number_of(path)
            self.db = _connect(path)
            try:
                (self._file,) = self.db.execute("SELECT file FROM meta").fetchone()
                self._logged = _LOG_ENTRIES
                _refuse_older(path, number, self._file)
                self.name, self.created, self.recovered, self.sequence, self.head = self.db.execute(
                    "SELECT journal, created, recovered, sequence, head FROM meta"
                ).fetchone()
            except BaseException:
                self.db.close()  # it may hold the lock
                raise
        except (sqlite3.Error, TypeError) as error:  # TypeError: a journal without its one row
            words = "signer doctor says what to do"
            if "locked" in str(error):
                words = "is another signer serving from it?"
            raise JournalError(f"{path}: {error}: {words}") from error

    @classmethod
    def create(cls, path: Path, at: Moment, *, recovered: bool = False) -> Self:
        """Make an empty journal, with a random name of 32 hex digits; it must not exist yet.

        `recovered`: it takes the place of another, so nothing is left in any window.
        """
        if path.exists():
            raise JournalError(f"{path} exists already: signer init runs once")
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        db = _connect(new)
        db.executescript(_SCHEMA)
        file = secrets.randbits(30)  # no other journal's file goes with this one's log
        db.execute(f"PRAGMA user_version = {file}")
        values = (
            secrets.token_hex(16),
            at.wall,
            at.tick if recovered else None,
            *(0, _NOTHING),
            *(at.wall, at.steady, at.boot, at.tick, file),
        )
        db.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0)", values)
        db.execute("INSERT INTO head VALUES (0, ?)", (_NOTHING,))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # raises where closing would hide a full disk
        db.close()
        new.rename(path)
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def last_moment(self) -> Moment:
        """Return the moment of the last entry."""
        return Moment(*self.db.execute("SELECT wall, steady, boot, tick FROM meta").fetchone())

    def head_at(self, sequence: int) -> bytes | None:
        """Return the head after that many entries; None when there are fewer, or long more."""
        row = self.db.execute("SELECT head FROM head WHERE sequence = ?", (sequence,)).fetchone()
        return row[0] if row else None

    def confirm(self, sequence: int) -> None:
        """Note the entry that a lease named: no later lease names one before it."""
        self.db.execute("UPDATE meta SET confirmed = ? WHERE confirmed < ?", (sequence, sequence))

    def issued(self, signed: Sequence[tuple[bytes, str, int]], at: Moment) -> None:
        """Remember what no intent asked for: each signature, its wallet, its cost in base units."""
        # Not twice: without leases no head is let go, and a relay could fill the disk with them.
        if new := [item for item in signed if self.cost_of_issued(item[0]) is None]:
            with self.entry(at, "issued", *(signature for signature, _, _ in new)) as db:
                db.executemany("INSERT INTO issued VALUES (?, ?, ?)", new)

    def cost_of_issued(self, signature: bytes) -> int | None:
        """Return what it cost; None when no such signature was given without an intent."""
        query = "SELECT cost FROM issued WHERE id = ?"
        row = self.db.execute(query, (signature,)).fetchone()
        return row[0] if row else None

    @contextmanager
    def entry(self, at: Moment, *parts: str | bytes | int) -> Iterator[sqlite3.Connection]:
        """Write one entry, whole or not at all; `parts` say what it is, and go into the chain."""
        if self._logged >= _LOG_ENTRIES:
            self._begin_log()
        sequence, head = self.sequence + 1, _next_head(self.head, parts)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            moment = (at.wall, at.steady, at.boot, at.tick)
            self.db.execute(
                "UPDATE meta SET sequence = ?, head = ?, wall = ?, steady = ?, boot = ?, tick = ?,"
                " file = ?",
                (sequence, head, *moment, self._file),
            )
            self.db.execute("INSERT INTO head VALUES (?, ?)", (sequence, head))
            self.db.execute(
                "DELETE FROM head WHERE sequence <= ? AND sequence <"
                " (SELECT CASE confirmed WHEN 0 THEN sequence ELSE confirmed END FROM meta)",
                (sequence - _HEADS_KEPT,),
            )
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")
        self.sequence, self.head = sequence, head
        self._logged += 1

    def _begin_log(self) -> None:
        """Move the log into the file whole, then number the file: each entry says on which it is.

        The number moves by itself, so no file has it that lacks what went before.
        """
        self._move_log()
        (number,) = self.db.execute("SELECT file + 1 FROM meta").fetchone()
        self.db.execute(f"PRAGMA user_version = {number}")
        self._move_log()
        self._file, self._logged = number, 0

    def _move_log(self) -> None:
        (busy, *_) = self.db.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise JournalError("the journal's log is in use: is another program reading it?")


def _next_head(head: bytes, parts: tuple[str | bytes | int, ...]) -> bytes:
    """SHA-256 over the head before and each part behind its length (4 bytes, big-endian)."""
    chain = hashlib.sha256(head)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        chain.update(len(data).to_bytes(4, "big") + data)
    return chain.digest()


def _number_of(path: Path) -> int:
    """Return the number of the file itself, whatever a log beside it says."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(_FILE_NUMBER.stop)[_FILE_NUMBER], "big")


def _refuse_older(path: Path, number: int, logged: int) -> None:
    if number - logged not in {0, 1}:  # 1: no entry yet since it was numbered
        words = "is an older copy beside a newer log: signer doctor says what to do"
        raise JournalError(f"{path} {words}")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # not behind our back: see _begin_log
    except sqlite3.Error:
        db.close()  # it may hold the lock
        raise
    return db
