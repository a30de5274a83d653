"""Amounts as people write them: exact in both directions, and one pattern for what they write."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.fields import AMOUNT_MAX
from policies.units import format_units, parse_units
from tests.strategies import PROPERTY

decimals = st.integers(0, 18)
amounts = st.integers(0, AMOUNT_MAX) | st.integers(0, 10**6)


@PROPERTY
@given(amounts, decimals)
def test_parse_reads_what_format_wrote(units: int, places: int) -> None:
    assert parse_units(format_units(units, "SOL", places), "SOL", places) == units


@PROPERTY
@given(amounts, decimals)
def test_format_writes_the_exact_number_without_needless_zeros(units: int, places: int) -> None:
    number, asset = format_units(units, "SOL", places).split(" ")
    with localcontext(prec=60):
        assert Decimal(number).scaleb(places) == units
    assert asset == "SOL"
    assert "." not in number or not number.endswith(("0", "."))


@pytest.mark.parametrize(
    ("text", "places", "units"),
    [
        ("1.5 SOL", 9, 1_500_000_000),
        ("0.1 SOL", 9, 100_000_000),
        ("0.000000001 SOL", 9, 1),
        ("0.3 SOL", 18, 300_000_000_000_000_000),
        ("1.50 SOL", 9, 1_500_000_000),
        ("0 SOL", 9, 0),
        ("7 SOL", 0, 7),
        ("9223372036.854775807 SOL", 9, AMOUNT_MAX),
        ("9223372036854775807 SOL", 0, AMOUNT_MAX),
    ],
)
def test_examples(text: str, places: int, units: int) -> None:
    assert parse_units(text, "SOL", places) == units


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "for example"),
        ("1.5", "for example"),
        ("SOL", "for example"),
        ("1.5SOL", "for example"),
        ("1.5  SOL", "for example"),
        (" 1.5 SOL", "for example"),
        ("1.5 SOL ", "for example"),
        ("1.5 SOL\n", "for example"),
        ("1.5\u00a0SOL", "for example"),
        ("1.5 sol", "for example"),
        ("1.5 XRP", "for example"),
        ("-1 SOL", "for example"),
        ("+1 SOL", "for example"),
        ("01 SOL", "for example"),
        (".5 SOL", "for example"),
        ("1. SOL", "for example"),
        ("1,5 SOL", "for example"),
        ("1.5.0 SOL", "for example"),
        ("1_000 SOL", "for example"),
        ("1e9 SOL", "for example"),
        ("0x1 SOL", "for example"),
        ("NaN SOL", "for example"),
        ("\u0661 SOL", "for example"),
        ("\uff11 SOL", "for example"),
        ("1 S\u041eL", "for example"),
        (1, "for example"),
        (1.5, "for example"),
        (True, "for example"),
        (None, "for example"),
        (["1 SOL"], "for example"),
        ("0.0000000001 SOL", "more than the 9 decimals of SOL"),
        ("1.0000000000 SOL", "more than the 9 decimals of SOL"),
        ("9223372036.854775808 SOL", "more than 2^63 - 1"),
        ("9999999999999999999 SOL", "more than 2^63 - 1"),
        ("99999999999999999999 SOL", "for example"),
    ],
)
def test_anything_else_is_refused(text: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("^", r"\^")):
        parse_units(text, "SOL", 9)


def test_an_asset_without_decimals_takes_whole_units_only() -> None:
    with pytest.raises(ValueError, match="more than the 0 decimals"):
        parse_units("1.0 SOL", "SOL", 0)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("1.5", "names no asset"),
        ("1.5 sol", "must spell the asset SOL"),
        ("1.5 BTC", "names BTC"),
        ("1,5 SOL", "a point before the decimals"),
        ("1_000 SOL", "no other separators"),
        ("-1 SOL", "without a sign"),
        ("01 SOL", "must not begin with zeros"),
        ("1.5SOL", "one blank"),
        (" 1.5 SOL", "none around"),
        ("1.5  SOL", "one blank"),
        ("1e3 SOL", "plain decimal"),
        (".5 SOL", "plain decimal"),
        ("99999999999999999999999 SOL", "more digits"),
        ("1 2 SOL", "one number"),
        (1.5, "must be text"),
    ],
)
def test_each_mistake_is_told_from_the_others(typed: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_units(typed, "SOL", 9)
