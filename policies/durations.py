"""Spans of time as people write them ("24 hours") and as they are counted: milliseconds."""

import re

from policies.windows import Period

DAYS_MAX = 365
_UNIT_MS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_SPAN = re.compile(r"(0|[1-9][0-9]{0,6}) (second|minute|hour|day)(s?)", re.ASCII)


def parse_duration(text: object) -> int:
    """Return ms of a text such as "1 hour" or "0 seconds"; ValueError with the reason."""
    match = _SPAN.fullmatch(text) if isinstance(text, str) else None
    if match is None or (match[1] == "1") == bool(match[3]):
        raise ValueError('must be for example "90 minutes", "1 hour", "7 days" or "0 hours"')
    span = int(match[1]) * _UNIT_MS[match[2]]
    if span > DAYS_MAX * _UNIT_MS["day"]:
        raise ValueError(f"is more than {DAYS_MAX} days")
    return span


def format_duration(span: int) -> str:
    """Return "90 minutes" for 5400000 ms: the largest unit that divides it."""
    unit = next((u for u in reversed(_UNIT_MS) if span and span % _UNIT_MS[u] == 0), "second")
    number = span // _UNIT_MS[unit]
    return f"{number} {unit}" + ("" if number == 1 else "s")


def parse_period(text: object) -> Period:
    """Return one of the closed list of periods."""
    for period in Period:
        if text == str(period):
            return period
    raise ValueError("must be one of: " + ", ".join(str(period) for period in Period))
