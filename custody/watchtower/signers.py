"""What is known of each signer: the furthest it was seen, its policy, its epoch. All on the disk.

The first journal that a pinned audit key shows is its journal from then on. A database of this
watchtower that was put back from a backup knows less than before: a signer that is further on is
normal, so a rollback to a point after the backup was made is not noticed by it; the signer's own
token notices it. What a restored database still has is never behind the signer by itself.
"""

import sqlite3
from dataclasses import dataclass

from custody.watchtower.database import Database
from custody.watchtower.parts import Parts
from custody.watchtower.rules import Seen
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import Hello

SCHEMA = """
CREATE TABLE IF NOT EXISTS signer (
  audit_key TEXT PRIMARY KEY, journal TEXT NOT NULL, sequence INTEGER NOT NULL, head TEXT NOT NULL,
  lost TEXT NOT NULL, policy TEXT NOT NULL, epoch TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS confirmed (
  audit_key TEXT NOT NULL, journal TEXT NOT NULL, sequence INTEGER NOT NULL, head TEXT NOT NULL,
  PRIMARY KEY (audit_key, journal)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agreed (
  only INTEGER PRIMARY KEY CHECK (only = 1), time INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS policy (digest TEXT PRIMARY KEY, file BLOB NOT NULL) STRICT;
"""
LOST = "stop the signer, find out who put an older journal there: signer doctor"


@dataclass(frozen=True, slots=True)
class Signer:
    """One signer; `policy` is a digest, "" before the first."""

    seen: Seen
    policy: str
    epoch: str


def find(database: Database, audit_key: str) -> Signer | None:
    """Return what is known of a signer, None before it was heard of."""
    query = "SELECT journal, sequence, head, lost, policy, epoch FROM signer WHERE audit_key = ?"
    for *seen, policy, epoch in database.rows(query, audit_key):
        return Signer(Seen(*seen), policy, epoch)
    return None


def note(db: sqlite3.Connection, hello: Hello) -> None:
    """Note what a signer on its right journal said; its policy must be stored."""
    values = (hello.key, hello.journal, hello.sequence, hello.head, hello.policy, hello.epoch)
    db.execute("INSERT OR IGNORE INTO signer VALUES (?, ?, ?, ?, '', ?, ?)", values)
    db.execute(
        "UPDATE signer SET policy = ?, epoch = ? WHERE (audit_key, journal) = (?, ?)",
        (hello.policy, hello.epoch, hello.key, hello.journal),
    )
    see(db, hello.key, hello.journal, hello.sequence, hello.head)


def see(db: sqlite3.Connection, audit_key: str, journal: str, sequence: int, head: str) -> None:
    """Note how far a journal was seen, when that is further."""
    query = "UPDATE signer SET sequence = ?, head = ? WHERE (audit_key, journal) = (?, ?)"
    values = (sequence, head, audit_key, journal, sequence)
    db.execute(query + " AND sequence < ?", values)


def confirmed(database: Database, hello: Hello) -> tuple[int, str]:
    """Return the entry and its head that the next lease names, so that the signer compares them.

    Not the ones of `hello`: a journal that went back and on has them, whatever it forgot.
    """
    query = "SELECT sequence, head FROM confirmed WHERE (audit_key, journal) = (?, ?)"
    rows = database.rows(query, hello.key, hello.journal)
    return rows[0] if rows else (hello.sequence, hello.head)


def confirm(db: sqlite3.Connection, hello: Hello) -> None:
    """Note what a signer said of itself as it had taken a lease: it follows what was before.

    One that a relay kept back meanwhile says less, and changes nothing.
    """
    values = (hello.key, hello.journal, hello.sequence, hello.head)
    query = "INSERT INTO confirmed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    query += " sequence = excluded.sequence, head = excluded.head"
    db.execute(query + " WHERE excluded.sequence > sequence", values)


def agree(db: sqlite3.Connection, time: int) -> None:
    """Note the time (Unix ms) of a lease that was taken: a signer's clock said so too."""
    query = "INSERT INTO agreed VALUES (1, ?) ON CONFLICT DO UPDATE SET"
    db.execute(query + " time = max(time, excluded.time)", (time,))


def agreed(database: Database) -> int:
    """Return a time that is past, whatever this host's clock says by now; 0 before a lease."""
    rows = database.rows("SELECT time FROM agreed")
    return int(rows[0][0]) if rows else 0


def lose(parts: Parts, audit_key: str, words: str) -> None:
    """Tell people that a journal went back, once, and note it: no lease until it is recovered."""
    signer = find(parts.database, audit_key)
    if signer is None or signer.seen.lost:
        return
    parts.alarm("ROLLBACK", f"{words} ({audit_key})", LOST)  # before: what is noted is told no more
    with parts.database.transaction() as db:
        db.execute("UPDATE signer SET lost = ? WHERE audit_key = ?", (words, audit_key))
    parts.wake()


def recover(db: sqlite3.Connection, audit_key: str, journal: str, epoch: str, policy: str) -> None:
    """Let a signer go on with another journal."""
    query = "INSERT INTO signer VALUES (?, ?, 0, '', '', ?, ?) ON CONFLICT DO UPDATE SET"
    query += " journal = excluded.journal, sequence = 0, head = '', lost = '',"
    query += " epoch = excluded.epoch"
    db.execute(query, (audit_key, journal, policy, epoch))


def keep_policy(db: sqlite3.Connection, policy: Policy, file: bytes) -> None:
    """Store a policy's bytes."""
    db.execute("INSERT OR IGNORE INTO policy VALUES (?, ?)", (policy.digest, file))


def policies(database: Database) -> dict[str, Policy]:
    """Return each signer's policy, as it was last heard, by audit key."""
    query = "SELECT audit_key, file FROM signer JOIN policy ON policy = digest"
    return {audit_key: parse_policy(file) for audit_key, file in database.rows(query)}
