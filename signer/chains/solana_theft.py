"""Reads the bytes of a transaction for one question: did this wallet's key sign it?

Invariants: standard library and the signature check alone. Lengths are taken in their one spelling
and nothing outside the bytes is read; the message is all that is no signature, so the wallet's
covers every such byte. Instructions are not read: whatever a key signed that its signer did not is
a theft. Formats: Solana documentation, "Transactions"; agave, `VersionedMessage`; SIMD-0385 for
version 1, whose signatures stand behind the message.
"""

from typing import NamedTuple

from policies.codes import Code, Refusal
from policies.fields import key_text
from policies.statements import Signed, verify
from signer.chains.solana import TRANSACTION_LIMIT

_SIGNATURE, _KEY = 64, 32  # bytes
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
    if not verify(key_text(key), Signed(message, signature)):
        return Refusal(Code.THEFT_UNPROVEN, "the signature is not of the wallet's key")
    return Proof(signature, blockhash)


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
