"""What the devnet keeps on disk: one SQLite file, so that kill -9 loses nothing it has answered.

Every slot and every landed transaction is one SQLite transaction, committed before it is told to
anyone. WAL with synchronous NORMAL keeps each of them when the process dies; only a crash of the
whole machine can take the last ones. The file is locked for as long as it is open.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from solders.account import Account
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from custody.dev.devnet.landed import Landed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chain (genesis BLOB NOT NULL, faucet BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS slots (
  slot INTEGER PRIMARY KEY, blockhash BLOB NOT NULL, time INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS accounts (address BLOB PRIMARY KEY, account BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transactions (
  id INTEGER PRIMARY KEY,
  signature BLOB NOT NULL UNIQUE,
  message BLOB NOT NULL UNIQUE,
  slot INTEGER NOT NULL,
  time INTEGER NOT NULL,
  wire BLOB NOT NULL,
  memo TEXT,
  meta TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS addresses (
  address BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (address, id)
) WITHOUT ROWID;
"""
_NEWEST = 2**63 - 1
# By the column of `addresses`: by the other one SQLite sorts the address's whole history.
_OF_ADDRESS = """
SELECT transactions.* FROM addresses JOIN transactions USING (id)
WHERE address = ? AND addresses.id < ? AND addresses.id > ? AND slot <= ?
ORDER BY addresses.id DESC LIMIT ?
"""


class DataInUseError(Exception):
    pass


def _landed(row: tuple[Any, ...]) -> Landed:
    _, signature, message, slot, time, wire, memo, meta = row
    digest = Hash.from_bytes(message)
    return Landed(Signature.from_bytes(signature), digest, slot, time, wire, memo, json.loads(meta))


class Ledger:
    def __init__(self, data: Path | None) -> None:
        """Keep it in a folder; None: in memory, gone with the process."""
        file: Path | str = ":memory:"
        if data:
            data.mkdir(parents=True, exist_ok=True)
            file = data / "devnet.sqlite3"
        # One lock of the caller's stands around every use, so threads may share the connection.
        self._db = sqlite3.connect(file, timeout=0, check_same_thread=False)
        try:
            self._db.executescript(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                + _SCHEMA
            )
        except sqlite3.OperationalError as error:
            self._db.close()
            raise DataInUseError(
                f"{data} cannot be opened ({error}): "
                "stop the devnet that uses it or name another --data"
            ) from error

    def close(self) -> None:
        self._db.close()

    def chain(self) -> tuple[Hash, Keypair] | None:
        """Genesis hash and faucet key (play money), None before `create`."""
        row = self._db.execute("SELECT genesis, faucet FROM chain").fetchone()
        return None if row is None else (Hash.from_bytes(row[0]), Keypair.from_bytes(row[1]))

    def create(
        self, genesis: Hash, time: int, faucet: Keypair, accounts: Mapping[Pubkey, Account]
    ) -> None:
        with self._db:
            self._db.execute("INSERT INTO chain VALUES (?, ?)", (bytes(genesis), bytes(faucet)))
            self._db.execute("INSERT INTO slots VALUES (0, ?, ?)", (bytes(genesis), time))
            self._keep(accounts)

    def slots(self) -> list[tuple[int, Hash, int]]:
        """The slots kept, oldest first: slot, blockhash, Unix seconds."""
        rows = self._db.execute("SELECT slot, blockhash, time FROM slots ORDER BY slot")
        return [(slot, Hash.from_bytes(blockhash), time) for slot, blockhash, time in rows]

    def accounts(self) -> dict[Pubkey, Account]:
        rows = self._db.execute("SELECT address, account FROM accounts")
        return {
            Pubkey.from_bytes(address): Account.from_bytes(account) for address, account in rows
        }

    def add_slot(self, slot: int, blockhash: Hash, time: int, oldest: int) -> None:
        """Add a slot and forget those before `oldest`."""
        with self._db:
            self._db.execute("INSERT INTO slots VALUES (?, ?, ?)", (slot, bytes(blockhash), time))
            self._db.execute("DELETE FROM slots WHERE slot < ?", (oldest,))

    def add_transaction(
        self, tx: Landed, accounts: Mapping[Pubkey, Account | None], addresses: Iterable[Pubkey]
    ) -> None:
        with self._db:
            values = (bytes(tx.signature), bytes(tx.message), tx.slot, tx.time, tx.wire, tx.memo)
            row = self._db.execute(
                "INSERT INTO transactions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
                (*values, json.dumps(tx.meta)),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO addresses VALUES (?, ?)",
                [(bytes(address), row) for address in addresses],
            )
            self._keep(accounts)

    def transaction(self, signature: Signature) -> Landed | None:
        query = "SELECT * FROM transactions WHERE signature = ?"
        row = self._db.execute(query, (bytes(signature),)).fetchone()
        return None if row is None else _landed(row)

    def slot_of_message(self, message: Hash) -> int | None:
        """The slot where a transaction with this message landed, under whatever signature."""
        query = "SELECT slot FROM transactions WHERE message = ?"
        row = self._db.execute(query, (bytes(message),)).fetchone()
        return None if row is None else int(row[0])

    def of_address(
        self,
        address: Pubkey,
        slot: int,
        before: Signature | None,
        until: Signature | None,
        limit: int,
    ) -> list[Landed]:
        """Transactions naming the address, newest first, none of a slot after `slot`; older than
        `before` (none if that one is unknown) and newer than `until` (all if unknown).
        """
        newest = _NEWEST if before is None else self._id(before)
        oldest = 0 if until is None else self._id(until)
        values = (bytes(address), newest, oldest, slot, limit)
        return [_landed(row) for row in self._db.execute(_OF_ADDRESS, values)]

    def _id(self, signature: Signature) -> int:
        query = "SELECT id FROM transactions WHERE signature = ?"
        row = self._db.execute(query, (bytes(signature),)).fetchone()
        return 0 if row is None else int(row[0])

    def _keep(self, accounts: Mapping[Pubkey, Account | None]) -> None:
        for address, account in accounts.items():
            if account is None:
                self._db.execute("DELETE FROM accounts WHERE address = ?", (bytes(address),))
            else:
                row = (bytes(address), bytes(account))
                self._db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", row)
