"""Calls custody again while it does not answer: exponential backoff with jitter, to a deadline.

Only for calls that mean the same however often they arrive. gRPC's own retry policy stops after
five attempts, which an api that restarts outlasts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from secrets import SystemRandom
from typing import TypeVar

import grpc

T = TypeVar("T")
ATTEMPT_SECONDS = 10.0
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 5.0
RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


@dataclass
class Patience:
    """How long something is asked again. `seconds` in all; `attempt_seconds` for one attempt."""

    seconds: float
    attempt_seconds: float = ATTEMPT_SECONDS
    clock: Callable[[], float] = time.monotonic
    _attempt: int = field(default=0, init=False)
    _end: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start afresh: there was an answer."""
        self._attempt, self._end = 0, self.clock() + self.seconds

    def timeout(self) -> float:
        """Return how many seconds the next attempt may take; a little even after a late pause."""
        left = max(self._end - self.clock(), PAUSE_SECONDS_MIN)
        return min(self.attempt_seconds, left)

    def pause(self) -> float | None:
        """Return the seconds before the next attempt; None when patience is over."""
        pause = _pause(self._attempt)
        self._attempt += 1
        return None if self.clock() + pause >= self._end else pause


def retrying(
    call: Callable[[float], T],
    seconds: float,
    attempt_seconds: float = ATTEMPT_SECONDS,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `call(timeout in seconds)` returns; raise its last RpcError after `seconds`."""
    patience = Patience(seconds, attempt_seconds, clock)
    while True:
        try:
            return call(patience.timeout())
        except grpc.RpcError as error:
            if error.code() not in RETRIED or (pause := patience.pause()) is None:
                raise
        sleep(pause)


async def retrying_async(
    call: Callable[[float], Awaitable[T]], seconds: float, attempt_seconds: float = ATTEMPT_SECONDS
) -> T:
    """Do as `retrying` does, without holding up the event loop."""
    patience = Patience(seconds, attempt_seconds)
    while True:
        try:
            return await call(patience.timeout())
        except grpc.RpcError as error:
            if error.code() not in RETRIED or (pause := patience.pause()) is None:
                raise
        await asyncio.sleep(pause)


def _pause(attempt: int) -> float:
    """Return seconds that double with each attempt; the upper half is chance."""
    most = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2.0 ** min(attempt, 16))
    return SystemRandom().uniform(most / 2, most)
