"""Connections, migrations and wake-ups on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

CHANNEL = "kura"
MIGRATION_LOCK = 0x6B757261
POOL_MAX = 8
WAIT_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
_CHECK = "check that PostgreSQL runs, and `database` in the settings"


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, dsn: str, statement_seconds: float = 0) -> None:
        """`statement_seconds`: no statement takes longer; 0 for as long as it takes."""
        self._dsn, self._statement_seconds = dsn, statement_seconds
        self._changed = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=POOL_MAX,
            timeout=WAIT_SECONDS,
            open=False,
            configure=self._configure,
        )

    async def _configure(self, connection: Connection) -> None:
        milliseconds = str(round(self._statement_seconds * 1000))
        query = "SELECT set_config('statement_timeout', %s, false)"
        async with connection.transaction():
            await connection.execute(query, (milliseconds,))

    async def open(self) -> None:
        """Connect; ConnectionError when the database does not answer in time."""
        try:
            await self._pool.open(wait=True, timeout=WAIT_SECONDS)
        except PoolTimeout as error:
            await self._pool.close()
            raise ConnectionError(f"the database did not answer: {_CHECK}") from error

    async def close(self) -> None:
        """Close every connection."""
        if self._listener:
            self._listener.cancel()
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed at the end, rolled back on any exception."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    def next_change(self) -> asyncio.Event:
        """Return what is set at the next committed change. Ask before you read, then wait."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        return self._changed

    async def _listen(self) -> None:
        while True:
            with suppress(psycopg.OperationalError):
                async for _ in self.changes():
                    self._changed.set()
                    self._changed = asyncio.Event()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def changes(self) -> AsyncIterator[None]:
        """Yield once when listening, then at every committed change."""
        connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield
            async for _ in connection.notifies():
                yield


def what_to_do(error: Exception) -> str:
    """Return what an operator does about a database that failed; whoever failed tries again."""
    full = isinstance(error, psycopg.errors.DiskFull)
    next_step = "make room on the database's disk" if full else _CHECK
    return f"{next_step}; it is tried again by itself"


async def notify(connection: Connection) -> None:
    """Wake the workers when this transaction commits."""
    await connection.execute(f"NOTIFY {CHANNEL}")


async def migrate(dsn: str) -> list[str]:
    """Apply the numbered migrations that are missing, each once; return their names.

    ConnectionError when the database is not there.
    """
    applied = []
    try:
        connecting = await psycopg.AsyncConnection.connect(dsn)
    except psycopg.OperationalError as error:
        reason = str(error).partition("\n")[0]
        raise ConnectionError(f"the database did not answer: {reason}: {_CHECK}") from error
    async with connecting as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        await connection.execute("CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY)")
        rows = await (await connection.execute("SELECT name FROM migration")).fetchall()
        done = {name for (name,) in rows}
        for name, sql in _migrations():
            if name not in done:
                await connection.execute(sql)
                await connection.execute("INSERT INTO migration VALUES (%s)", (name,))
                applied.append(name)
    return applied


def _migrations() -> list[tuple[str, Any]]:
    folder = resources.files("custody") / "migrations"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return [(file.name, file.read_bytes()) for file in files if file.name.endswith(".sql")]
