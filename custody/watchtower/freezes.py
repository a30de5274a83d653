"""Freezes and lifts: on the disk first, then at the signers.

A freeze is kept until its signer, in a later epoch, no longer has it, or a quorum lifts it here. It
is pending for as long as its signer was not seen with it, or was never heard of at all. One that
reached no signer before its epoch passed stays, and holds the lease back, until a quorum lifts it.
A proven theft's is made by its signer, and is kept here like one that it told of.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from custody.watchtower import signers
from custody.watchtower.parts import Parts
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.freezes import ALL_WALLETS, WATCHTOWER, epoch_after, open_freeze, open_unfreeze
from policies.statements import Signed, StatementError, Unfreeze, decode, digest

# `job`: the order as its signer takes it, NULL for one that only the signer told of. `seen`: the
# signer's epoch when it was last seen with it, NULL before.
SCHEMA = """
CREATE TABLE IF NOT EXISTS freeze (
  audit_key TEXT NOT NULL, digest TEXT NOT NULL, wallet TEXT NOT NULL, person TEXT NOT NULL,
  epoch TEXT, job BLOB, seen TEXT, PRIMARY KEY (audit_key, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS lift (
  audit_key TEXT NOT NULL, epoch TEXT NOT NULL, job BLOB NOT NULL, PRIMARY KEY (audit_key, epoch)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A freeze of one signer."""

    audit_key: str
    digest: str
    wallet: str
    person: str
    applied: bool


def freeze(parts: Parts, signed: Signed) -> list[str] | Refusal:
    """Store a freeze for every signer that it concerns, and return their audit keys.

    Nobody can say whether a signer that was never heard of would take it: it waits for it.
    """
    name, taken = digest(signed.statement), dict[str, None]()
    refusal: Refusal | None = None
    job = wire.Job(apply=wire.Apply(freeze=enveloped(signed)))
    with parts.database.transaction() as db:
        for audit_key, policy in parts.policies.items():
            signer = signers.find(parts.database, audit_key)
            if signer is None:
                continue
            order = open_freeze(policy, signed, signer.epoch)
            if isinstance(order, Refusal):
                refusal = order
                continue
            of = "" if order.wallet == ALL_WALLETS else policy.wallets[order.wallet].signer
            for key in {audit_key, *_unheard(parts)} & ({of} if of else parts.audit_keys):
                what = (key, name, order.wallet, order.person, order.epoch)
                query = "INSERT INTO freeze VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT DO UPDATE"
                query += " SET epoch = excluded.epoch, job = excluded.job"
                db.execute(query, (*what, job.SerializeToString()))
                taken[key] = None
    return list(taken) or refusal or _unseen()


def lift(parts: Parts, orders: Sequence[Signed]) -> list[str] | Refusal:
    """Store a lift for every signer that it concerns, and return their audit keys.

    Those that have one of the freezes; all, where none is known here. It may name the epoch of a
    freeze that is held here when the signer is further on already.
    """
    try:
        named = decode(Unfreeze, orders[0].statement) if orders else None
    except StatementError as error:
        return Refusal(Code.UNFREEZE_INVALID, str(error), field=error.field)
    taken, refusal = list[str](), None
    unfreeze = wire.Unfreeze(orders=[enveloped(order) for order in orders])
    job = wire.Job(apply=wire.Apply(unfreeze=unfreeze)).SerializeToString()
    with parts.database.transaction() as db:
        unheard = _unheard(parts)
        frozen = _frozen_by(db, named.freezes if named else ()) - unheard
        for audit_key, policy in parts.policies.items():
            signer = signers.find(parts.database, audit_key)
            if signer is None or (frozen and audit_key not in frozen):
                continue
            epoch = signer.epoch
            if named and (
                named.epoch in _epochs(db, audit_key, named.freezes)
                or epoch_after(named.epoch, named.freezes) == epoch  # it came through custody
            ):
                epoch = named.epoch
            cleared = open_unfreeze(policy, orders, epoch, parts.clock())
            if isinstance(cleared, Refusal):
                refusal = cleared
                continue
            drop = "DELETE FROM freeze WHERE (audit_key, digest) = (?, ?)"
            gone = [(key, name) for key in (audit_key, *unheard) for name in cleared]
            db.executemany(drop, gone)
            if epoch == signer.epoch:
                db.execute("INSERT OR REPLACE INTO lift VALUES (?, ?, ?)", (audit_key, epoch, job))
            taken.append(audit_key)
    return taken or refusal or _unseen()


def pending(parts: Parts, audit_key: str) -> list[tuple[str, bytes]]:
    """Return (digest, job) of the freezes that a signer was not seen with."""
    query = "SELECT digest, job FROM freeze WHERE audit_key = ? AND seen IS NULL ORDER BY digest"
    return parts.database.rows(query, audit_key)


def pending_lifts(parts: Parts, audit_key: str) -> list[tuple[str, bytes]]:
    """Return (epoch, job) of the lifts that a signer has not taken."""
    query = "SELECT epoch, job FROM lift WHERE audit_key = ?"
    return parts.database.rows(query, audit_key)


def waits_for_lift(parts: Parts, orders: Sequence[Signed], audit_keys: Iterable[str]) -> bool:
    """Tell whether one of these signers is still in the epoch that the orders, taken, end."""
    named = decode(Unfreeze, orders[0].statement).epoch
    known = (signers.find(parts.database, audit_key) for audit_key in audit_keys)
    return any(signer is None or signer.epoch == named for signer in known)


def forget_lift(db: sqlite3.Connection, audit_key: str, epoch: str) -> None:
    """Forget a lift that was refused: it is signed anew. One that was taken ends the epoch."""
    db.execute("DELETE FROM lift WHERE (audit_key, epoch) = (?, ?)", (audit_key, epoch))


def compare(
    db: sqlite3.Connection, audit_key: str, epoch: str, told: Iterable[wire.Freeze]
) -> None:
    """Compare with what a signer in `epoch` says is in force.

    One that it has no more in the same epoch is applied again: only a lift clears a freeze.
    """
    names = set[str]()
    for item in told:
        names.add(item.digest)
        what = (audit_key, item.digest, item.wallet, item.person)
        query = "INSERT INTO freeze VALUES (?, ?, ?, ?, NULL, NULL, ?)"
        db.execute(query + " ON CONFLICT DO UPDATE SET seen = excluded.seen", (*what, epoch))
    query = "SELECT digest, seen FROM freeze WHERE audit_key = ? AND seen IS NOT NULL"
    for name, seen in db.execute(query, (audit_key,)).fetchall():
        if name not in names and seen != epoch:
            db.execute("DELETE FROM freeze WHERE (audit_key, digest) = (?, ?)", (audit_key, name))
        elif name not in names:
            again = "UPDATE freeze SET seen = NULL WHERE (audit_key, digest) = (?, ?)"
            db.execute(again + " AND job IS NOT NULL", (audit_key, name))
    db.execute("DELETE FROM lift WHERE audit_key = ? AND epoch <> ?", (audit_key, epoch))


def prove_theft(parts: Parts, audit_key: str, transaction: bytes) -> None:
    """Note that a signer froze for this theft, before its status says so; one stands for all."""
    signer = signers.find(parts.database, audit_key)
    what = (audit_key, digest(transaction), ALL_WALLETS, WATCHTOWER)
    seen = signer.epoch if signer else ""
    query = "INSERT INTO freeze SELECT ?, ?, ?, ?, NULL, NULL, ?"
    query += " WHERE NOT EXISTS (SELECT 1 FROM freeze WHERE (audit_key, person) = (?, ?))"
    # Whoever it was told as before: a proof goes before what was told.
    query += " ON CONFLICT DO UPDATE SET wallet = excluded.wallet, person = excluded.person"
    with parts.database.transaction() as db:
        db.execute(query, (*what, seen, audit_key, WATCHTOWER))


def is_theft_proven(parts: Parts, audit_key: str) -> bool:
    """Tell whether a proven theft's freeze of this signer is in force."""
    query = "SELECT 1 FROM freeze WHERE (audit_key, person) = (?, ?)"
    return bool(parts.database.rows(query, audit_key, WATCHTOWER))


def theft_elsewhere(parts: Parts, audit_key: str) -> str:
    """Return the audit key of another signer that a proven theft froze, "" for none."""
    query = "SELECT audit_key FROM freeze WHERE person = ? AND audit_key <> ? ORDER BY audit_key"
    found = (key for (key,) in parts.database.rows(query, WATCHTOWER, audit_key))
    return next((key for key in found if key in parts.audit_keys), "")


def forget(db: sqlite3.Connection, audit_key: str) -> None:
    """Drop what belonged to a journal that its quorum replaced."""
    for table in ("freeze", "lift"):
        db.execute(f"DELETE FROM {table} WHERE audit_key = ?", (audit_key,))  # noqa: S608 - ours


def held(parts: Parts) -> list[Held]:
    """Return every freeze in force."""
    query = "SELECT audit_key, digest, wallet, person, seen IS NOT NULL FROM freeze ORDER BY digest"
    rows = parts.database.rows(query)
    return [Held(key, name, wallet, person, bool(seen)) for key, name, wallet, person, seen in rows]


def enveloped(signed: Signed) -> wire.SignedStatement:
    """Return a signed statement as a frame carries it."""
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


def _unheard(parts: Parts) -> set[str]:
    """Return the signers of whose policy nothing is known yet."""
    return {*parts.audit_keys} - {*parts.policies}


def _frozen_by(db: sqlite3.Connection, names: Iterable[str]) -> set[str]:
    """Return the audit keys of the signers that have one of these freezes."""
    query = "SELECT audit_key FROM freeze WHERE digest = ?"
    return {key for name in names for (key,) in db.execute(query, (name,))}


def _epochs(db: sqlite3.Connection, audit_key: str, names: Sequence[str]) -> set[str]:
    query = "SELECT epoch FROM freeze WHERE (audit_key, digest) = (?, ?) AND epoch IS NOT NULL"
    found = [db.execute(query, (audit_key, name)).fetchone() for name in names]
    return {row[0] for row in found if row}


def _unseen() -> Refusal:
    return Refusal(Code.SIGNER_UNSEEN, "the watchtower has heard of no signer that it concerns")
