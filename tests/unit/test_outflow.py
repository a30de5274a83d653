"""The fastest schedule, against what windows themselves say and against every other start."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from policies.outflow import Limit, Source, fastest, most
from policies.windows import Period, Scope, Usage, Window
from tests.factories import HOUR
from tests.strategies import PROPERTY

MONTH = Period.MONTH.value
limits = st.lists(
    st.builds(Limit, st.sampled_from(Period), st.integers(1, 60)),
    min_size=1,
    max_size=4,
    unique_by=lambda limit: limit.period,
).map(tuple)
starts = st.integers(0, Period.MONTH.width - 1)


def fits(usage: Usage, of: tuple[Limit, ...], tick: int, amount: int) -> bool:
    windows = [Window(Scope.WALLET, limit.period, limit.amount, 10**9) for limit in of]
    return all(usage.fits_at(window, tick, amount) == tick for window in windows)


@PROPERTY
@given(limits, starts)
def test_windows_let_the_schedule_through_and_nothing_more(
    of: tuple[Limit, ...], start: int
) -> None:
    flow, usage = fastest(of, start), Usage()
    for before, tick in pairwise([start - 1, *flow.ticks]):
        assert not fits(usage, of, tick - 1, 1) or before == start - 1
        amount = flow.before(tick + 1) - flow.before(tick)
        assert fits(usage, of, tick, amount)
        usage = usage.add(tick, amount)
        assert not fits(usage, of, tick, 1)


@PROPERTY
@given(limits, starts, st.sampled_from(Period))
def test_no_other_start_lets_more_through(
    of: tuple[Limit, ...], start: int, period: Period
) -> None:
    total, schedule = most([Source("all", of, 1)], period.value)
    assert total == sum(spend.amount for spend in schedule)
    assert all(0 <= spend.offset <= period.value for spend in schedule)
    assert fastest(of, start).before(start + period.value + 1) <= total


def test_a_window_is_free_again_when_its_25th_bucket_has_passed() -> None:
    _, schedule = most([Source("all", (Limit(Period.HOUR, 7),), 3)], 3 * HOUR)
    width = Period.HOUR.width
    assert [spend.offset for spend in schedule] == [0, HOUR + 1, HOUR + 1 + 25 * width]
    assert {(spend.amount, spend.count) for spend in schedule} == {(7, 3)}


def test_both_ends_of_a_period_count() -> None:
    day = Source("all", (Limit(Period.DAY, 5),), 5)
    assert [most([day], span)[0] for span in (24 * HOUR, 24 * HOUR + 1, 49 * HOUR)] == [5, 10, 10]
    assert most([day], 49 * HOUR + 1)[0] == 15


def test_the_shares_bound_the_whole() -> None:
    first = (Limit(Period.HOUR, 1), Limit(Period.DAY, 10))
    second = (Limit(Period.HOUR, 2), Limit(Period.DAY, 12))
    whole = (Limit(Period.HOUR, 3), Limit(Period.DAY, 22))
    assert most([Source("all", whole, 1)], 8 * HOUR)[0] == 22
    shares = most([Source("all", whole, 1, (first, second))], 8 * HOUR)[0]
    alone = [most([Source("all", share, 1)], 8 * HOUR)[0] for share in (first, second)]
    assert shares == sum(alone) == 20


def test_without_limits_nothing_leaves() -> None:
    assert most([], MONTH) == (0, ())
