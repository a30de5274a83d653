"""Ticks go on with the host, whatever its clock of the day says; and when that one is believed."""

from dataclasses import replace

import pytest

from policies.codes import Code
from signer.clock import DRIFT_MS, Clock, Moment, look
from tests.factories import HOUR, NOW

LAST = Moment(wall=NOW, steady=5_000, boot="boot-1", tick=700)


class Host:
    """A host whose clocks a test sets; time passes by `wait`."""

    def __init__(self, seen: Moment = LAST) -> None:
        self.seen = replace(seen, tick=0)
        self.clock = Clock(LAST, lambda: self.seen)

    def wait(self, milliseconds: int) -> None:
        seen = self.seen
        self.seen = replace(seen, wall=seen.wall + milliseconds, steady=seen.steady + milliseconds)

    def set(self, by: int) -> None:
        self.seen = replace(self.seen, wall=self.seen.wall + by)

    def believed(self) -> bool:
        refusal = self.clock.refuse(self.clock.now())
        assert refusal is None or refusal.code is Code.CLOCK_DIFFERS
        return refusal is None

    def tick(self) -> int:
        return self.clock.now().tick


def test_a_real_look_goes_on() -> None:
    first, second = look(), look()
    assert first.boot == second.boot
    assert 0 <= second.steady - first.steady < HOUR
    assert abs(second.wall - first.wall - (second.steady - first.steady)) < 1000


def test_ticks_follow_the_steady_clock_alone() -> None:
    host = Host()
    assert host.tick() == 700
    host.wait(HOUR)
    for by in (HOUR, -3 * HOUR, 40 * 24 * HOUR):
        host.set(by)
        assert host.tick() == 700 + HOUR


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_is_believed_up_to_half_a_minute_and_again_when_it_is_right(sign: int) -> None:
    host = Host()
    host.wait(HOUR)
    host.set(sign * DRIFT_MS)
    assert host.believed()
    host.set(sign)
    assert not host.believed()
    host.wait(HOUR)
    assert not host.believed()
    host.set(-sign)
    assert host.believed()


def test_a_reboot_counts_nothing_and_believes_what_is_later() -> None:
    host = Host(Moment(wall=NOW + 9 * HOUR, steady=60_000, boot="boot-2", tick=0))
    assert (host.tick(), host.believed()) == (700, True)
    host.wait(HOUR)
    assert (host.tick(), host.believed()) == (700 + HOUR, True)
    host.set(HOUR)
    assert not host.believed()


def test_a_reboot_into_an_earlier_time_is_not_believed_until_it_is_right() -> None:
    host = Host(Moment(wall=NOW - DRIFT_MS - 1, steady=60_000, boot="boot-2", tick=0))
    assert not host.believed()
    host.set(1)
    assert host.believed()


def test_the_first_lease_of_a_boot_sets_right_what_an_earlier_boot_believed() -> None:
    host = Host(Moment(wall=NOW - 9 * HOUR, steady=60_000, boot="boot-2", tick=0))
    now = host.clock.now()
    assert not host.believed()
    assert host.clock.refuse_lease(now) is None
    host.clock.lift(now, now.wall)
    assert host.believed()
    host.set(HOUR)
    assert not host.believed()
    assert host.clock.refuse_lease(host.clock.now())


def test_in_the_same_boot_a_lease_does_not_make_a_clock_believed() -> None:
    host = Host()
    host.set(HOUR)
    assert host.clock.refuse_lease(host.clock.now()) == host.clock.refuse(host.clock.now())


def test_a_steady_clock_that_went_back_is_a_reboot() -> None:
    host = Host(replace(LAST, steady=4_999))
    assert (host.tick(), host.believed()) == (700, True)
    host.wait(10)
    assert host.tick() == 710


@pytest.mark.parametrize("step", [DRIFT_MS, -DRIFT_MS])
def test_small_steps_do_not_walk_the_clock_away(step: int) -> None:
    """Who sets the clock, and has something written in between, would reach any time of day."""
    host = Host()
    believed = 0
    for _ in range(10):
        host.set(step)
        host.wait(1000)
        if host.believed():
            host.clock.kept(host.clock.now())
            believed += 1
    assert believed == 1


def test_a_clock_that_is_set_right_now_and_then_stays_believed() -> None:
    host = Host()
    for _ in range(10):
        host.wait(25 * HOUR)
        host.set(20_000)
        assert host.believed()
        host.clock.kept(host.clock.now())
    host.set(20_000)
    host.wait(HOUR)
    assert host.believed()
    assert host.tick() == 700 + 251 * HOUR
