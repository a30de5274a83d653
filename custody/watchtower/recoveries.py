"""Recoveries: a signer goes on with another journal, once nothing of the old one can still land.

What the lost journal signed and nobody knows of stands on the values that the pool's nonces had
when the recovery was handed over, or before: once each has another value at finality, or an advance
that the new journal signed is final, it is dead.
"""

from collections.abc import Mapping, Sequence

from custody.watchtower import freezes, receipts, rejections, signers, versions
from custody.watchtower.parts import Chain, Parts
from policies.changes import open_recover
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import Recover, Signed, digest

SCHEMA = """
CREATE TABLE IF NOT EXISTS recovery (
  digest TEXT PRIMARY KEY, audit_key TEXT NOT NULL, time INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS unmoved_nonce (
  audit_key TEXT NOT NULL, account TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (audit_key, account, value)
) STRICT;
"""


async def recover(
    parts: Parts, chain: Chain, statement: bytes, changes: Sequence[Signed]
) -> Refusal | None:
    """Take a recovery; again does no harm. ChainError when the nonces cannot be read."""
    if parts.database.rows("SELECT 1 FROM recovery WHERE digest = ?", digest(statement)):
        return None
    opened = _open(parts, statement, changes)
    if isinstance(opened, Refusal):
        return opened
    order, policy = opened
    values = await chain.nonce_values(policy, order.audit_key)
    if refusal := _refuse(parts, order):  # also what was taken meanwhile
        return refusal
    name = digest(statement)
    with parts.database.transaction() as db:
        what = (name, order.audit_key, parts.clock())
        db.execute("INSERT INTO recovery VALUES (?, ?, ?)", what)
        signers.recover(db, order.audit_key, order.new_journal, name, policy.digest)
        freezes.forget(db, order.audit_key)
        versions.forget_told(db, order.audit_key)
        rejections.forget_told(db, order.audit_key)
        rows = [(order.audit_key, account, value) for account, value in values.items()]
        db.executemany("INSERT OR IGNORE INTO unmoved_nonce VALUES (?, ?, ?)", rows)
    parts.policies.setdefault(order.audit_key, policy)
    return None


def unmoved(parts: Parts, audit_key: str) -> list[str]:
    """Return the nonce accounts that a recovery of this signer waits for."""
    query = "SELECT DISTINCT account FROM unmoved_nonce WHERE audit_key = ? ORDER BY account"
    return [account for (account,) in parts.database.rows(query, audit_key)]


def look_again(parts: Parts, audit_key: str, journal: str, values: Mapping[str, str]) -> None:
    """Wait no longer for what has another finalised value, or what the new journal has advanced.

    The worker advances as soon as the new journal serves, which may be before the recovery came.
    """
    advanced = [
        (audit_key, account)
        for account in values
        if receipts.has_advanced(parts.database, journal, account)
    ]
    others = [(audit_key, account, value) for account, value in values.items()]
    query = "DELETE FROM unmoved_nonce WHERE (audit_key, account) = (?, ?)"
    with parts.database.transaction() as db:
        db.executemany(query, advanced)
        db.executemany(f"{query} AND value <> ?", others)


def _open(
    parts: Parts, statement: bytes, changes: Sequence[Signed]
) -> tuple[Recover, Policy] | Refusal:
    """Return the recovery and the policy whose quorum signed it, preferably its signer's own."""
    refusal = Refusal(Code.SIGNER_UNSEEN, "the watchtower has heard of no signer yet")
    for policy in parts.policies.values():
        order = open_recover(policy, statement, changes, parts.clock())
        if isinstance(order, Refusal):
            refusal = order
            continue
        own = parts.policies.get(order.audit_key, policy)
        if own.digest != policy.digest:
            refusal = Refusal(Code.QUORUM_MISSING, "it is signed under another signer's policy")
            continue
        return _refuse(parts, order) or (order, policy)
    return refusal


def _refuse(parts: Parts, order: Recover) -> Refusal | None:
    if order.audit_key not in parts.audit_keys:
        words = "the recovery's audit key is not in this watchtower's settings"
        return Refusal(Code.ARGUMENT_INVALID, words, field="recover")
    if order.watchtower not in {"", parts.key.public}:
        words = f"the recovery names the watchtower {order.watchtower}: hand it to that one"
        return Refusal(Code.ARGUMENT_INVALID, words, field="recover")
    signer = signers.find(parts.database, order.audit_key)
    if signer and order.old_journal not in {"", signer.seen.journal}:
        words = f"the recovery is of journal {order.old_journal}, now it is {signer.seen.journal}"
        return Refusal(Code.JOURNAL_FOREIGN, words)
    return None
