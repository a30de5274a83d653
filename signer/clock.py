"""The signer's time: the host's clock for what people wrote down, ticks for what the signer counts.

A tick is Unix ms by the watchtower's clock: each lease lifts it to its time, and CLOCK_BOOTTIME
moves it on, over restarts of the process too. It never goes back: where the host's oscillator runs
faster than the watchtower's, it stands still until leases have caught up. It stands still while the
host is off, and does not care how the host's clock is set. Windows, delays and cooling are counted
in ticks, so that no clock empties or skips them. What reads the host's clock (expiry, hours, when a
lease was made) is refused while that clock and CLOCK_BOOTTIME disagree.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from policies.codes import Code, Refusal

DRIFT_MS = 30_000
_DRIFTS_MS = 24 * 3600 * 1000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the time: `wall` in Unix ms, `steady` in ms since `boot`, `tick` as we count."""

    wall: int
    steady: int
    boot: str
    tick: int


Look = Callable[[], Moment]


def look() -> Moment:
    """Return what the host says; its clock is the tick until a `Clock` counts on from a journal."""
    wall = time.time_ns() // 1_000_000
    return Moment(
        wall=wall,
        steady=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        boot=_BOOT_ID.read_text().strip(),
        tick=wall,
    )


class Clock:
    """Goes on from `last`, the moment that the journal kept with its last entry."""

    def __init__(self, last: Moment, look: Look) -> None:
        self._last = self._believed = last
        self._floor = last.tick
        self._tentative = False  # nobody has confirmed the host's clock since it started
        self._look = look

    def now(self) -> Moment:
        """Return the moment, its ticks following those of the last one kept."""
        seen, last = self._look(), self._last
        if seen.boot != last.boot or seen.steady < last.steady:
            # The host was off, nobody knows for how long: not counted, the safe way.
            last = replace(seen, wall=max(seen.wall, last.wall), tick=self._floor)
            self._last = self._believed = last
            self._tentative = True
        return replace(seen, tick=max(self._floor, last.tick + seen.steady - last.steady))

    def lift(self, moment: Moment, time: int) -> None:
        """Go on from the time of a lease that came at `moment`, and agrees with the host's clock.

        The first of a boot sets right what an earlier boot believed: a clock that was ahead once
        would lock the signer until then.
        """
        self._last, self._floor = replace(moment, tick=time), moment.tick
        if self._tentative:
            self._believed, self._tentative = moment, False

    def refuse(self, moment: Moment) -> Refusal | None:
        """Return why the host's clock is not believed at `moment`, or None."""
        off = moment.wall - self.trusted(moment).wall
        if abs(off) <= DRIFT_MS:
            return None
        way = "ahead of" if off > 0 else "behind"
        words = f"the host's clock is {abs(off) // 1000} s {way} the time that the signer counts"
        return Refusal(Code.CLOCK_DIFFERS, words)

    def trusted(self, moment: Moment) -> Moment:
        """Return the moment with the time of day that goes on from the last one believed."""
        believed = self._believed
        return replace(moment, wall=believed.wall + moment.steady - believed.steady)

    def refuse_lease(self, moment: Moment) -> Refusal | None:
        """Return why no lease is taken at `moment`: as `refuse`, but for the first of a boot."""
        return None if self._tentative else self.refuse(moment)

    def kept(self, moment: Moment) -> None:
        """Note that the journal kept `moment`. Drifts of a day do not add up to those of the next.

        Not more often: who sets the clock by little, again and again, would reach any time.
        """
        self._floor = moment.tick
        if moment.steady - self._believed.steady >= _DRIFTS_MS and not self.refuse(moment):
            self._believed = moment
