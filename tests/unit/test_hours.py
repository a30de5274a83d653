"""Hours of the day and spans of time: exact at their edges, also when clocks change."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.durations import format_duration, parse_duration, parse_period
from policies.hours import Hours, parse_hours
from policies.windows import Period
from tests.strategies import PROPERTY

TOKYO = "mon-fri 09:00-18:00 Asia/Tokyo"
BERLIN = "sun-sun 02:15-04:00 Europe/Berlin"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def hours(text: str) -> Hours:
    parsed = parse_hours(text)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("text", "now", "opens"),
    [
        (TOKYO, "2027-01-15T09:00:00+09:00", ""),  # a Friday
        (TOKYO, "2027-01-15T17:59:59.999+09:00", ""),
        (TOKYO, "2027-01-15T08:59:59.999+09:00", "2027-01-15T09:00:00+09:00"),
        (TOKYO, "2027-01-14T18:00:00+09:00", "2027-01-15T09:00:00+09:00"),
        (TOKYO, "2027-01-15T18:00:00+09:00", "2027-01-18T09:00:00+09:00"),  # over the week-end
        (TOKYO, "2027-01-17T12:00:00+09:00", "2027-01-18T09:00:00+09:00"),
        (TOKYO, "2027-01-15T00:30:00+00:00", ""),  # 09:30 in Tokyo
        ("sat-mon 00:00-23:59 UTC", "2027-01-17T23:59:00+00:00", "2027-01-18T00:00:00+00:00"),
        ("sat-mon 00:00-23:59 UTC", "2027-01-18T23:59:00+00:00", "2027-01-23T00:00:00+00:00"),
        ("wed-wed 12:00-12:01 UTC", "2027-01-20T12:01:00+00:00", "2027-01-27T12:00:00+00:00"),
        ("mon-sun 09:00-10:00 Europe/Berlin", "2027-03-27T12:00:00Z", "2027-03-28T07:00:00Z"),
        ("mon-sun 09:00-10:00 Europe/Berlin", "2027-10-30T12:00:00Z", "2027-10-31T08:00:00Z"),
        (BERLIN, "2027-03-27T12:00:00Z", "2027-03-28T01:15:00Z"),  # 02:15 is 03:15 that day
        (BERLIN, "2027-10-31T00:15:00Z", ""),  # 02:15, the first of two
        (BERLIN, "2027-10-31T02:59:59Z", ""),
        # that Sunday has no 02:15 to 02:45: the next one has
        ("sun-sun 02:15-03:10 Europe/Berlin", "2027-03-27T12:00:00Z", "2027-04-04T00:15:00Z"),
        ("mon-fri 09:00-18:00 Pacific/Kiritimati", "2027-01-17T19:00:00Z", ""),  # Monday, 09:00
    ],
)
def test_the_next_opening(text: str, now: str, opens: str) -> None:
    assert hours(text).opens_at(ms(now)) == ms(opens or now)


@pytest.mark.parametrize("now", [-(10**18), -1, 0, 253_000_000_000_001, 10**15, 10**30])
def test_a_time_that_no_calendar_has_is_outside_of_all_hours(now: int) -> None:
    assert hours("mon-sun 00:00-23:59 UTC").opens_at(now) > now


@PROPERTY
@given(
    st.sampled_from([TOKYO, BERLIN, "fri-mon 22:00-23:00 America/St_Johns"]),
    st.integers(ms("2020-01-01T00:00:00Z"), ms("2040-01-01T00:00:00Z")),
)
def test_when_it_says_that_it_opens_it_is_open(text: str, now: int) -> None:
    opens = hours(text).opens_at(now)
    assert opens >= now
    assert hours(text).opens_at(opens) == opens
    if opens > now:
        assert hours(text).opens_at(opens - 1) == opens
        assert opens - now <= 14 * 24 * 3_600_000


def test_always_is_no_hours_and_others_print_as_they_are_written() -> None:
    assert parse_hours("always") is None
    assert str(hours(TOKYO)) == TOKYO
    assert hours("sat-mon 00:00-23:59 UTC").days == (0, 5, 6)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0 hours", 0),
        ("0 seconds", 0),
        ("1 second", 1000),
        ("90 minutes", 5_400_000),
        ("1 hour", 3_600_000),
        ("7 days", 604_800_000),
        ("365 days", 365 * 86_400_000),
    ],
)
def test_a_span_is_read(text: str, span: int) -> None:
    assert parse_duration(text) == span
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize("text", ["", "1", "1 hours", "2 hour", "1  hour", "-1 hours", "1.5 hours"])
def test_any_other_text_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="must be for example"):
        parse_duration(text)


def test_periods_are_a_closed_list() -> None:
    assert [parse_period(str(period)) for period in Period] == list(Period)
    for text in ("", "1 day", "24 hour", "24  hours", 24, None):
        with pytest.raises(ValueError, match="must be one of: 1 hour, 24 hours, 7 days, 28 days"):
            parse_period(text)
