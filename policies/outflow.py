"""How much can leave under sliding windows at most, and the fastest schedule that does it.

A window says that what left until now, less what left before the window began, is at most its
amount. So the schedule that at each tick takes all that is left is never behind any other: by
induction over ticks, no other has taken more by then. A window begins 24 buckets before the bucket
of now: what left in bucket i is free again when bucket i + 25 begins.

Where the schedule starts matters. Within a bucket the last tick is best, since what is freed is
freed at the same tick. The last bucket before all periods' buckets begin anew is nearly always
best among the buckets; where a plain sum does not prove it, all starts that differ are tried.

Written from this definition, not from `windows.Usage`, with which the signer counts: so that one
is tested against the other. Ticks are in ms, amounts in base units.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from policies.windows import BUCKETS, Period

BUCKETS_COUNTED = BUCKETS + 1  # the bucket of now and the 24 before it
_BEST_START = -1  # at tick 0 a bucket of every period begins


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` base units leave in any window of `period`."""

    period: Period
    amount: int


@dataclass(frozen=True, slots=True)
class Source:
    """Money that leaves in one way: all of it within `limits`, each of its shares within its own.

    `largest`: base units that one transaction takes at most, fees included.
    """

    name: str
    limits: tuple[Limit, ...]
    largest: int
    shares: tuple[tuple[Limit, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Spend:
    """What leaves `offset` ms after the start: base units, in so many transactions at least."""

    offset: int
    source: str
    amount: int
    count: int


@dataclass(frozen=True, slots=True)
class Flow:
    """What has left by each tick at which something leaves, in base units."""

    ticks: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def before(self, tick: int) -> int:
        """Return what left before `tick`."""
        index = bisect_left(self.ticks, tick)
        return self.totals[index - 1] if index else 0

    def add(self, tick: int, total: int) -> bool:
        """Note what has left by `tick`; False when that is nothing more."""
        grows = total > (self.totals[-1] if self.totals else 0)
        if grows:
            self.ticks.append(tick)
            self.totals.append(total)
        return grows


def most(sources: Sequence[Source], span: int) -> tuple[int, tuple[Spend, ...]]:
    """Return the most that leaves in any `span` ms, and a schedule that does it.

    Both ends count: what leaves at once, and `span` later.
    """
    start, total = _BEST_START, _total(sources, _BEST_START, span)
    if total < sum(_ceiling(source, span) for source in sources):
        for other in _starts(sources, span):
            if _total(sources, other, span) > total:
                start, total = other, _total(sources, other, span)
    schedule = (spend for source in sources for spend in _spends(source, start, span))
    return total, tuple(sorted(schedule, key=lambda spend: spend.offset))


def largest_sum(amount: int, count: int, least: int, largest: int) -> int:
    """Return the largest sum, up to `amount`, of up to `count` parts of `least` to `largest`."""
    full = min(count, amount // largest) if largest else 0
    fits_another = full < count and (full + 1) * least <= amount
    return amount if fits_another else full * largest


@lru_cache(maxsize=4096)
def fastest(limits: Sequence[Limit], start: int) -> Flow:
    """Return the schedule within all `limits` that is never behind another that begins there.

    Nothing has left before. It ends with the longest period.
    """
    flow, due = Flow(), [start]
    while due and due[0] <= start + Period.MONTH.value:
        tick = heapq.heappop(due)
        rooms = (limit.amount + flow.before(_begin(limit, tick)) for limit in limits)
        if flow.add(tick, min(rooms, default=0)):
            for width in {limit.period.width for limit in limits}:
                heapq.heappush(due, (tick // width + BUCKETS_COUNTED) * width)
    return flow


def _begin(limit: Limit, tick: int) -> int:
    """Return the first tick of the window that ends at `tick`."""
    width = limit.period.width
    return (tick // width + 1 - BUCKETS_COUNTED) * width


def _flow(source: Source, start: int) -> Flow:
    """Return the fastest schedule of all, never ahead of the fastest of the shares together."""
    whole = fastest(source.limits, start)
    if len(source.shares) < 2:  # noqa: PLR2004 - then the share is the whole
        return whole
    shares = [fastest(limits, start) for limits in source.shares]
    flow = Flow()
    for tick in sorted({tick for part in (whole, *shares) for tick in part.ticks}):
        together = sum(share.before(tick + 1) for share in shares)
        flow.add(tick, min(whole.before(tick + 1), together))
    return flow


def _total(sources: Iterable[Source], start: int, span: int) -> int:
    return sum(_flow(source, start).before(start + span + 1) for source in sources)


def _spends(source: Source, start: int, span: int) -> Iterator[Spend]:
    flow, last = _flow(source, start), 0
    for tick, total in zip(flow.ticks, flow.totals, strict=True):
        if tick <= start + span:
            amount, last = total - last, total
            yield Spend(tick - start, source.name, amount, -(-amount // source.largest))


def _starts(sources: Iterable[Source], span: int) -> Iterable[int]:
    """Return the starts that differ; a window as long as `span` holds all of it from any."""
    periods = {limit.period for source in sources for limit in source.limits}
    widths = sorted(period.width for period in periods if period.value < span)
    return range(widths[0] - 1, widths[-1] - 1, widths[0]) if widths else ()


def _ceiling(source: Source, span: int) -> int:
    """Return what no schedule can pass: each limit by itself, as often as it is free again."""
    whole = _alone(source.limits, span)
    shares = [_alone(share, span) for share in source.shares]
    return min(whole, sum(shares)) if shares else whole


def _alone(limits: Iterable[Limit], span: int) -> int:
    return min((limit.amount * _takes(limit.period, span) for limit in limits), default=0)


def _takes(period: Period, span: int) -> int:
    if span <= period.value:
        return 1
    return 2 + (span - 1 - period.value) // (BUCKETS_COUNTED * period.width)
