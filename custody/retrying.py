"""Calls custody again while it does not answer: exponential backoff with jitter, to a deadline.

Only for calls that mean the same however often they arrive. gRPC's own retry policy stops after
five attempts, which an api that restarts outlasts.
"""

import time
from collections.abc import Callable
from itertools import count
from secrets import SystemRandom
from typing import TypeVar

import grpc

T = TypeVar("T")
ATTEMPT_SECONDS = 10.0
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 5.0
_RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


def retrying(
    call: Callable[[float], T],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `call(timeout in seconds)` returns; raise its last RpcError after `seconds`."""
    end = clock() + seconds
    for attempt in count():
        try:
            return call(min(ATTEMPT_SECONDS, end - clock()))
        except grpc.RpcError as error:
            pause = _pause(attempt)
            if error.code() not in _RETRIED or clock() + pause >= end:
                raise
        sleep(pause)
    raise AssertionError("count() ended")


def _pause(attempt: int) -> float:
    """Return seconds that double with each attempt; the upper half is chance."""
    most = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2.0 ** min(attempt, 16))
    return SystemRandom().uniform(most / 2, most)
