"""Sliding windows: never less than the period, at most a 24th more; exact about room."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.fields import AMOUNT_MAX
from policies.windows import BUCKETS, Bucket, Counter, Period, Scope, Usage, Window
from tests.factories import NOW
from tests.strategies import PROPERTY

WIDTH = Period.DAY.width  # an hour
START = NOW - NOW % WIDTH  # a bucket's first moment
each_period = pytest.mark.parametrize("period", Period, ids=str)


def window(amount: int = 100, count: int = 1000, period: Period = Period.DAY) -> Window:
    return Window(Scope.WALLET, period, amount, count)


def spent(*steps: tuple[int, int]) -> Usage:
    """Return the counter after (tick, amount) each."""
    usage = Usage()
    for tick, amount in steps:
        usage = usage.add(tick, amount)
    return usage


@each_period
def test_a_window_takes_the_bucket_of_now_and_the_24_before_it(period: Period) -> None:
    width = period.width
    assert period.value == BUCKETS * width
    first = NOW - NOW % width
    for tick in (first, first + width - 1):  # early and late in its bucket
        usage = spent((tick, 7))
        assert usage.spent(period, tick) == (7, 1)
        assert usage.spent(period, tick + period.value) == (7, 1)
        assert usage.spent(period, first + 25 * width - 1) == (7, 1)
        assert usage.spent(period, first + 25 * width) == (0, 0)


@each_period
def test_it_says_exactly_when_there_is_room(period: Period) -> None:
    first = NOW - NOW % period.width
    usage = spent((first, 60), (first + period.width, 30))
    asks = window(100, period=period)
    now = first + 2 * period.width
    assert usage.fits_at(asks, now, 10) == now
    assert usage.fits_at(asks, now, 11) == first + 25 * period.width
    assert usage.fits_at(asks, now, 70) == first + 25 * period.width
    assert usage.fits_at(asks, now, 71) == first + 26 * period.width
    assert usage.fits_at(asks, now, 100) == first + 26 * period.width
    assert usage.fits_at(asks, now, 101) is None


def test_a_count_is_a_limit_of_its_own() -> None:
    usage = spent((START, 1), (START, 1), (START + WIDTH, 1))
    now = START + 2 * WIDTH
    assert usage.fits_at(window(count=4), now, 1) == now
    assert usage.fits_at(window(count=3), now, 1) == START + 25 * WIDTH
    assert usage.fits_at(window(count=1), now, 1) == START + 26 * WIDTH
    assert usage.fits_at(window(count=0), now, 1) is None
    assert Usage().fits_at(window(count=0), now, 1) is None


def test_a_full_counter_has_no_room_until_every_bucket_left() -> None:
    usage = Usage.full(START)
    for period in Period:
        asks = window(AMOUNT_MAX, 10**9, period)
        first = START - START % period.width
        assert usage.fits_at(asks, START, 1) == first + 25 * period.width
        assert usage.fits_at(asks, first + 25 * period.width, AMOUNT_MAX) is not None
    assert Usage.full(START).add(START, 5) == Usage.full(START)  # no sum outgrows its field


def test_a_clock_that_goes_back_empties_nothing() -> None:
    usage = spent((START, 60), (START - 100 * WIDTH, 30))
    assert usage.spent(Period.DAY, START - 100 * WIDTH) == (90, 2)
    assert usage.spent(Period.DAY, START) == (90, 2)
    assert usage.fits_at(window(), START - 100 * WIDTH, 11) == START + 25 * WIDTH
    assert usage.add(START + WIDTH, 1).spent(Period.DAY, START + WIDTH) == (91, 3)


def test_what_a_later_version_asks_counts_what_went_before_it() -> None:
    """Whatever windows the policy had: a changed period resets nothing."""
    usage = spent(*((START + hour * WIDTH, 1) for hour in range(48)))
    now = START + 47 * WIDTH
    assert [usage.spent(period, now)[0] for period in Period] == [2, 25, 48, 48]


def test_a_counter_is_of_constant_size() -> None:
    usage = spent(*((START + step * WIDTH // 30, 1) for step in range(3000)))
    for period in Period:
        assert len([item for item in usage.buckets if item.period is period]) <= BUCKETS + 1
    assert len(usage.encode()) <= len(Period) * (BUCKETS + 1) * 25


@pytest.mark.parametrize("data", [b"\0", bytes(24), bytes(26), b"\x04" + bytes(24)])
def test_other_bytes_are_no_counter(data: bytes) -> None:
    with pytest.raises((struct.error, IndexError)):
        Usage.decode(data)


def test_counters_are_told_apart_by_scope_and_holder() -> None:
    assert Counter(Scope.REQUESTER, "exchange") != Counter(Scope.DESTINATION, "exchange")
    assert len({Counter(Scope.WALLET), Counter(Scope.WALLET), Counter(Scope.APPROVED)}) == 2


some_steps = st.lists(
    st.tuples(st.integers(0, 60 * Period.DAY.value), st.integers(1, AMOUNT_MAX)), max_size=30
)


@PROPERTY
@given(some_steps)
def test_a_counter_survives_the_journal(steps: list[tuple[int, int]]) -> None:
    usage = spent(*steps)
    assert Usage.decode(usage.encode()) == usage
    assert all(isinstance(item, Bucket) for item in usage.buckets)


@PROPERTY
@given(some_steps.map(sorted), st.sampled_from(Period))
def test_a_window_never_forgets_what_is_in_its_period(
    steps: list[tuple[int, int]], period: Period
) -> None:
    """With a clock that goes on: all of the period counts, and nothing from a 24th before it."""
    now = max((tick for tick, _ in steps), default=0)
    amount, count = spent(*steps).spent(period, now)
    least = [a for tick, a in steps if tick > now - period.value]
    most = [a for tick, a in steps if tick > now - period.value - period.width]
    assert len(least) <= count <= len(most)
    assert min(sum(least), AMOUNT_MAX) <= amount <= sum(most)


@PROPERTY
@given(
    some_steps,
    st.integers(0, 70 * Period.DAY.value),
    st.integers(1, 10**6),
    st.builds(
        window, st.integers(1, AMOUNT_MAX), st.integers(0, 40), period=st.sampled_from(Period)
    ),
)
def test_room_is_there_then_and_not_a_moment_before(
    steps: list[tuple[int, int]], now: int, amount: int, asks: Window
) -> None:
    usage = spent(*steps)
    at = usage.fits_at(asks, now, amount)
    if at is None:
        assert amount > asks.amount or asks.count < 1
        return
    assert at >= now
    assert usage.fits_at(asks, at, amount) == at
    spent_then, count_then = usage.spent(asks.period, at)
    assert spent_then + amount <= asks.amount
    assert count_then < asks.count
    if at > now:
        assert usage.fits_at(asks, at - 1, amount) == at
