"""The worker: serves the relay and moves withdrawals on, one step at a time, from what is stored.

Each step reads its work from the database, so that after a crash the next one goes on where it was.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from custody.domain.states import ImpossibleTransitionError
from custody.flows import (
    advance,
    apply,
    broadcast,
    end,
    fail,
    housekeeping,
    introduce,
    nonce_pool,
    receipts,
    sign,
)
from custody.flows.parts import WorkerParts
from custody.metrics import STEPS
from custody.store.database import what_to_do
from custody.store.withdrawals import StaleStateError

PAUSE_SECONDS = 0.4
FAULT_SECONDS = 2.0
log = structlog.get_logger()

Step = Callable[[WorkerParts], Awaitable[bool]]

# Each line runs on its own: a slow node does not hold up the signer.
LINES: dict[str, tuple[Step, ...]] = {
    "sign": (sign.claim, sign.ask),
    "introduce": (introduce.introduce,),
    "end": (end.ask, fail.certify),
    "receipts": (receipts.hand_over,),
    "broadcast": (broadcast.start, broadcast.send),
    "confirm": (broadcast.confirm,),
    # Vetoes before versions: one that custody has is never too late because of custody.
    "signer": (
        apply.apply_freeze,
        housekeeping.read_status,
        apply.apply_veto,
        apply.apply_policy,
        housekeeping.apply_book,
    ),
    "audit": (housekeeping.seal_events,),
    "books": (housekeeping.book_inflows, nonce_pool.keep_pool, housekeeping.expire),
    "advance": (advance.renew_pool, advance.advance),
}


async def work(parts: WorkerParts) -> None:
    """Run every line until cancelled."""
    wakes = {name: asyncio.Event() for name in LINES}
    async with asyncio.TaskGroup() as group:
        group.create_task(_listen(parts, list(wakes.values())))
        for name, steps in LINES.items():
            group.create_task(_run(parts, name, steps, wakes[name]))


async def _run(parts: WorkerParts, name: str, steps: tuple[Step, ...], wake: asyncio.Event) -> None:
    while True:
        wake.clear()
        moved = False
        for step in steps:
            moved |= await _try(parts, name, step)
        if not moved:
            await _pause(wake, PAUSE_SECONDS)


async def _try(parts: WorkerParts, name: str, step: Step) -> bool:
    outcome = "fault"
    try:
        moved = await step(parts)
        outcome = "moved" if moved else "idle"
    except (StaleStateError, ImpossibleTransitionError) as error:
        log.info("moved by somebody else", line=name, reason=str(error))
    except (OperationalError, PoolTimeout) as error:
        log.warning("database not reached", line=name, reason=str(error), next=what_to_do(error))
        await asyncio.sleep(FAULT_SECONDS)
    except Exception:
        log.exception("fault", line=name, step=step.__name__, next="trying again")
        await asyncio.sleep(FAULT_SECONDS)
    STEPS.labels(name, outcome).inc()
    return outcome == "moved"


async def _listen(parts: WorkerParts, wakes: list[asyncio.Event]) -> None:
    while True:
        try:
            async for _ in parts.database.changes():
                for wake in wakes:
                    wake.set()
        except OperationalError as error:
            log.warning(
                "database not reached", line="listen", reason=str(error), next=what_to_do(error)
            )
            await asyncio.sleep(FAULT_SECONDS)


async def _pause(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
