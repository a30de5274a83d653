"""Nonce values to be used up: after a kill, and everywhere after the signer's journal was lost."""

from dataclasses import dataclass, fields
from datetime import timedelta

from psycopg.rows import class_row

from custody.store import balances
from custody.store.database import Connection


@dataclass(frozen=True, slots=True)
class Advance:
    """One value of one account. The transaction is None until the signer has signed it.

    `journal`: the signer's when it was asked; `reserved`: base units set aside for the fee.
    """

    wallet: str
    index: int
    value: bytes
    journal: str
    transaction: bytes | None
    transaction_id: str | None
    acknowledged: bool
    reserved: int


_COLUMNS = ", ".join(field.name for field in fields(Advance))
_PLACE = "(wallet, index, value) = (%s, %s, %s)"


async def want(
    connection: Connection, wallet: str, index: int, value: bytes, reserved: int = 0
) -> bool:
    """Note a value to be used up; False when it was noted before."""
    query = (
        "INSERT INTO advance (wallet, index, value, reserved) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING"
    )
    return (await connection.execute(query, (wallet, index, value, reserved))).rowcount == 1


async def due(connection: Connection) -> list[Advance]:
    """Return those that are not done and may be tried now."""
    query = f"SELECT {_COLUMNS} FROM advance WHERE NOT done AND retry_at <= now() ORDER BY retry_at"
    async with connection.cursor(row_factory=class_row(Advance)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


async def signed(  # noqa: PLR0913, PLR0917 - the columns of a row
    connection: Connection,
    item: Advance,
    transaction: bytes,
    name: str,
    receipt: bytes,
    journal: str,
) -> None:
    """Keep what the signer signed, unless it was kept before."""
    query = (
        "UPDATE advance SET transaction = %s, transaction_id = %s, receipt = %s, journal = %s"
        f" WHERE {_PLACE} AND transaction IS NULL"
    )
    values = (transaction, name, receipt, journal, item.wallet, item.index, item.value)
    await connection.execute(query, values)


async def postpone(connection: Connection, item: Advance, seconds: float) -> None:
    """Try again in so many seconds."""
    query = f"UPDATE advance SET retry_at = now() + %s WHERE {_PLACE}"
    values = (timedelta(seconds=seconds), item.wallet, item.index, item.value)
    await connection.execute(query, values)


async def user_of(connection: Connection, item: Advance) -> str | None:
    """Return the id of the withdrawal's transaction that stands on this value, if one does."""
    query = (
        "SELECT transaction_id FROM withdrawal WHERE (wallet, nonce_index, nonce_value) ="
        " (%s, %s, %s) AND transaction_id IS NOT NULL"
    )
    values = (item.wallet, item.index, item.value)
    row = await (await connection.execute(query, values)).fetchone()
    return row[0] if row else None


async def done(connection: Connection, item: Advance, fee: int, *, landed: bool) -> bool:
    """Book the fee, once; False when it was done before. `landed`: ours used the value up.

    It is paid out of what the killed withdrawal has reserved, else of what was set aside for it.
    The account's value is read anew.
    """
    query = f"UPDATE advance SET done = true, reserved = 0 WHERE {_PLACE} AND NOT done"
    place = (item.wallet, item.index, item.value)
    if (await connection.execute(query, place)).rowcount != 1:
        return False
    query = (
        "UPDATE withdrawal SET reserved = reserved - %s WHERE (wallet, nonce_index, nonce_value) ="
        " (%s, %s, %s) AND state = 'ENDING' AND ending = 'FAILED' AND reserved >= %s"
    )
    paid = (await connection.execute(query, (fee, *place, fee))).rowcount
    await balances.release(connection, item.wallet, item.reserved + fee * paid)
    if fee:
        await balances.book(connection, item.wallet, "fee", -fee, item.transaction_id or "")
    query = (
        "UPDATE nonce SET value = CASE WHEN holder IS NULL THEN NULL ELSE value END,"
        " journal = CASE WHEN %s THEN %s ELSE journal END WHERE (wallet, index) = (%s, %s)"
    )
    values = (landed, item.journal, item.wallet, item.index)
    await connection.execute(query, values)
    return True
