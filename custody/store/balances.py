"""Our own books per wallet, in base units. A CHECK keeps what is promised within `total`.

What comes in is set aside for the withdrawals that wait for funds, the oldest first, until each has
what it needs; a later one may use only what is free besides. So a large one gets its turn, and
small ones do not wait behind it for what was there already.
"""

from dataclasses import dataclass

from psycopg.rows import class_row

from custody.store.database import Connection


@dataclass(frozen=True, slots=True)
class Balance:
    """What a wallet holds, and how much of it is reserved."""

    wallet: str
    asset: str
    total: int
    in_use: int


async def open_wallet(connection: Connection, wallet: str, asset: str, minimum: int) -> None:
    """Open the books of a wallet, or note the chain's new minimum."""
    query = (
        "INSERT INTO balance (wallet, asset, minimum) VALUES (%s, %s, %s)"
        " ON CONFLICT (wallet) DO UPDATE SET minimum = excluded.minimum"
    )
    await connection.execute(query, (wallet, asset, minimum))


async def page(connection: Connection, after: str, size: int) -> list[Balance]:
    """Return balances of wallets that sort after `after`."""
    query = (
        "SELECT wallet, asset, total, in_use FROM balance"
        " WHERE wallet > %s ORDER BY wallet LIMIT %s"
    )
    async with connection.cursor(row_factory=class_row(Balance)) as cursor:
        await cursor.execute(query, (after, size))
        return await cursor.fetchall()


async def total_and_inflows(connection: Connection, wallet: str) -> tuple[int, int]:
    """Return what our books say the wallet holds, and how many inflows they have."""
    query = (
        "SELECT total, (SELECT count(*) FROM ledger_entry WHERE wallet = %s AND kind = 'inflow')"
        " FROM balance WHERE wallet = %s"
    )
    row = await (await connection.execute(query, (wallet, wallet))).fetchone()
    return (row[0], row[1]) if row else (0, 0)


async def reserve(connection: Connection, wallet: str, amount: int, set_aside: int = 0) -> bool:
    """Put `amount` in use; False when less than that is free above the chain's minimum.

    `set_aside` is the part of it that has been set aside before.
    """
    query = (
        "UPDATE balance SET in_use = in_use + %(amount)s, set_aside = set_aside - %(set_aside)s"
        " WHERE wallet = %(wallet)s"
        " AND total - in_use - minimum - (set_aside - %(set_aside)s) >= %(amount)s"
    )
    values = {"amount": amount, "set_aside": set_aside, "wallet": wallet}
    return (await connection.execute(query, values)).rowcount == 1


async def set_aside(connection: Connection, wallet: str, inflow: int, fee: int) -> None:
    """Share what came in among those that wait for funds, oldest first, each up to its need.

    A withdrawal needs its amount and `fee`, the most that its fee can be.
    """
    query = (
        "SELECT digest, amount + %s - set_aside FROM withdrawal WHERE wallet = %s"
        " AND state = 'QUEUED' AND waiting_for = 'FUNDS' AND amount + %s > set_aside"
        " ORDER BY sequence FOR UPDATE"
    )
    waiting = await (await connection.execute(query, (fee, wallet, fee))).fetchall()
    shared = 0
    for digest, need in waiting:
        share = min(need, inflow - shared)
        if share <= 0:
            break
        query = "UPDATE withdrawal SET set_aside = set_aside + %s WHERE digest = %s"
        await connection.execute(query, (share, digest))
        shared += share
    query = "UPDATE balance SET set_aside = set_aside + %s WHERE wallet = %s"
    await connection.execute(query, (shared, wallet))


async def put_back(connection: Connection, wallet: str, amount: int) -> None:
    """Free what was set aside for a withdrawal that needs it no more."""
    query = "UPDATE balance SET set_aside = set_aside - %s WHERE wallet = %s"
    await connection.execute(query, (amount, wallet))


async def release(connection: Connection, wallet: str, amount: int) -> None:
    """Free what was in use."""
    query = "UPDATE balance SET in_use = in_use - %s WHERE wallet = %s"
    await connection.execute(query, (amount, wallet))


async def book(connection: Connection, wallet: str, kind: str, amount: int, reference: str) -> bool:
    """Book one movement once per (kind, reference); False when it was booked before."""
    query = (
        "INSERT INTO ledger_entry (wallet, kind, amount, reference) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING"
    )
    if (await connection.execute(query, (wallet, kind, amount, reference))).rowcount != 1:
        return False
    query = "UPDATE balance SET total = total + %s WHERE wallet = %s"
    await connection.execute(query, (amount, wallet))
    return True
