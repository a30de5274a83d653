"""Statements and policy files that must be refused, and the refusal."""

import json
from typing import Any

import pytest

from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import Statement, StatementError, decode, encode

CYRILLIC_A, CYRILLIC_SMALL_A = "\u0410", "\u0430"
# Every encoding of a point of order 1, 2, 4 or 8, canonical or not (RFC 8032, 5.1.3; libsodium).
LOW_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)


def fields_of(statement: Statement) -> dict[str, Any]:
    """Return the JSON that the statement is, to be spoiled."""
    fields: dict[str, Any] = json.loads(encode(statement))
    return fields


def raw(fields: object) -> bytes:
    """Return canonical bytes of anything, also of what the product's encoder refuses."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def with_field(statement: Statement, path: str, value: object) -> bytes:
    """Return the statement's bytes with the value at `path` ("destination.memo") replaced."""
    fields = fields_of(statement)
    *outer, last = path.split(".")
    table = fields
    for name in outer:
        table = table[name]
    table[last] = value
    return raw(fields)


def refusal(kind: type[Statement], data: bytes) -> StatementError:
    """Return why `data` is no statement of `kind`; the test fails when it is one."""
    with pytest.raises(StatementError) as caught:
        decode(kind, data)
    return caught.value


def file_error(data: bytes) -> FileError:
    """Return why `data` is no policy; the test fails when it is one."""
    with pytest.raises(FileError) as caught:
        parse_policy(data)
    return caught.value
