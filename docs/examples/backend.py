"""An exchange's backend: orders in a database of its own, paid by Kura, whatever is restarted.

    .venv/bin/python docs/examples/backend.py order ORDERS.db CLIENT.toml ID ADDRESS LAMPORTS
    .venv/bin/python docs/examples/backend.py serve ORDERS.db CLIENT.toml

Three rules make it safe to kill at any point:

1. The signed intent is stored with the order, before anybody sees it. What is asked again after a
   crash is the same bytes, and the same bytes are one withdrawal.
2. What an event changes is stored in one transaction with the event's cursor. So every event is
   dealt with once: the stream goes on after the last cursor that was stored.
3. An order is paid back only on the signer's word (a receipt), never because custody says so.
"""

import asyncio
import sqlite3
import sys
from contextlib import closing, suppress

from custody.client import Refusal, Signed
from custody.client_async import AsyncCustodyClient
from kura.custody.v1 import custody_pb2 as wire

WALLET, NETWORK, ASSET = "hot-sol", "solana:devnet", "SOL"
NEW, REFUSED = "NEW", "REFUSED"
SUBMITTED_AT_ONCE = 100
LOOK_SECONDS = 0.2
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS orders (
  id TEXT PRIMARY KEY,
  statement BLOB NOT NULL,
  signature BLOB NOT NULL,
  submitted INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'NEW',
  transaction_id TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS changes (id TEXT NOT NULL, event TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
"""


def open_orders(file: str) -> sqlite3.Connection:
    """Open the backend's own database."""
    orders = sqlite3.connect(file, timeout=30)
    orders.executescript(SCHEMA)
    return orders


def take_order(
    orders: sqlite3.Connection, custody: AsyncCustodyClient, order: str, address: str, amount: int
) -> None:
    """Store an order with its signed intent. Debit the customer in this same transaction.

    The same order again changes nothing; `amount` in base units.
    """
    intent = custody.build_intent(
        request_id=order,
        wallet=WALLET,
        network=NETWORK,
        asset=ASSET,
        address=address,
        amount=amount,
    )
    query = "INSERT INTO orders (id, statement, signature) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    with orders:
        orders.execute(query, (order, intent.statement, intent.signature))


async def submit_orders(orders: sqlite3.Connection, custody: AsyncCustodyClient) -> None:
    """Hand over what is new, for ever. After a crash some are handed over again: no harm."""
    query = "SELECT id, statement, signature FROM orders WHERE NOT submitted LIMIT ?"
    while True:
        rows = orders.execute(query, (SUBMITTED_AT_ONCE,)).fetchall()
        intents = [Signed(statement, signature) for _, statement, signature in rows]
        results = await custody.submit_batch(intents) if intents else []
        later = 0
        with orders:
            for (order, *_), result in zip(rows, results, strict=True):
                if not isinstance(result, Refusal):
                    orders.execute("UPDATE orders SET submitted = 1 WHERE id = ?", (order,))
                elif result.code.waits:  # for example NODE_UNREACHABLE: ask again
                    later += 1
                else:
                    refuse(orders, order, result)
        if later or not rows:
            await asyncio.sleep(LOOK_SECONDS)


def refuse(orders: sqlite3.Connection, order: str, refusal: Refusal) -> None:
    """Note that custody did not take an order: for a person to look at, not to pay back yet."""
    query = "UPDATE orders SET submitted = 1, state = ?, reason = ? WHERE id = ? AND state = ?"
    orders.execute(query, (REFUSED, f"{refusal.code}: {refusal.message}", order, NEW))


async def follow_changes(orders: sqlite3.Connection, custody: AsyncCustodyClient) -> None:
    """Note every change of every order once, for ever."""
    row = orders.execute("SELECT value FROM cursor").fetchone()
    async for change in custody.watch_withdrawals(row[0] if row else ""):
        with orders:  # both or neither
            if change.event:
                note(orders, change)
            query = "INSERT INTO cursor VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET value = ?"
            orders.execute(query, (change.cursor, change.cursor))


def note(orders: sqlite3.Connection, change: wire.WatchWithdrawalsResponse) -> None:
    """Note one change. This is where a customer is told that the order was paid."""
    state = wire.WithdrawalState.Name(change.state).removeprefix("WITHDRAWAL_STATE_")
    shown = change.withdrawal
    query = "UPDATE orders SET state = ?, transaction_id = ?, reason = ? WHERE id = ?"
    found = (shown.transaction_id, shown.refusal.message)
    orders.execute(query, (state, *found, shown.request_id))
    query = "INSERT INTO changes VALUES (?, ?, ?)"
    orders.execute(query, (shown.request_id, change.event, state))


async def main(command: str, file: str, config: str, *order: str) -> None:
    """Take one order, or serve until the process is killed."""
    with closing(open_orders(file)) as orders:
        async with AsyncCustodyClient.from_config(config) as custody:
            if command == "order":
                name, address, amount = order
                take_order(orders, custody, name, address, int(amount))
                return
            async with asyncio.TaskGroup() as both:
                both.create_task(submit_orders(orders, custody))
                both.create_task(follow_changes(orders, custody))


if __name__ == "__main__":
    if (sys.argv[1:2], len(sys.argv)) not in ((["order"], 7), (["serve"], 4)):
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
