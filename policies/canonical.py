"""Canonical JSON, the form of every signed statement (RFC 8785, restricted).

Objects, arrays and strings only; keys sorted, no blanks, UTF-8, no control or format characters.
Invariant: `decode` accepts exactly the bytes that `encode` makes, so one value has one digest.
"""

import json
import unicodedata
from typing import TypeAlias

Value: TypeAlias = "str | list[Value] | dict[str, Value]"

_PATH_MAX = 64  # a stranger chose the keys: uncut, each level of 900 would hold a megabyte
# Control, formatting (bidi overrides hide text from officers), surrogates, line separators.
_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Blank fillers and variation selectors, which no category tells apart: two texts would look alike.
INVISIBLE = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0") | {
    chr(code)
    for low, high in ((0x180B, 0x180D), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(low, high + 1)
}


class CanonicalError(ValueError):
    """The bytes are not canonical JSON of the restricted form. `path` leads to what is wrong."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason


def encode(value: Value) -> bytes:
    """Return the canonical bytes of `value`; CanonicalError when it cannot be expressed."""
    _check(value, "")
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    ).encode()


def decode(data: bytes, limit: int) -> Value:
    """Return the value of at most `limit` canonical bytes; CanonicalError for anything else."""
    if len(data) > limit:
        raise CanonicalError("", f"has {len(data)} bytes; at most {limit} are allowed")
    try:
        value: Value = json.loads(data.decode("utf-8", "strict"))
        canonical = encode(value)
    except CanonicalError:
        raise
    except (ValueError, RecursionError) as error:
        raise CanonicalError("", "is not JSON in UTF-8") from error
    if canonical != data:
        words = "is not canonical: sort keys, no blanks, no escapes, no duplicates"
        raise CanonicalError("", words)
    return value


def find_hidden(text: str) -> str:
    """Return the first character that people cannot see, such as "U+202E", or "" for none."""
    for character in text:
        if unicodedata.category(character) in _FORBIDDEN or character in INVISIBLE:
            return f"U+{ord(character):04X}"
    return ""


def _check(value: object, path: str) -> None:
    match value:
        case str():
            _check_text(value, path)
        case list():
            for index, item in enumerate(value):
                _check(item, f"{path}[{index}]")
        case dict():
            for key, item in value.items():
                if not (isinstance(key, str) and key.isascii()):
                    raise CanonicalError(path, "keys are ASCII strings")
                _check_text(key, path)
                _check(item, f"{path}.{key}"[:_PATH_MAX] if path else key[:_PATH_MAX])
        case _:
            words = "only objects, arrays and strings are allowed; numbers as decimal strings"
            raise CanonicalError(path, words)


def _check_text(text: str, path: str) -> None:
    if hidden := find_hidden(text):
        raise CanonicalError(path, f"holds the hidden character {hidden}")
