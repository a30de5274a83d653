"""Sliding windows: what one counter has let through, in buckets of constant number and size.

A counter keeps 25 buckets for every period there is, whatever windows the policy has: a window that
a later version adds or changes counts what went before it. A window's sum takes the bucket of now
and the 24 before it, so it never covers less than its period, and at most a 24th more. Time is the
signer's own count of milliseconds (`tick`), not the clock of its host.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Self

from policies.fields import AMOUNT_MAX

BUCKETS = 24
_HOUR_MS = 3_600_000
_BUCKET = struct.Struct(">BQQQ")  # period, index, amount, count


class Period(Enum):
    """The closed list of periods, in ms: each divides the next, and so do their buckets."""

    HOUR = _HOUR_MS
    DAY = 24 * _HOUR_MS
    WEEK = 7 * 24 * _HOUR_MS
    MONTH = 28 * 24 * _HOUR_MS

    @property
    def width(self) -> int:
        """Length of a bucket in ms."""
        return self.value // BUCKETS

    def __str__(self) -> str:
        """Return the form in which a policy file says it."""
        return _WORDS[self]


_WORDS = {
    Period.HOUR: "1 hour",
    Period.DAY: "24 hours",
    Period.WEEK: "7 days",
    Period.MONTH: "28 days",
}
_PERIODS = tuple(Period)


class Scope(StrEnum):
    """What a window counts. What people approved counts in APPROVED and nowhere else."""

    WALLET = "wallet"  # all that leaves without people's approval
    REQUESTER = "requester"  # of that, what one requester asked for
    DESTINATION = "destination"  # of that, what one destination got
    APPROVED = "approved"  # all that leaves with people's approval
    UPKEEP = "upkeep"  # fees and rents of what no intent asks for


@dataclass(frozen=True, slots=True)
class Window:
    """At most `amount` base units in at most `count` transactions in any `period`."""

    scope: Scope
    period: Period
    amount: int
    count: int


@dataclass(frozen=True, slots=True)
class Counter:
    """Which counter of a wallet and its asset; `holder` names the requester or destination."""

    scope: Scope
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What left while `index`, counted in widths of its period, was now."""

    period: Period
    index: int
    amount: int
    count: int


@dataclass(frozen=True, slots=True)
class Usage:
    """A counter's buckets, oldest first; at most 25 of each period."""

    buckets: tuple[Bucket, ...] = ()

    def add(self, tick: int, amount: int) -> Self:
        """Return the counter after one transaction of `amount`, fees included."""
        return self._add(tick, amount, 1)

    @classmethod
    def full(cls, tick: int) -> Self:
        """Return a counter of which nothing is left in any window, as after a recovery."""
        return cls()._add(tick, AMOUNT_MAX, AMOUNT_MAX)  # noqa: SLF001 - its own

    def spent(self, period: Period, tick: int) -> tuple[int, int]:
        """Return (amount, count) of the window that ends at `tick`."""
        counted = list(self._counted(period, tick))
        return sum(item.amount for item in counted), sum(item.count for item in counted)

    def fits_at(self, window: Window, tick: int, amount: int) -> int | None:
        """Return the first tick, from `tick` on, at which `amount` fits; None when it never does.

        Exact, if nothing else is counted until then: a bucket leaves 25 widths after it began.
        """
        if amount > window.amount or window.count < 1:
            return None
        spent, count = self.spent(window.period, tick)
        for item in self._counted(window.period, tick):
            if spent + amount <= window.amount and count < window.count:
                break
            spent, count = spent - item.amount, count - item.count
            tick = (item.index + BUCKETS + 1) * window.period.width
        return tick

    def encode(self) -> bytes:
        """Return what `decode` reads."""
        return b"".join(
            _BUCKET.pack(_PERIODS.index(item.period), item.index, item.amount, item.count)
            for item in self.buckets
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the counter that `encode` wrote; struct.error or IndexError for other bytes."""
        return cls(
            tuple(Bucket(_PERIODS[period], *rest) for period, *rest in _BUCKET.iter_unpack(data))
        )

    def _counted(self, period: Period, tick: int) -> Iterator[Bucket]:
        oldest = tick // period.width - BUCKETS
        return (b for b in self.buckets if b.period is period and b.index >= oldest)

    def _add(self, tick: int, amount: int, count: int) -> Self:
        return type(self)(
            tuple(
                bucket for period in _PERIODS for bucket in self._after(period, tick, amount, count)
            )
        )

    def _after(self, period: Period, tick: int, amount: int, count: int) -> tuple[Bucket, ...]:
        kept = tuple(self._counted(period, tick))
        index = tick // period.width
        if kept and kept[-1].index >= index:  # never before what is there, whatever the clock says
            last = kept[-1]
            kept, index = kept[:-1], last.index
            amount, count = last.amount + amount, last.count + count
        return (*kept, Bucket(period, index, min(amount, AMOUNT_MAX), min(count, AMOUNT_MAX)))
