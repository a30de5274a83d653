"""Asking again: which answers, for how long, how patiently. A clock of the test's own."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

import grpc
import pytest

from custody.retrying import ATTEMPT_SECONDS, PAUSE_SECONDS_MAX, retrying
from tests.memory_custody import CallError

CODE = grpc.StatusCode


@dataclass
class Clock:
    now: float = 1_000.0
    pauses: list[float] = field(default_factory=list)

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    "code", [CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED, CODE.RESOURCE_EXHAUSTED]
)
def test_no_answer_is_asked_again_until_time_is_over(code: grpc.StatusCode) -> None:
    clock, timeouts = Clock(), list[float]()

    def call(timeout: float) -> NoReturn:
        timeouts.append(timeout)
        clock.now += 0.01
        raise CallError(code, "")

    with pytest.raises(CallError):
        retrying(call, 60, clock=clock.read, sleep=clock.sleep)
    assert 1_050 < clock.now <= 1_060
    assert len(timeouts) > 10
    assert all(0 < timeout <= ATTEMPT_SECONDS for timeout in timeouts)


def test_pauses_grow_and_stay_bounded() -> None:
    clock = Clock()

    def call(_: float) -> NoReturn:
        raise CallError(CODE.UNAVAILABLE, "")

    with pytest.raises(CallError):
        retrying(call, 120, clock=clock.read, sleep=clock.sleep)
    assert clock.pauses[0] <= 0.05
    assert all(later < 4 * earlier for earlier, later in pairwise(clock.pauses))
    assert PAUSE_SECONDS_MAX / 2 <= clock.pauses[-1] <= PAUSE_SECONDS_MAX
    assert len(set(clock.pauses)) == len(clock.pauses)


@pytest.mark.parametrize("code", [CODE.PERMISSION_DENIED, CODE.ALREADY_EXISTS, CODE.INTERNAL])
def test_an_answer_is_not_asked_again(code: grpc.StatusCode) -> None:
    clock = Clock()

    def call(_: float) -> NoReturn:
        raise CallError(code, "")

    with pytest.raises(CallError):
        retrying(call, 60, clock=clock.read, sleep=clock.sleep)
    assert clock.pauses == []


def test_a_late_answer_is_returned_with_what_time_is_left() -> None:
    clock, timeouts = Clock(), list[float]()

    def call(timeout: float) -> str:
        timeouts.append(timeout)
        if len(timeouts) < 3:
            clock.now += timeout
            raise CallError(CODE.DEADLINE_EXCEEDED, "")
        return "yes"

    assert retrying(call, 25, clock=clock.read, sleep=clock.sleep) == "yes"
    assert timeouts[:2] == [ATTEMPT_SECONDS, ATTEMPT_SECONDS]
    assert 4 < timeouts[2] < 5


def test_a_pause_that_ends_late_leaves_an_attempt() -> None:
    """A machine under load: what is raised is still an answer, no deadline that was past before."""
    clock, timeouts = Clock(), list[float]()

    def call(timeout: float) -> NoReturn:
        timeouts.append(timeout)
        raise CallError(CODE.UNAVAILABLE, "")

    def oversleep(seconds: float) -> None:
        clock.sleep(seconds + 60)

    with pytest.raises(CallError) as caught:
        retrying(call, 60, clock=clock.read, sleep=oversleep)
    assert caught.value.code() is CODE.UNAVAILABLE
    assert len(timeouts) == 2
    assert 0 < timeouts[-1] < 1
