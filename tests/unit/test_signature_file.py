"""Signatures as a text file: the exact bytes come back, and every bad line is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.signature_file import format_signature, parse_signatures
from policies.statements import Statement
from tests.factories import key, make_change, sign
from tests.strategies import PROPERTY, statements

LINE = format_signature(sign(key("alice"), make_change("book", "0" * 64, "alice")))


@PROPERTY
@given(st.lists(statements, max_size=3))
def test_what_was_written_is_read(items: list[Statement]) -> None:
    signed = [sign(key("alice"), item) for item in items]
    assert parse_signatures("".join(map(format_signature, signed)).encode()) == signed


@pytest.mark.parametrize(
    "line",
    [
        "",
        " " + LINE,
        LINE[1:],
        LINE.upper(),
        LINE.replace(" {", "  {"),
        LINE.replace(" {", "{"),
        LINE.strip() + " \n",
        "0" * 128 + " \n",
        "0" * 128 + ' "x"\n',
        "# alice\n",
    ],
)
def test_a_bad_line_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is not a signature"):
        parse_signatures((LINE + (line or "\n") + LINE).encode())
