"""Rejections of withdrawals: on the disk first, then at the signers.

A digest does not say whose wallet an intent is of, so every signer of that policy is told: in each
round, until it has taken a lease that names the rejection, which it does only if it has it.
"""

import sqlite3
from collections.abc import Iterable

from custody.watchtower.freezes import enveloped
from custody.watchtower.parts import Parts
from kura.signer.v1 import signer_pb2 as wire
from policies.approvals import REJECTIONS_MAX, open_rejection
from policies.codes import Code, Refusal
from policies.statements import LEASE_MS, Approval, Signed, digest

TOLD_AT_ONCE = 200  # they fit into a frame, and their digests into a lease

SCHEMA = """
CREATE TABLE IF NOT EXISTS rejection (
  digest TEXT PRIMARY KEY, policy TEXT NOT NULL, approver TEXT NOT NULL, expires INTEGER NOT NULL,
  job BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS rejection_told (
  audit_key TEXT NOT NULL, digest TEXT NOT NULL REFERENCES rejection ON DELETE CASCADE,
  PRIMARY KEY (audit_key, digest)
) STRICT;
CREATE INDEX IF NOT EXISTS rejection_told_of ON rejection_told (digest);
"""


def reject(parts: Parts, signed: Signed) -> tuple[Approval, bool] | Refusal:
    """Store a rejection by an approver of a policy in force; True when it was not known before."""
    refusal = Refusal(Code.SIGNER_UNSEEN, "the watchtower has heard of no signer yet")
    name, now = digest(signed.statement), parts.clock()
    job = wire.Job(apply=wire.Apply(rejection=enveloped(signed))).SerializeToString()
    for policy in parts.policies.values():
        opened = open_rejection(policy, signed, now)
        if isinstance(opened, Refusal):
            refusal = opened
            continue
        with parts.database.transaction() as db:
            _drop(db, {one.digest for one in parts.policies.values()}, now)
            query = "SELECT count(*) FROM rejection WHERE (approver, policy) = (?, ?)"
            query += " AND digest <> ?"
            (held,) = db.execute(query, (opened.approver, policy.digest, name)).fetchone()
            if held >= REJECTIONS_MAX:
                words = f"{held} rejections of {opened.approver} are kept already"
                return Refusal(Code.RATE_EXCEEDED, words)
            values = (name, policy.digest, opened.approver, opened.expires, job)
            stored = db.execute("INSERT OR IGNORE INTO rejection VALUES (?, ?, ?, ?, ?)", values)
        return opened, bool(stored.rowcount)
    return refusal


def pending(parts: Parts, audit_key: str) -> list[tuple[str, wire.Job]]:
    """Return (digest, job) of what a signer was not seen with, TOLD_AT_ONCE at most.

    Each approver's oldest first, so that nobody's wait behind another one's hundreds. Nothing that
    expires soon: its clock may be ahead, and it would take no lease that names it.
    """
    policy = parts.policies.get(audit_key)
    query = "SELECT digest, job FROM rejection AS r WHERE policy = ? AND expires > ? AND NOT EXISTS"
    query += " (SELECT 1 FROM rejection_told AS t WHERE (t.audit_key, t.digest) = (?, r.digest))"
    query += " ORDER BY row_number() OVER (PARTITION BY approver ORDER BY rowid), rowid LIMIT ?"
    values = (policy.digest if policy else "", parts.clock() + LEASE_MS, audit_key, TOLD_AT_ONCE)
    rows = parts.database.rows(query, *values)
    return [(name, wire.Job.FromString(job)) for name, job in rows]


def told(db: sqlite3.Connection, audit_key: str, names: Iterable[str]) -> None:
    """Note what a signer has: it took a lease that names them, of which some may be dropped."""
    rows = [(audit_key, name) for name in names]
    query = "INSERT OR IGNORE INTO rejection_told SELECT ?, digest FROM rejection WHERE digest = ?"
    db.executemany(query, rows)


def forget_told(db: sqlite3.Connection, audit_key: str) -> None:
    """Have a signer told again: its journal is another."""
    db.execute("DELETE FROM rejection_told WHERE audit_key = ?", (audit_key,))


def _drop(db: sqlite3.Connection, policies: Iterable[str], now: int) -> None:
    """Drop what has expired, and what is of no policy in force any more."""
    db.execute("DELETE FROM rejection WHERE expires <= ?", (now,))
    names = [name for (name,) in db.execute("SELECT DISTINCT policy FROM rejection")]
    gone = [(name,) for name in names if name not in policies]
    db.executemany("DELETE FROM rejection WHERE policy = ?", gone)
