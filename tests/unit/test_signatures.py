"""A signature holds for its exact bytes under its key, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add

from policies import fields as parse
from policies.statements import (
    Book,
    Cancel,
    Recover,
    Signed,
    Statement,
    StatementError,
    Veto,
    decode,
    digest,
    encode,
    verify,
)
from tests.factories import (
    key,
    make_approval,
    make_change,
    make_intent,
    make_policy,
    public,
    sign,
    sign_bytes,
)
from tests.malformed import LOW_ORDER
from tests.strategies import PROPERTY, statements

ORDER = 2**252 + 27742317777372353535851937790883648493  # L of RFC 8032, 5.1
STATEMENTS: list[Statement] = [  # a book's and a recovery's digest is signed by changes
    make_intent(key=public("alice")),
    make_approval(make_policy(), make_intent()),
    Cancel(key=public("alice"), intent=digest(b"an intent")),
    make_change("book", digest(b"a book"), "alice"),
    Veto(key=public("alice"), person="alice", change=digest(b"a policy")),
]


def taken(kind: type[Statement], signed: Signed) -> bool:
    """Tell whether a reader takes it as alice's, or as that of the key which it names."""
    try:
        decoded = decode(kind, signed.statement)
    except StatementError:
        return False
    named = public("alice") if isinstance(decoded, Book | Recover) else decoded.key
    return verify(public("alice"), signed) or verify(named, signed)


def flip(signed: Signed, position: int, mask: int) -> Signed:
    whole = bytearray(signed.statement + signed.signature)
    whole[position] ^= mask
    return Signed(bytes(whole[:-64]), bytes(whole[-64:]))


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda item: item.KIND)
def test_every_flipped_bit_is_refused(statement: Statement) -> None:
    signed = sign(key("alice"), statement)
    assert taken(type(statement), signed)
    for position in range(len(signed.statement) + 64):
        for bit in range(8):
            assert not taken(type(statement), flip(signed, position, 1 << bit))


@PROPERTY
@given(statements, st.data())
def test_every_changed_byte_is_refused(statement: Statement, data: st.DataObject) -> None:
    signed = sign(key("alice"), statement)
    position = data.draw(st.integers(0, len(signed.statement) + 63))
    mask = data.draw(st.integers(1, 255))
    assert not taken(type(statement), flip(signed, position, mask))


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"x" * 63, b"x" * 65])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    assert not verify(public("alice"), Signed(encode(make_intent()), signature))


def test_a_signature_with_the_message_before_or_behind_it_is_refused() -> None:
    """NaCl's own form is signature and message in one: a reader of that form would take it."""
    signed = sign(key("alice"), make_intent())
    assert not verify(public("alice"), Signed(b"", signed.signature + signed.statement))
    assert not verify(public("alice"), Signed(signed.signature + signed.statement, b""))


@pytest.mark.parametrize("wrong", [public("bob"), "", "ed25519:", "ed25519:00", "x" * 72])
def test_another_key_is_refused(wrong: str) -> None:
    assert not verify(wrong, sign(key("alice"), make_intent()))


def test_the_second_encoding_of_a_signature_is_refused() -> None:
    """S + L satisfies the equation too; RFC 8032, 5.1.7, asks for S < L."""
    signed = sign(key("alice"), make_intent())
    second = int.from_bytes(signed.signature[32:], "little") + ORDER
    changed = signed.signature[:32] + second.to_bytes(32, "little")
    assert not verify(public("alice"), Signed(signed.statement, changed))


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_key_is_refused_at_enrolment_and_verifies_nothing(point: str) -> None:
    """With R of low order and S = 0 the equation can hold for every message."""
    with pytest.raises(ValueError, match="of low order"):
        parse.key(f"ed25519:{point}")
    for r in LOW_ORDER:
        forged = bytes.fromhex(r) + bytes(32)
        assert not verify(f"ed25519:{point}", Signed(encode(make_intent()), forged))


def test_a_key_of_mixed_order_is_refused_at_enrolment() -> None:
    """A good key plus a point of order 8: about it the two equations of RFC 8032 disagree."""
    good, small = parse.raw_key(public("alice")), bytes.fromhex(LOW_ORDER[-1])
    mixed = crypto_core_ed25519_add(good, small)
    with pytest.raises(ValueError, match="is not a public key"):
        parse.key(parse.key_text(mixed))


def test_signing_other_bytes_is_signing_another_statement() -> None:
    signed = sign_bytes(key("alice"), encode(make_intent()) + b"\n")
    assert verify(public("alice"), signed)
    assert not taken(type(make_intent()), signed)
