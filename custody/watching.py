"""WatchWithdrawals: every change of state after a cursor, in the audit log's order, once each.

The cursor is a position of the sealed log: no event ever comes before one that was shown, so that a
client which keeps it misses nothing and sees nothing twice, whatever breaks or starts anew. It
names the event's hash too: in a log that was restored and went on, others have those positions.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from custody.domain.audit import AuditEvent
from custody.flows.parts import Parts
from custody.paging import marked_token, open_marked
from custody.store import audit, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from custody.views import timestamp
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal

EVENTS_AT_ONCE = 200
QUIET_SECONDS = 15.0
Show = Callable[[Connection, Sequence[Row]], Awaitable[list[wire.Withdrawal]]]


class WatchRefusedError(Exception):
    """The request cannot be watched."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def watch(
    parts: Parts, requester: str, request: wire.WatchWithdrawalsRequest, show: Show
) -> AsyncIterator[wire.WatchWithdrawalsResponse]:
    """Yield responses for ever; of one requester's withdrawals, "" for all."""
    (position, mark), quiet = await _start(parts, request), 0.0  # the first answer comes at once
    while True:
        change = parts.database.next_change()
        async with parts.database.transaction() as connection:
            await audit.seal_all(connection)
            head, newest = await audit.head(connection)
            events = await audit.steps(
                connection, position, EVENTS_AT_ONCE, upto=head, requester=requester
            )
            responses = await _responses(connection, events, show)
        for response in responses:
            yield response
        if len(events) == EVENTS_AT_ONCE:
            position, mark = events[-1].position, events[-1].hash
            continue
        if head > position:
            position, mark = head, newest
        if not events and not (quiet and await _set_within(change, quiet)):
            yield wire.WatchWithdrawalsResponse(cursor=marked_token(position, mark))
        quiet = QUIET_SECONDS


async def _start(parts: Parts, request: wire.WatchWithdrawalsRequest) -> tuple[int, str]:
    """Return position and hash of the event after which to start."""
    marked = open_marked(request.cursor)
    if marked is None or (request.cursor and request.skip_past):
        words = "the cursor is not one of ours, or comes with skip_past"
        raise WatchRefusedError(Refusal(Code.ARGUMENT_INVALID, words, field="cursor"))
    position, mark = marked
    async with parts.database.transaction() as connection:
        await audit.seal_all(connection)
        if request.skip_past:
            return await audit.head(connection)
        found = await audit.hash_at(connection, position)
    if found is None or not found.startswith(mark):
        words = "the cursor is of another log: custody was restored from a backup. Compare every"
        words += " open order with GetWithdrawal, then watch with skip_past"
        raise WatchRefusedError(Refusal(Code.ARGUMENT_INVALID, words, field="cursor"))
    return position, found


async def _responses(
    connection: Connection, events: Sequence[AuditEvent], show: Show
) -> list[wire.WatchWithdrawalsResponse]:
    digests = [event.subject.removeprefix("withdrawals/") for event in events]
    rows = await withdrawals.named(connection, sorted({*digests}))
    shown = dict(zip(rows, await show(connection, list(rows.values())), strict=True))
    return [
        wire.WatchWithdrawalsResponse(
            cursor=marked_token(event.position, event.hash),
            event=event.event,
            state=f"WITHDRAWAL_STATE_{event.details['state']}",
            event_time=timestamp(datetime.fromtimestamp(event.time / 1000, UTC)),
            withdrawal=shown[digest],
        )
        for event, digest in zip(events, digests, strict=True)
    ]


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
