"""The committed examples: bytes that other implementations can check themselves against."""

import json

import pytest
from nacl.signing import SigningKey

from policies.fields import key_text
from policies.receipts import open_receipt
from policies.statements import (
    Batch,
    Book,
    Receipt,
    Recover,
    Signed,
    Statement,
    decode,
    digest,
    encode,
    verify,
)
from tests.vectors.make_statements import FILE, make_vectors

VECTORS: list[dict[str, str]] = json.loads(FILE.read_bytes())
KINDS = {kind.KIND: kind for kind in Statement.__args__}
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])


def test_every_kind_has_a_vector() -> None:
    assert {vector["kind"] for vector in VECTORS} == KINDS.keys()


@each_vector
def test_the_bytes_decode_and_encode_to_themselves(vector: dict[str, str]) -> None:
    data = vector["statement"].encode()
    assert encode(decode(KINDS[vector["kind"]], data)) == data
    assert digest(data) == vector["digest"]


@each_vector
def test_the_signature_is_the_seeds(vector: dict[str, str]) -> None:
    data, kind = vector["statement"].encode(), KINDS[vector["kind"]]
    if kind in (Book, Recover, Receipt):  # a quorum's changes name their digest; so does an ack
        assert vector["key"] == vector["signature"] == vector["seed"] == ""
        assert any(vector["digest"] in other["statement"] for other in VECTORS)
        return
    private = SigningKey(bytes.fromhex(vector["seed"]))
    assert vector["key"] == key_text(bytes(private.verify_key)) == json.loads(data)["key"]
    assert vector["signature"] == private.sign(data).signature.hex()
    assert verify(vector["key"], Signed(data, bytes.fromhex(vector["signature"])))


def test_the_batch_is_of_the_one_receipt() -> None:
    said = {vector["kind"]: vector for vector in VECTORS}
    receipt, batch = said[Receipt.KIND]["statement"], said[Batch.KIND]
    assert open_receipt([batch["key"]], make_travelling(receipt, batch["signature"])) == decode(
        Receipt, receipt.encode()
    )


def make_travelling(receipt: str, signature: str) -> bytes:
    """Return a batch's only receipt as docs/statements.md says that it travels."""
    travels = {"index": "0", "path": [], "receipt": receipt, "signature": signature, "size": "1"}
    return json.dumps(travels, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_code_that_made_them_still_makes_them() -> None:
    assert make_vectors() == VECTORS
