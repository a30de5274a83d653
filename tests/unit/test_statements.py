"""Signed statements: exactly the bytes that `encode` makes, of exactly one kind, or nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from policies.statements import (
    BOOK_BYTES_MAX,
    FIELD_SHOWN_MAX,
    STATEMENT_BYTES_MAX,
    Batch,
    Book,
    Cancel,
    Resolved,
    Statement,
    Veto,
    decode,
    digest,
    encode,
)
from tests.factories import (
    make_ack,
    make_approval,
    make_book,
    make_change,
    make_dead,
    make_elapsed,
    make_freeze,
    make_hello,
    make_intent,
    make_lease,
    make_policy,
    make_receipt,
    make_recover,
    make_theft,
    make_unfreeze,
    public,
)
from tests.malformed import fields_of, raw, refusal, with_field
from tests.strategies import PROPERTY, statements

HELLO, RECEIPT = make_hello(make_policy()), make_receipt(make_intent())
EXAMPLES: list[Statement] = [
    make_intent(),
    make_approval(make_policy(), make_intent()),
    Cancel(key=public("exchange"), intent=digest(b"an intent")),
    make_book(),
    make_change("book", digest(b"a book"), "alice"),
    Veto(key=public("alice"), person="alice", change=digest(b"a policy")),
    make_recover(),
    make_freeze(),
    make_unfreeze("alice", digest(b"a freeze")),
    HELLO,
    make_lease(HELLO, Resolved(wallet="hot-sol", asset="SOL", amount=0)),
    make_ack(RECEIPT),
    make_dead(make_intent(), "1" * 64),
    make_elapsed(digest(b"a policy")),
    make_theft(),
    RECEIPT,
    Batch(key=public("audit"), size=1, root=digest(b"a receipt")),
]
KINDS: list[type[Statement]] = [type(statement) for statement in EXAMPLES]
each_example = pytest.mark.parametrize("statement", EXAMPLES, ids=lambda item: item.KIND)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda item: item.KIND)


def test_each_kind_has_an_example() -> None:
    assert {*KINDS} == {*Statement.__args__}


@PROPERTY
@given(statements)
def test_decode_returns_what_was_encoded(statement: Statement) -> None:
    assert decode(type(statement), encode(statement)) == statement


@PROPERTY
@given(statements)
def test_a_statement_of_one_kind_is_none_of_another(statement: Statement) -> None:
    for kind in KINDS:
        if not isinstance(statement, kind):
            assert refusal(kind, encode(statement)).field == "kind"


@each_example
def test_every_field_is_required(statement: Statement) -> None:
    for path, table, fields in objects(statement):
        for name in list(table):
            kept = table.pop(name)
            assert refusal(type(statement), raw(fields)).field == path + name
            table[name] = kept


@each_example
@pytest.mark.parametrize("name", ["x", "kind2", "Amount", "__class__", "", "destination.memo"])
def test_no_other_field_is_known(statement: Statement, name: str) -> None:
    for path, table, fields in objects(statement):
        table[name] = "1"
        error = refusal(type(statement), raw(fields))
        assert (error.field, error.reason) == (path + name, "is not a field of this kind")
        del table[name]


def objects(statement: Statement) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return path prefix and table of the statement's every object, and the whole of it."""
    fields = fields_of(statement)
    found = [("", fields, fields)]
    if "destination" in fields:
        found.append(("destination.", fields["destination"], fields))
    if "add" in fields:
        found.append(("add[0].", fields["add"][0], fields))
    if "resolved" in fields:
        found.append(("resolved[0].", fields["resolved"][0], fields))
    return found


@each_example
@pytest.mark.parametrize("kind", ["", "kura.intent.v2", "KURA.INTENT.V1", "kura.approval.v1 ", []])
def test_another_domain_tag_is_refused(statement: Statement, kind: object) -> None:
    assert refusal(type(statement), with_field(statement, "kind", kind)).field == "kind"


@each_kind
@pytest.mark.parametrize("data", [b"[]", b'""', b"{}", b'"kura.intent.v1"', b'["kura.intent.v1"]'])
def test_what_is_no_object_of_a_kind_is_refused(kind: type[Statement], data: bytes) -> None:
    assert refusal(kind, data).field == "kind"


def repeat_amount(data: bytes) -> bytes:
    return data.replace(b'{"amount":', b'{"amount":"1","amount":', 1)


def wallet_first(data: bytes) -> bytes:
    return b'{"wallet":"hot-sol",' + data[1:].replace(b',"wallet":"hot-sol"', b"")


@pytest.mark.parametrize(
    "spoil",
    [
        repeat_amount,
        wallet_first,
        lambda data: data.replace(b'"SOL"', b'"\\u0053OL"'),
        lambda data: data.replace(b'"memo":""', b'"memo":"\\/"'),
        lambda data: data.replace(b'"wallet"', b'"\\u0077allet"'),
        lambda data: data.replace(b":", b": ", 1),
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data + b"\0",
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data[:-1],
        lambda data: data * 2,
        lambda _: b"",
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b"hot-sol", b"hot\xffsol"),
    ],
)
def test_bytes_that_are_not_canonical_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    data = encode(make_intent())
    spoiled = spoil(data)
    assert spoiled != data
    assert refusal(type(make_intent()), spoiled).reason.startswith("is not")


@each_kind
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(kind: type[Statement], opening: bytes) -> None:
    depth = STATEMENT_BYTES_MAX // len(opening) // 2
    assert refusal(kind, opening * depth).reason == "is not JSON in UTF-8"


@each_kind
def test_an_oversized_statement_is_refused_before_it_is_parsed(kind: type[Statement]) -> None:
    limit = BOOK_BYTES_MAX if kind is Book else STATEMENT_BYTES_MAX
    error = refusal(kind, b"[" * (limit + 1))
    assert error.reason == f"has {limit + 1} bytes; at most {limit} are allowed"


def test_a_long_name_of_a_field_is_cut_in_the_refusal() -> None:
    """Otherwise a frame of jobs with long names has a reply that fits into no frame."""
    kind = type(make_intent())
    error = refusal(kind, raw({**fields_of(make_intent()), "x" * 60_000: ""}))
    assert len(str(error)) < FIELD_SHOWN_MAX + 64
    nested: object = "\u202e"
    for _ in range(300):
        nested = {"long-name": nested}
    data = json.dumps(nested, separators=(",", ":")).encode()
    assert len(str(refusal(kind, data))) < FIELD_SHOWN_MAX + 64
