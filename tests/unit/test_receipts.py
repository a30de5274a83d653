"""Each receipt of a batch can be checked on its own, in its own place and in no other."""

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.receipts import (
    RECEIPT_BYTES_MAX,
    ReceiptError,
    make_receipts,
    open_receipt,
    statement_of,
)
from policies.statements import Batch, Receipt, Signed, encode, verify
from tests.factories import key, make_intent, make_receipt, public, sign, travelling
from tests.malformed import raw
from tests.strategies import PROPERTY, receipts

AUDIT = public("audit")
SEED = os.environ.get("RECEIPTS_SEED") or secrets.token_hex(4)
SIZES_MAX = 70  # beyond a full tree of 64


def batch(size: int, sequence: int = 1) -> list[Receipt]:
    return [make_receipt(make_intent(), sequence=sequence + number) for number in range(size)]


def refused(data: bytes, *audit_keys: str) -> str:
    with pytest.raises(ReceiptError) as caught:
        open_receipt(audit_keys or [AUDIT], data)
    return str(caught.value)


def with_fields(data: bytes, **fields: object) -> bytes:
    return raw(json.loads(data) | fields)


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the tree's root by the definition (RFC 6962, section 2.1)."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


def test_a_batch_of_none_is_not_signed() -> None:
    def never(_: bytes) -> bytes:
        raise AssertionError

    assert make_receipts(AUDIT, [], never) == []


@pytest.mark.parametrize("size", range(1, SIZES_MAX + 1))
def test_every_receipt_of_a_batch_verifies(size: int) -> None:
    made, signed = batch(size), list[bytes]()

    def note(data: bytes) -> bytes:
        signed.append(data)
        return key("audit").sign(data).signature

    travel = make_receipts(AUDIT, made, note)
    leaves = [encode(receipt) for receipt in made]
    assert signed == [encode(Batch(key=AUDIT, size=size, root=root(leaves).hex()))]
    assert [open_receipt([public("other"), AUDIT], data) for data in travel] == made
    assert [statement_of(data) for data in travel] == leaves
    assert max(map(len, travel)) <= RECEIPT_BYTES_MAX


@PROPERTY
@given(st.lists(receipts, min_size=1, max_size=9))
def test_whatever_a_receipt_says_it_travels_whole(made: list[Receipt]) -> None:
    """Only those whose own key is the batch's are taken: a signer speaks for itself alone."""
    for receipt, data in zip(made, travelling(*made), strict=True):
        assert statement_of(data) == encode(receipt)
        if receipt.key == AUDIT:
            assert open_receipt([AUDIT], data) == receipt
        else:
            refused(data)
            refused(data, receipt.key)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 64, 70])
def test_a_flipped_bit_of_any_byte_is_noticed(size: int) -> None:
    print(f"RECEIPTS_SEED={SEED}")  # noqa: T201 - shown when it fails
    random = Random(f"{SEED} {size}")
    data = random.choice(travelling(*batch(size)))
    for position in range(len(data)):
        spoiled = bytearray(data)
        spoiled[position] ^= 1 << random.randrange(8)
        refused(bytes(spoiled))
        refused(data[:position])


def test_another_spelling_is_none() -> None:
    """One receipt has one form, so that two texts are two receipts."""
    (data,) = travelling(make_receipt(make_intent()))
    signature = json.loads(data)["signature"]
    for other in (signature.upper(), signature + " ", " " + signature, signature + "00", ""):
        assert "128 lower-case hex digits" in refused(with_fields(data, signature=other))
    assert refused(data + b"\n").endswith("no escapes, no duplicates")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 33])
def test_a_receipt_verifies_in_its_place_alone(size: int) -> None:
    for index, data in enumerate(travelling(*batch(size))):
        for other in range(size + 2):
            if other != index:
                refused(with_fields(data, index=str(other)))
        for other in range(SIZES_MAX + 2):
            if other != size:
                refused(with_fields(data, size=str(other)))


@pytest.mark.parametrize("size", [2, 3, 8, 41])
def test_another_batchs_path_or_signature_leads_nowhere(size: int) -> None:
    ours, theirs = travelling(*batch(size)), travelling(*batch(size, sequence=1000))
    for one, other in zip(ours, theirs, strict=True):
        fields: dict[str, Any] = json.loads(other)
        for name in ("path", "signature", "receipt"):
            refused(with_fields(one, **{name: fields[name]}))
        path, signature = fields["path"], fields["signature"]
        refused(with_fields(one, path=path, signature=signature))


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_a_path_has_its_exact_length(size: int) -> None:
    for data in travelling(*batch(size)):
        path = json.loads(data)["path"]
        assert refused(with_fields(data, path=[*path, "00" * 32])) == "its path is too long"
        if path:
            assert refused(with_fields(data, path=path[:-1])) == "its path is too short"


def test_another_signers_receipt_is_refused() -> None:
    (data,) = travelling(make_receipt(make_intent(), key=public("other")), signer="other")
    assert refused(data) == "is another signer's: its audit key is not known"
    assert open_receipt([public("other")], data).key == public("other")


def test_a_batch_that_another_key_signed_is_refused() -> None:
    (data,) = make_receipts(
        AUDIT, [make_receipt(make_intent())], lambda data: key("mallory").sign(data).signature
    )
    assert refused(data) == "the audit key's signature does not match"


def test_a_signature_on_the_receipt_itself_is_none() -> None:
    receipt = make_receipt(make_intent())
    (data,) = travelling(receipt)
    alone = sign(key("audit"), receipt)
    assert verify(AUDIT, Signed(alone.statement, alone.signature))
    refused(with_fields(data, signature=alone.signature.hex()))


@pytest.mark.parametrize(
    "fields",
    [
        {"index": "1"},
        {"index": "-1"},
        {"index": "00"},
        {"index": 0},
        {"size": "0"},
        {"size": str(2**20 + 1)},
        {"size": []},
        {"path": ""},
        {"path": [""]},
        {"path": ["A" * 64]},
        {"path": [["00" * 32]]},
        {"path": {}},
        {"receipt": ""},
        {"receipt": {}},
        {"receipt": "{}"},
        {"receipt": encode(Batch(key=AUDIT, size=1, root="0" * 64)).decode()},
        {"signature": []},
        {"more": ""},
    ],
    ids=str,
)
def test_what_is_malformed_is_refused(fields: dict[str, object]) -> None:
    (data,) = travelling(make_receipt(make_intent()))
    refused(with_fields(data, **fields))


@pytest.mark.parametrize("name", ["receipt", "index", "size", "path", "signature"])
def test_every_field_is_required(name: str) -> None:
    (data,) = travelling(make_receipt(make_intent()))
    fields = json.loads(data)
    del fields[name]
    for opener in (lambda data: open_receipt([AUDIT], data), statement_of):
        with pytest.raises(ReceiptError, match="it has other fields"):
            opener(raw(fields))


@PROPERTY
@given(st.binary(max_size=200))
def test_bytes_of_no_receipt_are_refused_in_words(data: bytes) -> None:
    assert refused(data).startswith("is no receipt: ")
    assert "are allowed" in refused(b"[" * (RECEIPT_BYTES_MAX + 1))
