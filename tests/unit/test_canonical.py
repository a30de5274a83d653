"""Canonical JSON: `decode` takes exactly what `encode` makes."""

import json
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.canonical import CanonicalError, Value, decode, encode, find_hidden
from tests.strategies import PROPERTY, visible

LIMIT = 64 * 1024

ascii_keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
values: st.SearchStrategy[Value] = st.recursive(
    st.text(visible, max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4),
    max_leaves=12,
)


def test_the_exact_bytes() -> None:
    value: Value = {"b": ["x", {}], "a": 'say "é\\" 蔵 /', "A": "", "aa": []}
    expected = '{"A":"","a":"say \\"é\\\\\\" 蔵 /","aa":[],"b":["x",{}]}'
    assert encode(value) == expected.encode()


@PROPERTY
@given(values)
def test_decode_returns_what_was_encoded(value: Value) -> None:
    assert decode(encode(value), LIMIT) == value


@PROPERTY
@given(
    values, st.sampled_from([{"indent": 0}, {"ensure_ascii": True}, {"separators": (", ", ":")}])
)
def test_any_other_spelling_of_a_value_is_refused(value: Value, style: dict[str, object]) -> None:
    options = {"ensure_ascii": False, "separators": (",", ":"), "sort_keys": True, **style}
    spelled = json.dumps(value, **options).encode()  # type: ignore[arg-type]
    if spelled == encode(value):
        assert decode(spelled, LIMIT) == value
    else:
        with pytest.raises(CanonicalError, match="is not canonical"):
            decode(spelled, LIMIT)


@PROPERTY
@given(values, st.data())
def test_a_changed_byte_is_refused_or_another_value(value: Value, data: st.DataObject) -> None:
    changed = bytearray(encode(value))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(changed), LIMIT)
    except CanonicalError:
        return
    assert decoded != value
    assert encode(decoded) == bytes(changed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":"b"} ',
        b' {"a":"b"}',
        b'{"a": "b"}',
        b'{"a":"b"}\n',
        b'{"a":"b"}{}',
        b'{"b":"","a":""}',
        b'{"a":"1","a":"1"}',
        b'{"a":"1","a":"2"}',
        b'{"a":"\\u0062"}',
        b'{"\\u0061":"b"}',
        b'{"a":"\\/"}',
        b'{"a":"\\u00e9"}',
        b'{"a":"b",}',
        b"{'a':'b'}",
        b'{"a":"b"}//',
        b'\xef\xbb\xbf{"a":"b"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        '{"a":"b"}'.encode("utf-16"),
        b'{"a":"\x00"}',
        b'{"a":"\t"}',
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(CanonicalError, match="is not"):
        decode(data, LIMIT)


@pytest.mark.parametrize(
    "literal", ["1", "0", "-1", "1.5", "1e9", "NaN", "Infinity", "true", "null"]
)
@pytest.mark.parametrize(
    ("template", "path"), [("%s", ""), ('{"a":%s}', "a"), ('{"a":["",{"b":%s}]}', "a[1].b")]
)
def test_only_objects_arrays_and_strings(template: str, literal: str, path: str) -> None:
    with pytest.raises(CanonicalError, match="numbers as decimal strings") as caught:
        decode((template % literal).encode(), LIMIT)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\n",
        "\x1b",
        "\x7f",
        "\x85",
        "\u00ad",  # soft hyphen
        "\u061c",  # Arabic letter mark
        "\u200b",  # zero-width space
        "\u200d",  # zero-width joiner
        "\u200f",  # right-to-left mark
        "\u2028",  # line separator
        "\u2029",  # paragraph separator
        "\u202e",  # right-to-left override
        "\u2066",  # left-to-right isolate
        "\ufeff",  # byte order mark
        "\U000e0041",  # tag letter A
        "\u3164",  # Hangul filler
        "\u2800",  # Braille blank
        "\ufe0f",  # a variation selector
        "\ud800",  # a surrogate alone
    ],
)
def test_hidden_characters_are_refused_in_both_directions(character: str) -> None:
    code = f"U+{ord(character):04X}"
    assert find_hidden(f"a{character}b") == code
    with pytest.raises(CanonicalError, match="hidden") as caught:
        encode({"a": [{"b": f"x{character}"}]})
    assert (caught.value.path, code in caught.value.reason) == ("a[0].b", True)
    for text in (json.dumps({"a": character}), json.dumps({"a" + character: ""})):
        with pytest.raises(CanonicalError, match=r"hidden|keys are ASCII"):
            decode(text.encode(), LIMIT)


def test_keys_are_ascii() -> None:
    with pytest.raises(CanonicalError, match="keys are ASCII") as caught:
        decode('{"a":{"аmount":"1"}}'.encode(), LIMIT)  # noqa: RUF001 - the Cyrillic letter
    assert caught.value.path == "a"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_deeper_than_the_stack_is_refused(opening: bytes) -> None:
    with pytest.raises(CanonicalError, match="is not JSON"):
        decode(opening * (LIMIT // len(opening)), LIMIT)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [900, 990, 2000, 9000])
def test_nesting_that_is_closed_never_overflows(opening: bytes, closing: bytes, depth: int) -> None:
    data = opening * depth + b'""' + closing * depth
    with suppress(CanonicalError):
        assert encode(decode(data, LIMIT)) == data


def test_the_limit_counts_bytes() -> None:
    data = encode("é" * 10)
    assert decode(data, len(data)) == "é" * 10
    with pytest.raises(CanonicalError, match="has 22 bytes; at most 21"):
        decode(data, len(data) - 1)


def test_deep_values_under_long_keys_take_no_memory_for_their_paths() -> None:
    """0.85 MB, of which nobody has signed a byte, once took 750 MB."""
    deep = '{"' + "a" * 850_000 + '":' + '{"a":' * 900 + '""' + "}" * 900 + "}"
    tracemalloc.start()
    try:
        with suppress(CanonicalError):
            decode(deep.encode(), 900 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
