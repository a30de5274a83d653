"""The watchtower's memory: one SQLite file (WAL, synchronous FULL).

Invariants: a transaction that returned is on the disk; one process at a time, since the file is
held in exclusive mode; a transaction holds no `await`, so nobody else's statements fall into it.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class DatabaseError(Exception):
    """The file cannot be used; the message says why and what to do."""


class Database:
    """An open file. For use by one event loop."""

    def __init__(self, path: Path, schema: Sequence[str]) -> None:
        """Open the file, made anew with mode 0600 when it is not there. `schema`: SQL scripts."""
        try:
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=0)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseError(f"{path} cannot be opened: {error}") from error
        try:
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.execute("PRAGMA foreign_keys = ON")
            for script in schema:
                self._db.executescript(script)
        except sqlite3.Error as error:
            self._db.close()  # it may hold the lock
            words = "is it whole, and is its disk? Put a backup of it back"
            if "locked" in str(error):
                words = "is another watchtower serving from it?"
            raise DatabaseError(f"{path}: {error}: {words}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write what happens inside, whole and on the disk, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        return self._db.execute(query, values).fetchall()
