"""Receipts on their way to the watchtower: of withdrawals, and of what keeps the nonces."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

from psycopg.rows import class_row

from custody.store.database import Connection


@dataclass(frozen=True, slots=True)
class Held:
    """A receipt that the watchtower has not acknowledged. `what`: the table; `name`: the row."""

    what: str
    name: str
    receipt: bytes


_ACKNOWLEDGE: dict[str, LiteralString] = {
    "withdrawal": "UPDATE withdrawal SET acknowledged = true, retry_at = now(),"
    " waiting_for = CASE WHEN state IN ('SIGNED', 'ENDING') THEN '' ELSE waiting_for END"
    " WHERE (digest, receipt) = (%s, %s)",
    "opening": "UPDATE nonce SET acknowledged = true, retry_at = now()"
    " WHERE (opening_id, opening_receipt) = (%s, %s)",
    "advance": "UPDATE advance SET acknowledged = true, retry_at = now()"
    " WHERE (transaction_id, receipt) = (%s, %s)",
}
_PUT_OFF: dict[str, LiteralString] = {
    "withdrawal": "UPDATE withdrawal SET retry_at = now() + %s,"
    " waiting_for = CASE WHEN state IN ('SIGNED', 'ENDING') THEN 'LEASE' ELSE waiting_for END"
    " WHERE (digest, receipt) = (%s, %s) AND NOT acknowledged",
    "opening": "UPDATE nonce SET retry_at = now() + %s"
    " WHERE (opening_id, opening_receipt) = (%s, %s)",
    "advance": "UPDATE advance SET retry_at = now() + %s"
    " WHERE (transaction_id, receipt) = (%s, %s)",
}


async def unacknowledged(connection: Connection, size: int) -> list[Held]:
    """Return up to `size` of them, those first that keep the nonces."""
    query = (
        "(SELECT 'opening' AS what, opening_id AS name, opening_receipt AS receipt FROM nonce"
        " WHERE opening_receipt IS NOT NULL AND NOT acknowledged AND retry_at <= now())"
        " UNION ALL (SELECT 'advance', transaction_id, receipt FROM advance"
        " WHERE NOT done AND receipt IS NOT NULL AND NOT acknowledged AND retry_at <= now())"
        " UNION ALL (SELECT 'withdrawal', digest, receipt FROM withdrawal"
        " WHERE receipt IS NOT NULL AND NOT acknowledged AND retry_at <= now()"
        " ORDER BY retry_at LIMIT %s) LIMIT %s"
    )
    async with connection.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(query, (size, size))
        return await cursor.fetchall()


async def acknowledge(connection: Connection, held: Held) -> None:
    """Note that the watchtower has it: what it covers may be sent."""
    await connection.execute(_ACKNOWLEDGE[held.what], (held.name, held.receipt))


async def put_off(connection: Connection, several: Sequence[Held], seconds: float) -> None:
    """Hand these over again in so many seconds; what is signed, or killed, waits for LEASE then."""
    pause = timedelta(seconds=seconds)
    for held in several:
        await connection.execute(_PUT_OFF[held.what], (pause, held.name, held.receipt))
