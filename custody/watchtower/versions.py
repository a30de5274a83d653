"""Policy versions that wait or only tighten, and vetoes.

The delay counts from when this watchtower first saw the version with its quorum's signatures, and
that moment is on the disk. The signer decides by its policy; `elapsed` only says that time passed.
One that only tightens is handed to the signer in each round, until its signed HELLO names another
policy, or the signatures lapse.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from custody.watchtower import signers
from custody.watchtower.freezes import enveloped
from custody.watchtower.parts import Parts
from kura.signer.v1 import signer_pb2 as wire
from policies.changes import open_policy, open_veto
from policies.codes import Code, Refusal
from policies.differences import only_tightens
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Change, Elapsed, Signed, Veto, decode, digest

VETOES_MAX = 64  # of one person, as the signer holds it
PROPOSALS_MAX = 64  # of one version in force

SCHEMA = """
CREATE TABLE IF NOT EXISTS proposal (
  digest TEXT PRIMARY KEY, previous TEXT NOT NULL, file BLOB NOT NULL, seen INTEGER NOT NULL,
  earliest INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tightening (
  digest TEXT PRIMARY KEY REFERENCES proposal, expires INTEGER NOT NULL, job BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS veto (
  change TEXT NOT NULL, person TEXT NOT NULL, previous TEXT NOT NULL, job BLOB NOT NULL,
  PRIMARY KEY (change, person)
) STRICT;
CREATE TABLE IF NOT EXISTS veto_told (
  audit_key TEXT NOT NULL, change TEXT NOT NULL, person TEXT NOT NULL,
  PRIMARY KEY (audit_key, change, person)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A version that waits. `earliest` in Unix ms; `vetoed_by` counts those it does not remove."""

    digest: str
    previous: str
    earliest: int
    vetoed_by: tuple[str, ...]


def propose(parts: Parts, file: bytes, changes: Sequence[Signed]) -> Proposal | Refusal | None:
    """Note a version at its first sight, and return how it stands; POLICY_VETOED when vetoed.

    None for a version that is in force already, and that no signer waits for.
    """
    name, refusal = digest(file), _note(parts, file, changes)
    in_force = {policy.digest for policy in parts.policies.values()}
    known = _find(parts, name)
    if name in in_force and (known is None or known.previous not in in_force):
        return None
    if known is None:
        return refusal or Refusal(Code.FAULT, "the version was not stored")
    if known.vetoed_by:
        words = f"{', '.join(known.vetoed_by)} vetoed this version"
        return Refusal(Code.POLICY_VETOED, words)
    return known


def elapsed(parts: Parts, proposal: Proposal) -> Signed | None:
    """Return the watchtower's word that the delay is over, None before."""
    now = parts.clock()
    if proposal.vetoed_by or now < proposal.earliest:
        return None
    return parts.key.sign(Elapsed(key=parts.key.public, change=proposal.digest, time=now))


def veto(parts: Parts, signed: Signed) -> tuple[Veto, bool] | Refusal:
    """Store a veto by one of the people in force, whether or not the version is known yet.

    True when it was not known before.
    """
    refusal = Refusal(Code.SIGNER_UNSEEN, "the watchtower has heard of no signer yet")
    job = wire.Job(apply=wire.Apply(veto=enveloped(signed))).SerializeToString()
    for policy in parts.policies.values():
        order = open_veto(policy, signed)
        if isinstance(order, Refusal):
            refusal = order
            continue
        if _count(parts, order, policy) >= VETOES_MAX:
            words = f"{order.person} has vetoed {VETOES_MAX} versions since the last one"
            return Refusal(Code.VETO_INVALID, words)
        values = (order.change, order.person, policy.digest, job)
        with parts.database.transaction() as db:
            stored = db.execute("INSERT OR IGNORE INTO veto VALUES (?, ?, ?, ?)", values)
        return order, bool(stored.rowcount)
    return refusal


def waiting(parts: Parts) -> list[Proposal]:
    """Return the versions that follow one in force, oldest first."""
    in_force = {policy.digest for policy in parts.policies.values()}
    query = "SELECT digest, previous FROM proposal ORDER BY seen, digest"
    names = [name for name, previous in parts.database.rows(query) if previous in in_force]
    return [found for name in names if (found := _find(parts, name))]


def pending(parts: Parts, audit_key: str) -> list[tuple[Proposal, bytes]]:
    """Return what only tightens a signer's policy, each with its job: the oldest first.

    What was vetoed comes last, since the signer heeds no veto of it. Nothing whose signatures lapse
    soon: the signer's clock may be ahead.
    """
    policy = parts.policies.get(audit_key)
    query = "SELECT digest, job FROM tightening JOIN proposal USING (digest)"
    query += " WHERE previous = ? AND expires > ? ORDER BY seen, digest"
    values = (policy.digest if policy else "", parts.clock() + LEASE_MS)
    rows = parts.database.rows(query, *values)
    found = [(known, job) for name, job in rows if (known := _find(parts, name))]
    return sorted(found, key=lambda item: bool(item[0].vetoed_by))


def pending_vetoes(parts: Parts, audit_key: str) -> list[tuple[str, str, bytes]]:
    """Return (change, person, job) of the vetoes that a signer was not told."""
    policy = parts.policies.get(audit_key)
    query = "SELECT change, person, job FROM veto AS v WHERE previous = ? AND NOT EXISTS (SELECT 1"
    query += (
        " FROM veto_told AS t WHERE (t.audit_key, t.change, t.person) = (?, v.change, v.person))"
    )
    return parts.database.rows(query, policy.digest if policy else "", audit_key)


def told(db: sqlite3.Connection, audit_key: str, change: str, person: str) -> None:
    """Note that a signer has answered a veto, whatever it said."""
    values = (audit_key, change, person)
    db.execute("INSERT OR IGNORE INTO veto_told VALUES (?, ?, ?)", values)


def forget_told(db: sqlite3.Connection, audit_key: str) -> None:
    """Have a signer told again: its journal is another."""
    db.execute("DELETE FROM veto_told WHERE audit_key = ?", (audit_key,))


def _note(parts: Parts, file: bytes, changes: Sequence[Signed]) -> Refusal | None:
    refusal: Refusal | None = Refusal(
        Code.SIGNER_UNSEEN, "the watchtower has heard of no signer yet"
    )
    now = parts.clock()
    for in_force in parts.policies.values():
        policy = open_policy(in_force, file, changes, now)
        if isinstance(policy, Refusal):
            refusal = policy
            continue
        query = "SELECT count(*) FROM proposal WHERE previous = ? AND digest <> ?"
        others = parts.database.rows(query, policy.previous, policy.digest)[0][0]
        if others >= PROPOSALS_MAX:
            return Refusal(Code.POLICY_DELAYED, "too many versions wait: activate one of them")
        seen = max(now, signers.agreed(parts.database))  # a clock put back would shorten the delay
        values = (policy.digest, policy.previous, file, seen, seen + in_force.change_delay)
        with parts.database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO proposal VALUES (?, ?, ?, ?, ?)", values)
            if only_tightens(in_force, policy):
                _keep(db, policy.digest, file, changes)
        return None
    return refusal


def _keep(db: sqlite3.Connection, name: str, file: bytes, changes: Sequence[Signed]) -> None:
    """Keep the signatures under what only tightens, unless those that are kept hold longer."""
    version = wire.PolicyVersion(file=file, changes=[enveloped(change) for change in changes])
    job = wire.Job(apply=wire.Apply(policy=version)).SerializeToString()
    expires = min(decode(Change, change.statement).expires for change in changes)
    query = "INSERT INTO tightening VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
    query += " SET expires = excluded.expires, job = excluded.job WHERE excluded.expires > expires"
    db.execute(query, (name, expires, job))


def _find(parts: Parts, name: str) -> Proposal | None:
    query = "SELECT previous, earliest, file FROM proposal WHERE digest = ?"
    for previous, earliest, file in parts.database.rows(query, name):
        people = _people(file)
        query = "SELECT person FROM veto WHERE change = ? ORDER BY person"
        vetoed = (person for (person,) in parts.database.rows(query, name))
        vetoed_by = tuple(person for person in vetoed if person in people)
        return Proposal(name, previous, earliest, vetoed_by)
    return None


@lru_cache(PROPOSALS_MAX)
def _people(file: bytes) -> frozenset[str]:
    """Return who is in a version; read once, since a large one takes long."""
    return frozenset(parse_policy(file).people)


def _count(parts: Parts, order: Veto, policy: Policy) -> int:
    query = "SELECT count(*) FROM veto WHERE (person, previous) = (?, ?) AND change <> ?"
    values = (order.person, policy.digest, order.change)
    return int(parts.database.rows(query, *values)[0][0])
