"""Each wallet's pool of durable nonces. A value is read from the chain, used once, read again."""

from dataclasses import dataclass
from datetime import timedelta

from psycopg.rows import class_row

from custody.store.database import Connection


@dataclass(frozen=True, slots=True)
class Nonce:
    """One account of the pool. `value` is None until it is read from the chain after a use."""

    wallet: str
    index: int
    value: bytes | None
    opening_id: str | None
    opening_transaction: bytes | None
    acknowledged: bool
    reserved: int


async def add(connection: Connection, wallet: str, size: int, journal: str) -> None:
    """Note the accounts of a pool of `size`; new ones are of this `journal` of the signer."""
    query = (
        "INSERT INTO nonce (wallet, index, journal) SELECT %s, generate_series(0, %s - 1), %s"
        " ON CONFLICT DO NOTHING"
    )
    await connection.execute(query, (wallet, size, journal))


async def unread(connection: Connection) -> list[Nonce]:
    """Return the accounts that nobody holds and whose value is not known, and may be tried now."""
    query = (
        "SELECT wallet, index, value, opening_id, opening_transaction, acknowledged, reserved"
        " FROM nonce WHERE value IS NULL AND holder IS NULL AND retry_at <= now()"
        " AND NOT EXISTS (SELECT 1 FROM advance WHERE NOT done"
        " AND (advance.wallet, advance.index) = (nonce.wallet, nonce.index))"
        " ORDER BY wallet, index"
    )
    async with connection.cursor(row_factory=class_row(Nonce)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


async def unchanged(connection: Connection, nonce: Nonce) -> bool:
    """Lock the account until the transaction ends; False when another worker was here first."""
    query = (
        "SELECT 1 FROM nonce WHERE (wallet, index, reserved) = (%s, %s, %s) AND value IS NULL"
        " AND holder IS NULL AND opening_id IS NOT DISTINCT FROM %s FOR UPDATE"
    )
    values = (nonce.wallet, nonce.index, nonce.reserved, nonce.opening_id)
    return await (await connection.execute(query, values)).fetchone() is not None


@dataclass(frozen=True, slots=True)
class Opening:
    """The transaction that opens an account, its id and the signer's receipt."""

    transaction: bytes
    name: str
    receipt: bytes


async def opening(
    connection: Connection, nonce: Nonce, opening: Opening | None, reserved: int
) -> None:
    """Note how the account is opened, before anything is broadcast; None when it failed."""
    query = (
        "UPDATE nonce SET opening_transaction = %s, opening_id = %s, opening_receipt = %s,"
        " acknowledged = false, reserved = %s, opening_time = now()"
        " WHERE wallet = %s AND index = %s"
    )
    made = (opening.transaction, opening.name, opening.receipt) if opening else (None, None, None)
    await connection.execute(query, (*made, reserved, nonce.wallet, nonce.index))


async def opening_may_land(connection: Connection, nonce: Nonce, seconds: float) -> bool:
    """Tell whether the opening was signed less than `seconds` ago."""
    query = "SELECT opening_time > now() - %s FROM nonce WHERE (wallet, index) = (%s, %s)"
    values = (timedelta(seconds=seconds), nonce.wallet, nonce.index)
    row = await (await connection.execute(query, values)).fetchone()
    return bool(row and row[0])


async def read(connection: Connection, nonce: Nonce, value: bytes) -> None:
    """Note the account's present value."""
    query = "UPDATE nonce SET value = %s, reserved = 0 WHERE wallet = %s AND index = %s"
    await connection.execute(query, (value, nonce.wallet, nonce.index))


async def postpone(connection: Connection, nonce: Nonce, seconds: float) -> None:
    """Leave an account that cannot be opened yet alone for so many seconds."""
    query = "UPDATE nonce SET retry_at = now() + %s WHERE (wallet, index) = (%s, %s)"
    await connection.execute(query, (timedelta(seconds=seconds), nonce.wallet, nonce.index))


async def take(
    connection: Connection, wallet: str, size: int, holder: str, before: tuple[int, bytes] | None
) -> tuple[int, bytes] | None:
    """Give a free account to the withdrawal `holder`: (index, value), or None when none is free.

    It is one of the first `size`: the policy may have made the pool smaller.
    `before` is what the signer was asked with for the same holder. It may have reserved a message
    with it, and then signs that one for ever; so nothing else will do while the account has that
    value. Once it has another, a message of somebody else's used the value: ours does not have it.
    """
    index, value = before or (None, None)
    query = (
        "UPDATE nonce SET holder = %(holder)s WHERE (wallet, index) = (SELECT wallet, index"
        " FROM nonce WHERE wallet = %(wallet)s AND holder IS NULL AND value IS NOT NULL"
        " AND (value IS DISTINCT FROM spent AND index < %(size)s"
        " OR index = %(index)s AND value = %(value)s)"
        " AND (index = %(index)s AND value = %(value)s OR NOT EXISTS (SELECT 1 FROM nonce"
        " WHERE wallet = %(wallet)s AND index = %(index)s"
        " AND (value IS NULL OR value = %(value)s)))"
        " ORDER BY index LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING index, value"
    )
    values = {"holder": holder, "wallet": wallet, "size": size, "index": index, "value": value}
    row = await (await connection.execute(query, values)).fetchone()
    return (row[0], row[1]) if row else None


async def is_held(connection: Connection, holder: str) -> bool:
    """Tell whether `holder` has an account."""
    query = "SELECT 1 FROM nonce WHERE holder = %s"
    return await (await connection.execute(query, (holder,))).fetchone() is not None


async def give_back(connection: Connection, holder: str, spent: bytes | None = None) -> None:
    """Free the account that `holder` has; its value must be read again.

    `spent`: the signer said that this value stands in another message. It may do so for ever, so
    the account is not taken again until it has another value.
    """
    query = (
        "UPDATE nonce SET holder = NULL, value = NULL, spent = coalesce(%s, spent)"
        " WHERE holder = %s"
    )
    await connection.execute(query, (spent, holder))


async def of_before(connection: Connection, wallet: str, journal: str) -> list[int]:
    """Return the accounts on whose value a transaction of another journal may stand.

    Not those in whose transaction a withdrawal is sent: that one lands, or is killed.
    """
    query = (
        "SELECT index FROM nonce LEFT JOIN withdrawal ON digest = holder"
        " WHERE nonce.wallet = %s AND journal <> %s"
        " AND (holder IS NULL OR state = 'ENDING' AND ending <> 'FAILED')"
        " AND NOT EXISTS (SELECT 1 FROM advance WHERE NOT done"
        " AND (advance.wallet, advance.index) = (nonce.wallet, nonce.index)) ORDER BY index"
    )
    rows = await (await connection.execute(query, (wallet, journal))).fetchall()
    return [index for (index,) in rows]


async def stranded_on(connection: Connection, wallet: str, index: int) -> str | None:
    """Return the ENDING withdrawal that has the account and no transaction that custody knows.

    Once the account is advanced it has no use for it: what a lost journal signed can never land.
    """
    query = (
        "SELECT digest FROM nonce JOIN withdrawal ON digest = holder"
        " WHERE (nonce.wallet, index) = (%s, %s) AND state = 'ENDING' AND ending <> 'FAILED'"
    )
    row = await (await connection.execute(query, (wallet, index))).fetchone()
    return row[0] if row else None


async def forget_value(connection: Connection, wallet: str, index: int) -> None:
    """Let nobody take the account until its value is read again."""
    query = "UPDATE nonce SET value = NULL WHERE (wallet, index) = (%s, %s) AND holder IS NULL"
    await connection.execute(query, (wallet, index))


async def now_of(connection: Connection, wallet: str, index: int, journal: str) -> None:
    """Note that no transaction of an earlier journal can use the account."""
    query = "UPDATE nonce SET journal = %s WHERE (wallet, index) = (%s, %s)"
    await connection.execute(query, (journal, wallet, index))
