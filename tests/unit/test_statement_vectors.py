"""The committed examples: bytes that other implementations can check themselves against."""

import json

import pytest
from nacl.signing import SigningKey

from policies.fields import key_text
from policies.statements import Book, Recover, Signed, Statement, decode, digest, encode, verify
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
    if kind in (Book, Recover):  # a quorum's changes name their digest
        assert vector["key"] == vector["signature"] == vector["seed"] == ""
        assert any(vector["digest"] in other["statement"] for other in VECTORS)
        return
    private = SigningKey(bytes.fromhex(vector["seed"]))
    assert vector["key"] == key_text(bytes(private.verify_key)) == json.loads(data)["key"]
    assert vector["signature"] == private.sign(data).signature.hex()
    assert verify(vector["key"], Signed(data, bytes.fromhex(vector["signature"])))


def test_the_code_that_made_them_still_makes_them() -> None:
    assert make_vectors() == VECTORS
