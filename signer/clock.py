"""The signer's time: the host's clock for what people wrote down, ticks for what the signer counts.

A tick is a millisecond in which this host ran (CLOCK_BOOTTIME): ticks go on over restarts of the
process, stand still while the host is off, and do not care how the host's clock is set. Windows,
delays and cooling are counted in ticks, so that no clock empties or skips them. What reads
the host's clock (expiry, hours) is refused while that clock and the ticks disagree.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from policies.codes import Code, Refusal

DRIFT_MS = 30_000
_DRIFTS_TICKS = 24 * 3600 * 1000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the time: `wall` in Unix ms, `steady` in ms since `boot`, `tick` as we count."""

    wall: int
    steady: int
    boot: str
    tick: int = 0


Look = Callable[[], Moment]


def look() -> Moment:
    """Return what the host says; `tick` is filled in by `Clock`."""
    return Moment(
        wall=time.time_ns() // 1_000_000,
        steady=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        boot=_BOOT_ID.read_text().strip(),
    )


class Clock:
    """Goes on from `last`, the moment that the journal kept with its last entry."""

    def __init__(self, last: Moment, look: Look) -> None:
        self._last = self._believed = last
        self._look = look

    def now(self) -> Moment:
        """Return the moment, its ticks following those of the last one kept."""
        seen, last = self._look(), self._last
        if seen.boot != last.boot or seen.steady < last.steady:
            # The host was off, nobody knows for how long: not counted, the safe way.
            last = replace(seen, wall=max(seen.wall, last.wall), tick=last.tick)
            self._last = self._believed = last
        return replace(seen, tick=last.tick + seen.steady - last.steady)

    def refuse(self, moment: Moment) -> Refusal | None:
        """Return why the host's clock is not believed at `moment`, or None."""
        expected = self._believed.wall + moment.steady - self._believed.steady
        off = moment.wall - expected
        if abs(off) <= DRIFT_MS:
            return None
        way = "ahead of" if off > 0 else "behind"
        words = f"the host's clock is {abs(off) // 1000} s {way} the time that the signer counts"
        return Refusal(Code.CLOCK_DIFFERS, words)

    def kept(self, moment: Moment) -> None:
        """Note that the journal kept `moment`. Drifts of a day do not add up to those of the next.

        Not more often: who sets the clock by little, again and again, would reach any time.
        """
        self._last = moment
        if moment.tick - self._believed.tick >= _DRIFTS_TICKS:
            self._believed = moment
