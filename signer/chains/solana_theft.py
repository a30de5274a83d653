"""Reads the bytes of a transaction for one question: did this wallet's key sign it?

Invariants: standard library and libsodium alone. Lengths are taken in their one spelling
and nothing outside the bytes is read; the message is all that is no signature, so the wallet's
covers every such byte. Instructions are not read: whatever a key signed that its signer did not is
a theft. Formats: Solana documentation, "Transactions"; agave, `VersionedMessage`; SIMD-0385 for
version 1, whose signatures stand behind the message; SIMD-0376 for what signature is valid.
"""

import hashlib
from typing import NamedTuple

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

from policies.codes import Code, Refusal
from signer.chains.solana import TRANSACTION_LIMIT

_SIGNATURE, _KEY = 64, 32  # bytes
_ORDER = 2**252 + 27742317777372353535851937790883648493  # of the base point: RFC 8032, 5.1
_NEUTRAL = bytes((1, *bytes(31)))
_VERSION_0 = 0x80  # a legacy message begins with its number of signers, below 0x80
_VERSION_1 = 0x81  # stands first in the transaction: no other has as many signatures
_VERSION_1_LIMIT = 4096  # bytes of a transaction of version 1


class Proof(NamedTuple):
    """A wallet key's own signature (64 bytes) and the blockhash or nonce value it was given on."""

    signature: bytes
    blockhash: bytes


def open_theft(key: bytes, transaction: bytes) -> Proof | Refusal:
    """Return what proves that the 32-byte `key` signed the transaction, or why nothing does."""
    try:
        signers, message, blockhash = _read(transaction)
    except ValueError as error:
        return Refusal(Code.THEFT_UNPROVEN, f"the bytes are no transaction: {error}")
    signature = signers.get(key)
    if signature is None:
        return Refusal(Code.THEFT_UNPROVEN, "the wallet is none of the transaction's signers")
    if not _is_of(key, message, signature):
        return Refusal(Code.THEFT_UNPROVEN, "the signature is not of the wallet's key")
    return Proof(signature, blockhash)


def _is_of(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the chain takes it: 8SB = 8R + 8hA (RFC 8032, 5.1.7; SIMD-0376).

    The check without 8, libsodium's own, refuses what only the key's holder can make: an R with a
    part of small order. A reduced S keeps strangers from making another signature of one of ours.
    """
    point, scalar = signature[:_KEY], signature[_KEY:]
    if int.from_bytes(scalar, "little") >= _ORDER:
        return False
    hashed = crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + key + message).digest())
    try:
        left = crypto_scalarmult_ed25519_base_noclamp(scalar)
        left = crypto_core_ed25519_sub(left, crypto_scalarmult_ed25519_noclamp(hashed, key))
        left = crypto_core_ed25519_sub(left, point)
        for _ in range(3):
            left = crypto_core_ed25519_add(left, left)
    except CryptoError:  # no point, or 0 where none can be
        return False
    return left == _NEUTRAL


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        begin, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise ValueError(f"it ends before byte {self.at}")
        return self.data[begin : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def several(self, length: int) -> list[bytes]:
        """Pieces of one length behind their number."""
        return [self.take(length) for _ in range(self._number())]

    def _number(self) -> int:
        """A compact-u16: 7 bits a byte, lowest first, no zero byte at its end."""
        value = 0
        for shift in (0, 7, 14):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 (the bit that says that another byte follows)
                if value >> 16 or (shift and not byte):
                    break
                return value
        raise ValueError(f"the number before byte {self.at} has another spelling than its own")


def _read(transaction: bytes) -> tuple[dict[bytes, bytes], bytes, bytes]:
    """Each required signer's key with its signature, the message, its blockhash field."""
    later = transaction[:1] == bytes((_VERSION_1,))
    limit = _VERSION_1_LIMIT if later else TRANSACTION_LIMIT
    if len(transaction) > limit:
        raise ValueError(f"it has {len(transaction)} bytes, more than {limit}")
    return _read_version_1(transaction) if later else _read_earlier(transaction)


def _read_earlier(transaction: bytes) -> tuple[dict[bytes, bytes], bytes, bytes]:
    reader = _Reader(transaction)
    signatures = reader.several(_SIGNATURE)
    message = transaction[reader.at :]
    required = reader.byte()
    if required >= _VERSION_0:
        if required != _VERSION_0:
            raise ValueError(f"version {required - _VERSION_0} of messages is not known")
        required = reader.byte()
    reader.take(2)  # how many of the signers and of the others are read-only
    keys = reader.several(_KEY)
    blockhash = reader.take(_KEY)
    return _signers(required, keys, signatures), message, blockhash


def _read_version_1(transaction: bytes) -> tuple[dict[bytes, bytes], bytes, bytes]:
    reader = _Reader(transaction)
    _, required, *_ = reader.take(4)  # version; signers; which of them and others are read-only
    reader.take(4)  # which settings of the fee stand behind the keys
    blockhash = reader.take(_KEY)
    reader.byte()  # how many instructions
    keys = [reader.take(_KEY) for _ in range(reader.byte())]
    reader.at = max(reader.at, len(transaction) - _SIGNATURE * required)
    message = transaction[: reader.at]
    signatures = [reader.take(_SIGNATURE) for _ in range(required)]
    return _signers(required, keys, signatures), message, blockhash


def _signers(required: int, keys: list[bytes], signatures: list[bytes]) -> dict[bytes, bytes]:
    if required != len(signatures) or required > len(keys) or len(set(keys)) != len(keys):
        raise ValueError("its signatures, signers and accounts do not belong together")
    return dict(zip(keys[:required], signatures, strict=True))
