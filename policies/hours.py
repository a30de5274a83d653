"""Hours of the day, in a time zone, in which a rule signs: "mon-fri 09:00-18:00 Asia/Tokyo"."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

ALWAYS = "always"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIRST_MS = 31_536_000_000  # 1971
_LAST_MS = 253_000_000_000_000  # in the year 9987: calendars end in 9999
_HOURS = re.compile(
    r"([a-z]{3})-([a-z]{3}) ([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2}) "
    r"(UTC|[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)+)",  # not `localtime`: that is each host's own
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Hours:
    """Open from `opens` until `closes` of the zone's clock on `days` (0 is Monday)."""

    text: str
    days: tuple[int, ...]
    opens: time
    closes: time
    zone: str

    def __str__(self) -> str:
        """Return the form in which a policy file says it."""
        return self.text

    def opens_at(self, now: int) -> int:
        """Return the first moment from `now` on when it is open, both in Unix ms.

        Outside the calendar (years 1971 to 9987) it is closed; of hours that a change of the clock
        leaves empty on some day, that day has none.
        """
        if not _FIRST_MS <= now <= _LAST_MS:
            return max(now, _LAST_MS) + 1
        zone = _zone(self.zone)
        moment = datetime.fromtimestamp(now / 1000, UTC)
        local = moment.astimezone(zone)
        for ahead in range(16):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() not in self.days:
                continue
            opens = datetime.combine(day, self.opens, zone).astimezone(UTC)
            closes = datetime.combine(day, self.closes, zone).astimezone(UTC)
            if max(moment, opens) < closes:
                return max(now, int(opens.timestamp() * 1000))
        raise AssertionError("hours open on one day of any two weeks")


def parse_hours(text: object) -> Hours | None:
    """Return the hours, None for "always"; ValueError with the reason."""
    if text == ALWAYS:
        return None
    match = _HOURS.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[1] not in DAYS or match[2] not in DAYS:
        raise ValueError('must be "always", or for example "mon-fri 09:00-18:00 Asia/Tokyo"')
    first, last = DAYS.index(match[1]), DAYS.index(match[2])
    days = tuple(sorted((first + step) % 7 for step in range((last - first) % 7 + 1)))
    try:
        opens, closes = time.fromisoformat(match[3]), time.fromisoformat(match[4])
    except ValueError:
        raise ValueError("has a time that no clock shows: write 00:00 to 23:59") from None
    if opens >= closes:
        raise ValueError("must open before it closes, on the same day")
    try:
        _zone(match[5])
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{match[5]} is no time zone that is known here") from None
    return Hours(match[0], days, opens, closes, match[5])


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
