"""What the signers signed, by their receipts, and what became of it on the chain.

Invariants: a transaction is SENT (not seen yet), SEEN (confirmed), FINAL (finalised), FAILED
(finalised, with an error) or DEAD (it can never land), and never leaves the last three. `totals`
holds the sums of each journal and wallet over what has an intent, as the signer's limit beyond
recall counts, and changes in the transaction that changes what it sums. Nothing here reads through
history: an index holds what is still open.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from custody.chains.solana_history import Listed
from custody.watchtower.database import Database
from policies.policy import Policy
from policies.receipts import statement_of
from policies.statements import Dead, Receipt, Resolved, decode

SCHEMA = """
CREATE TABLE IF NOT EXISTS signed (
  transaction_id TEXT NOT NULL UNIQUE,
  audit_key TEXT NOT NULL,
  journal TEXT NOT NULL,
  wallet TEXT NOT NULL,
  intent TEXT NOT NULL,
  amount INTEGER NOT NULL,
  nonce_account TEXT NOT NULL,
  nonce_value TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('SENT', 'SEEN', 'FINAL', 'FAILED', 'DEAD')),
  slot INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,
  height INTEGER NOT NULL DEFAULT 0,
  receipt BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS signed_intent ON signed (intent) WHERE intent <> '';
CREATE INDEX IF NOT EXISTS signed_sent ON signed (wallet) WHERE state = 'SENT';
CREATE INDEX IF NOT EXISTS signed_seen ON signed (wallet, slot) WHERE state = 'SEEN';
CREATE INDEX IF NOT EXISTS signed_advance ON signed (nonce_account, nonce_value)
  WHERE intent = '';
CREATE TABLE IF NOT EXISTS ended (
  intent TEXT NOT NULL,
  audit_key TEXT NOT NULL,
  receipt BLOB NOT NULL,
  PRIMARY KEY (intent, audit_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (
  audit_key TEXT NOT NULL,
  journal TEXT NOT NULL,
  wallet TEXT NOT NULL,
  signed INTEGER NOT NULL,
  resolved INTEGER NOT NULL CHECK (0 <= resolved AND resolved <= signed),
  PRIMARY KEY (audit_key, journal, wallet)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS network (genesis TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (
  node TEXT NOT NULL,
  address TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  slot INTEGER NOT NULL,
  PRIMARY KEY (node, address)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looked (
  node TEXT NOT NULL,
  address TEXT NOT NULL,
  slot INTEGER NOT NULL,
  PRIMARY KEY (node, address)
) WITHOUT ROWID;
"""
_OPEN = "state IN ('SENT', 'SEEN')"
AHEAD_MAX = 1_000  # slots between what is confirmed and what is final: 32 when all is well


class State(StrEnum):
    """What became of a signed transaction."""

    SENT = "SENT"
    SEEN = "SEEN"
    FINAL = "FINAL"
    FAILED = "FAILED"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A signed transaction that is not on the chain yet. Accounts in base58, values in hex.

    `held`: the newest finalised slot at which its nonce account was seen with its value, 0 before.
    `height`: how many blocks there were when it was first looked for, 0 before. `intent`: its
    digest, "" for what no withdrawal asked for.
    """

    transaction_id: str
    intent: str
    nonce_account: str
    nonce_value: str
    held: int
    height: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """The newest transaction up to which a node's list of an address is worked off."""

    transaction_id: str = ""
    slot: int = 0


class SignedTwiceError(Exception):
    """Two receipts of one intent contradict each other: its signer's journal was put back.

    They name two transactions; or, of one signer, one says that it was signed, one that it ended
    unsigned.
    """


def store(connection: sqlite3.Connection, receipt: Receipt, data: bytes) -> None:
    """Keep a verified receipt, inside the caller's transaction; again does no harm.

    A refusal moves nothing and is not kept. SignedTwiceError, and nothing is written, when a kept
    one of the same intent says otherwise.
    """
    query = "SELECT transaction_id, audit_key, state FROM signed WHERE intent = ? AND intent <> ''"
    signed = connection.execute(query, (receipt.intent,)).fetchall()
    if receipt.outcome == "ended":
        unpaid = {State.FAILED, State.DEAD}
        pays = [name for name, key, state in signed if key == receipt.key and state not in unpaid]
        _refuse_ended(pays, receipt.transaction_id)
        query = "INSERT OR IGNORE INTO ended VALUES (?, ?, ?)"
        connection.execute(query, (receipt.intent, receipt.key, data))
    if receipt.outcome != "signed":
        return
    for other, _, _ in signed:
        if other != receipt.transaction_id:
            words = f"{other} and {receipt.transaction_id} were both signed for one withdrawal"
            raise SignedTwiceError(words)
    query = "SELECT receipt FROM ended WHERE (intent, audit_key) = (?, ?) AND intent <> ''"
    for (ended,) in connection.execute(query, (receipt.intent, receipt.key)):
        before = decode(Receipt, statement_of(ended)).transaction_id
        _refuse_ended([receipt.transaction_id], before)
    values = (receipt.transaction_id, *_journal(receipt), receipt.intent, receipt.amount)
    nonce = (receipt.nonce_account, receipt.nonce_value, data)
    added = connection.execute(
        "INSERT OR IGNORE INTO signed (transaction_id, audit_key, journal, wallet, intent, amount,"
        " nonce_account, nonce_value, state, receipt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'SENT', ?)",
        (*values, *nonce),
    )
    if added.rowcount and receipt.intent:
        connection.execute(
            "INSERT INTO totals VALUES (?, ?, ?, ?, 0)"
            " ON CONFLICT DO UPDATE SET signed = signed + excluded.signed",
            (*_journal(receipt), receipt.amount),
        )


def covers(database: Database, transaction_id: str, wallet: str) -> bool:
    """Tell whether a receipt says that this wallet's signer signed it."""
    query = "SELECT 1 FROM signed WHERE transaction_id = ? AND wallet = ?"
    return bool(database.rows(query, transaction_id, wallet))


def see(database: Database, wallet: str, page: Sequence[Listed]) -> tuple[list[Listed], list[str]]:
    """Note what of a list is on the chain. Return what no receipt covers, and who was dead."""
    uncovered, dead, seen = [], [], []
    query = "SELECT state FROM signed WHERE transaction_id = ? AND wallet = ?"
    for listed in page:
        match database.rows(query, listed.transaction_id, wallet):
            case [(State.SENT,)]:
                seen.append((listed.slot, listed.transaction_id))
            case [(State.DEAD,)]:
                dead.append(listed.transaction_id)
            case []:
                uncovered.append(listed)
    if seen:
        with database.transaction() as connection:
            connection.executemany(
                "UPDATE signed SET state = 'SEEN', slot = ? WHERE transaction_id = ?", seen
            )
    return uncovered, dead


def final_at(database: Database, wallet: str, slot: int) -> list[str]:
    """Return the ids that were seen and ought to be final when `slot` is.

    One whose slot is further ahead than finality can be behind is among them: a node made that up.
    So is one that was lost sight of, which no list shows a second time.
    """
    query = (
        "SELECT transaction_id FROM signed WHERE wallet = ? AND state = 'SEEN'"
        " AND slot NOT BETWEEN ? AND ?"
        " UNION ALL"
        " SELECT transaction_id FROM signed WHERE wallet = ? AND state = 'SENT' AND slot > 0"
    )
    values = (wallet, slot + 1, slot + AHEAD_MAX, wallet)
    return [name for (name,) in database.rows(query, *values)]


def lose_sight(database: Database, ids: Sequence[str]) -> None:
    """Note that what was confirmed is on the chain no more."""
    if not ids:
        return
    with database.transaction() as connection:
        connection.executemany(
            "UPDATE signed SET state = 'SENT', slot = max(slot, 1)"
            " WHERE transaction_id = ? AND state = 'SEEN'",
            [(name,) for name in ids],
        )


def waiting(database: Database, wallet: str) -> list[Waiting]:
    """Return what is signed and was not seen."""
    query = (
        "SELECT transaction_id, intent, nonce_account, nonce_value, held, height FROM signed"
        " WHERE wallet = ? AND state = 'SENT'"
    )
    return [Waiting(*row) for row in database.rows(query, wallet)]


def is_advanced(database: Database, transaction_id: str) -> bool:
    """Tell whether a nonce's value, which its account once had, was used up by our own advance."""
    query = (
        "SELECT 1 FROM signed AS one JOIN signed AS advance USING (nonce_account, nonce_value)"
        " WHERE one.transaction_id = ? AND one.held > 0"
        " AND advance.intent = '' AND advance.state = 'FINAL'"
    )
    return bool(database.rows(query, transaction_id))


def has_advanced(database: Database, journal: str, nonce_account: str) -> bool:
    """Tell whether an advance that this journal signed has used up a value of this account."""
    query = (
        "SELECT 1 FROM signed WHERE nonce_account = ? AND intent = ''"
        " AND journal = ? AND state = 'FINAL'"
    )
    return bool(database.rows(query, nonce_account, journal))


def note_waiting(database: Database, notes: Sequence[Waiting]) -> None:
    """Keep `held` and `height` of what still waits."""
    if not notes:
        return
    with database.transaction() as connection:
        connection.executemany(
            "UPDATE signed SET held = ?, height = ? WHERE transaction_id = ?",
            [(note.held, note.height, note.transaction_id) for note in notes],
        )


def resolve(database: Database, ids: Sequence[str], state: State) -> None:
    """Say of open transactions what became of them, for ever."""
    if not ids:
        return
    with database.transaction() as connection:
        for name in ids:
            moved = connection.execute(
                f"UPDATE signed SET state = ? WHERE transaction_id = ? AND {_OPEN}"  # noqa: S608
                " RETURNING amount, audit_key, journal, wallet, intent",
                (state, name),
            ).fetchall()
            connection.executemany(
                "UPDATE totals SET resolved = resolved + ?"
                " WHERE audit_key = ? AND journal = ? AND wallet = ? AND ? <> ''",
                moved,
            )


def resolved(
    database: Database, audit_key: str, journal: str, policy: Policy
) -> tuple[Resolved, ...]:
    """Return what of a journal is final or dead, in all, for each wallet, sorted by name."""
    query = (
        "SELECT wallet, resolved FROM totals WHERE audit_key = ? AND journal = ? ORDER BY wallet"
    )
    return tuple(
        Resolved(wallet=name, asset=policy.wallets[name].asset, amount=amount)
        for name, amount in database.rows(query, audit_key, journal)
        if name in policy.wallets
    )


def sums(database: Database, wallet: str) -> tuple[int, int]:
    """Return what a wallet's signers signed and what of it is final or dead, in all journals."""
    query = (
        "SELECT coalesce(sum(signed), 0), coalesce(sum(resolved), 0) FROM totals WHERE wallet = ?"
    )
    ((signed, done),) = database.rows(query, wallet)
    return signed, done


def unresolved(database: Database, wallet: str) -> int:
    """Return what is signed and neither final nor dead: what a hoarder could still send."""
    signed, done = sums(database, wallet)
    return signed - done


def dead(database: Database, key: str, ids: Sequence[str]) -> list[Dead | None]:
    """Return, for each transaction, the word that it never pays; None where nobody knows."""
    query = "SELECT intent FROM signed WHERE transaction_id = ? AND state IN ('FAILED', 'DEAD')"
    words = list[Dead | None]()
    for name in ids:
        found = database.rows(query, name)
        intent = found[0][0] if found else ""
        words.append(Dead(key=key, intent=intent, transaction_id=name) if intent else None)
    return words


def cursor(database: Database, node: str, address: str) -> Cursor:
    """Return how far a node's list of an address is worked off."""
    query = "SELECT transaction_id, slot FROM cursors WHERE node = ? AND address = ?"
    found = database.rows(query, node, address)
    return Cursor(*found[0]) if found else Cursor()


def move_cursor(database: Database, node: str, address: str, to: Cursor) -> None:
    """Say that everything up to `to` is worked off."""
    with database.transaction() as connection:
        values = (node, address, to.transaction_id, to.slot)
        connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", values)


def looked_until(database: Database, node: str, address: str) -> int | None:
    """Return the slot up to which all of a node's list was seen, None before the first time."""
    query = "SELECT slot FROM looked WHERE node = ? AND address = ?"
    found = database.rows(query, node, address)
    return int(found[0][0]) if found else None


def note_looked(database: Database, node: str, address: str, slot: int) -> None:
    """Say that all of a node's list up to this slot was seen."""
    with database.transaction() as connection:
        query = "INSERT OR REPLACE INTO looked VALUES (?, ?, ?)"
        connection.execute(query, (node, address, slot))


def _refuse_ended(signed: Sequence[str], ended: str) -> None:
    """Raise SignedTwiceError when what was signed is not what the end was of, if of anything."""
    for name in signed:
        if name != ended:
            raise SignedTwiceError(f"{name} was signed for a withdrawal that was ended without it")


def _journal(receipt: Receipt) -> tuple[str, str, str]:
    return receipt.key, receipt.journal, receipt.wallet
