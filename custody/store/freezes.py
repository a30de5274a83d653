"""Freezes and what lifts them on their way to the signer, and what it said to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import class_row

from custody.store.database import Connection, notify
from custody.store.policy_versions import Progress
from policies.codes import Refusal


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order. `apply` is a kura.signer.v1.Apply; `wallet` is "" for one that lifts freezes.

    `digest`: of a freeze; of the epoch that begins for one that lifts (`policies.freezes`).
    """

    digest: str
    wallet: str
    people: str
    apply: bytes
    state: str
    refusal_code: str
    refusal_message: str
    create_time: datetime


_ORDER: LiteralString = (
    "SELECT digest, wallet, people, apply, state, refusal_code, refusal_message, create_time"
    " FROM freeze_order "
)


async def put(connection: Connection, digest: str, wallet: str, people: str, apply: bytes) -> None:
    """Keep an order, or its newer signatures, for the signer to be told at once."""
    query = (
        "INSERT INTO freeze_order (digest, wallet, people, apply) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (digest) DO UPDATE SET apply = excluded.apply, people = excluded.people,"
        " state = 'PENDING', refusal_code = '', refusal_message = '', ask_at = now()"
        " WHERE freeze_order.state <> 'APPLIED'"
    )
    await connection.execute(query, (digest, wallet, people, apply))
    await notify(connection)


async def get(connection: Connection, digest: str, *, lock: bool = False) -> OrderRow | None:
    """Return one order, locked until the transaction ends when asked."""
    rows = await _orders(connection, "WHERE digest = %s" + " FOR UPDATE" * lock, (digest,))
    return rows[0] if rows else None


async def on_their_way(connection: Connection) -> list[OrderRow]:
    """Return the freezes that the signer has not decided on, oldest first."""
    return await _orders(
        connection, "WHERE state = 'PENDING' AND wallet <> '' ORDER BY sequence", ()
    )


async def due(connection: Connection) -> OrderRow | None:
    """Return the order that the signer is to be told first: a freeze before what lifts others."""
    where: LiteralString = (
        "WHERE state = 'PENDING' AND ask_at <= now() ORDER BY wallet = '', ask_at LIMIT 1"
    )
    rows = await _orders(connection, where, ())
    return rows[0] if rows else None


async def settle(
    connection: Connection,
    row: OrderRow,
    state: Progress,
    refusal: Refusal | None = None,
    again: float = 0,
) -> None:
    """Note what the signer said, unless other bytes were handed over since it was told."""
    query = (
        "UPDATE freeze_order SET state = %s, refusal_code = %s, refusal_message = %s,"
        " ask_at = now() + %s WHERE (digest, apply) = (%s, %s) AND state <> 'APPLIED'"
    )
    said = (refusal.code, refusal.message) if refusal else ("", "")
    values = (state, *said, timedelta(seconds=again), row.digest, row.apply)
    await connection.execute(query, values)


async def applied(connection: Connection, digests: Sequence[str]) -> None:
    """Note that these are in force, such as through the watchtower."""
    query = (
        "UPDATE freeze_order SET state = 'APPLIED', refusal_code = '', refusal_message = ''"
        " WHERE digest = ANY(%s) AND state <> 'APPLIED'"
    )
    await connection.execute(query, (list(digests),))


async def _orders(
    connection: Connection, where: LiteralString, values: Sequence[Any]
) -> list[OrderRow]:
    async with connection.cursor(row_factory=class_row(OrderRow)) as cursor:
        await cursor.execute(_ORDER + where, values)
        return await cursor.fetchall()
