"""One withdrawal at a time: what goes wrong with one row stops no other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from custody import tracing
from custody.domain.states import ImpossibleTransitionError, Waiting
from custody.flows.parts import Parts
from custody.store import withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row, StaleStateError

FAULT_SECONDS = 30.0
T = TypeVar("T")
log = structlog.get_logger()


@asynccontextmanager
async def isolated(parts: Parts, row: Row, doing: str) -> AsyncIterator[None]:
    """Name the withdrawal in log lines and traces; put it off for a while when it raises."""
    with (
        structlog.contextvars.bound_contextvars(withdrawal=row.digest),
        tracing.span(doing, row.trace, withdrawal=row.digest),
    ):
        try:
            yield
        except (StaleStateError, ImpossibleTransitionError) as error:
            log.info("moved by somebody else", reason=str(error))
        except (OperationalError, PoolTimeout):
            raise
        except Exception:
            log.exception("fault", state=row.state, next="trying again later")
            async with parts.database.transaction() as connection:
                await withdrawals.postpone(connection, row, Waiting.OPERATOR, FAULT_SECONDS)


async def alone(
    parts: Parts, row: Row, work: Callable[[Connection, Row], Awaitable[T]]
) -> T | None:
    """Return what `work` makes of the row as it is now, locked, in a transaction of its own.

    None when it raised, or when somebody else has the row or has moved it.
    """
    doing = tracing.name_of(work)
    async with isolated(parts, row, doing), parts.database.transaction() as connection:
        fresh = await withdrawals.lock(connection, row)
        return await work(connection, fresh) if fresh else None
    return None
