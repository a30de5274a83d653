"""Transactions of our wallets that no receipt covered: each is on the disk before anything is done.

Invariants: UNDECIDED until the signer has said which it is; then LAWFUL (it signed it itself), or
THEFT until the freeze is lifted, and then SWEPT.
"""

from dataclasses import dataclass
from enum import StrEnum

from custody.watchtower.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS suspects (
  transaction_id TEXT NOT NULL,
  wallet TEXT NOT NULL,
  slot INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('UNDECIDED', 'LAWFUL', 'THEFT', 'SWEPT')),
  PRIMARY KEY (transaction_id, wallet)
);
CREATE INDEX IF NOT EXISTS suspects_open ON suspects (slot)
  WHERE state IN ('UNDECIDED', 'THEFT');
"""


class Verdict(StrEnum):
    """What a suspect is."""

    UNDECIDED = "UNDECIDED"
    LAWFUL = "LAWFUL"
    THEFT = "THEFT"
    SWEPT = "SWEPT"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A transaction on the chain, in `slot`, with our wallet's valid signature.

    `lost`: base units that left the wallet by the node's word, which nobody relies on.
    """

    transaction_id: str
    wallet: str
    slot: int
    lost: int
    transaction: bytes
    verdict: Verdict = Verdict.UNDECIDED

    def is_same(self, other: "Suspect") -> bool:
        """Tell whether both are the same transaction of the same wallet."""
        return (self.transaction_id, self.wallet) == (other.transaction_id, other.wallet)


def add(database: Database, suspect: Suspect) -> bool:
    """Keep a suspect; False when it was known."""
    with database.transaction() as connection:
        values = (suspect.transaction_id, suspect.wallet, suspect.slot, suspect.lost)
        return bool(
            connection.execute(
                "INSERT OR IGNORE INTO suspects VALUES (?, ?, ?, ?, ?, ?)",
                (*values, suspect.transaction, suspect.verdict),
            ).rowcount
        )


def known(database: Database, transaction_id: str, wallet: str) -> bool:
    """Tell whether it is or was a suspect."""
    query = "SELECT 1 FROM suspects WHERE transaction_id = ? AND wallet = ?"
    return bool(database.rows(query, transaction_id, wallet))


def decide(database: Database, suspect: Suspect, verdict: Verdict) -> None:
    """Say what a suspect is."""
    with database.transaction() as connection:
        connection.execute(
            "UPDATE suspects SET state = ? WHERE transaction_id = ? AND wallet = ?",
            (verdict, suspect.transaction_id, suspect.wallet),
        )


def open_suspects(database: Database) -> list[Suspect]:
    """Return those that are undecided or whose wallet is not swept yet, oldest first."""
    query = (
        "SELECT transaction_id, wallet, slot, lost, bytes, state FROM suspects"
        " WHERE state IN ('UNDECIDED', 'THEFT') ORDER BY slot"
    )
    return [
        Suspect(name, wallet, slot, lost, transaction, Verdict(state))
        for name, wallet, slot, lost, transaction, state in database.rows(query)
    ]
