"""Parameters of the devnet's RPC and its errors. What is not understood is refused with words.

Every parser takes a JSON value (None if the parameter is absent) and raises RpcError.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.wire import Body, WireError, decode, decode_message

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
# Solana's own (`rpc-client-api/src/custom_error.rs`).
PREFLIGHT_FAILURE = -32002
SIGNATURE_FAILURE = -32003
UNSUPPORTED_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016


class RpcError(Exception):
    """An answer with `error`. `data` is what Solana's own codes carry beside the message."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def invalid(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"Invalid params: {message}")


def text(value: object) -> str:
    if not isinstance(value, str):
        raise invalid("expected a string")
    return value


def unsigned(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise invalid("expected a whole number below 2^64")
    return value


def address(value: object) -> Pubkey:
    try:
        return Pubkey.from_string(text(value))
    except ValueError as error:
        raise invalid(f"an address is 32 bytes in base58 ({error})") from error


def blockhash(value: object) -> Hash:
    try:
        return Hash.from_string(text(value))
    except ParseHashError as error:
        raise invalid(f"a blockhash is 32 bytes in base58 ({error})") from error


def signature(value: object) -> Signature:
    try:
        return Signature.from_string(text(value))
    except ValueError as error:
        raise invalid(f"a signature is 64 bytes in base58 ({error})") from error


def addresses(value: object) -> list[Pubkey]:
    return [address(item) for item in _listed(value, 100)]


def signatures(value: object) -> list[Signature]:
    return [signature(item) for item in _listed(value, 256)]


def transaction(value: object) -> VersionedTransaction:
    try:
        return decode(_binary(value))
    except WireError as error:
        raise invalid(str(error)) from error


def message(value: object) -> Body:
    try:
        return decode_message(_binary(value))
    except WireError as error:
        raise invalid(str(error)) from error


def _listed(value: object, most: int) -> list[object]:
    if not isinstance(value, list) or len(value) > most:
        raise invalid(f"expected a list of at most {most}")
    return value


def _binary(value: object) -> bytes:
    try:
        return base64.b64decode(text(value), validate=True)
    except ValueError as error:
        raise invalid(f"invalid base64 encoding: {error}") from error


@dataclass(frozen=True)
class Options:
    """The configuration object of one request; null is as absent."""

    chain: Chain
    given: Mapping[str, Any]

    def slot(self, key: str = "commitment") -> int:
        """The newest slot of the commitment asked for, if that has reached `minContextSlot`."""
        slot = self.chain.slots.at(self._commitment(key))
        if slot < unsigned(self.given.get("minContextSlot", 0)):
            words = "Minimum context slot has not been reached"
            raise RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, words, {"contextSlot": slot})
        return slot

    def block_slot(self) -> int:
        """The same for what is read from blocks, which are not there before they are confirmed."""
        if self._commitment("commitment") == "processed":
            raise invalid("Method does not support commitment below `confirmed`")
        return self.slot()

    def base64(self) -> None:
        """Bytes come and go in base64 only, which is no method's default: it must be named."""
        if self.given.get("encoding") != "base64":
            raise invalid('the devnet speaks base64 only: give "encoding": "base64"')

    def flag(self, key: str) -> bool:
        value = self.given.get(key, False)
        if not isinstance(value, bool):
            raise invalid(f"{key} is true or false")
        return value

    def limit(self, most: int) -> int:
        value = unsigned(self.given.get("limit", most))
        if not 0 < value <= most:
            raise invalid(f"limit is 1 to {most}")
        return value

    def signature(self, key: str) -> Signature | None:
        return signature(self.given[key]) if key in self.given else None

    def _commitment(self, key: str) -> str:
        value = self.given.get(key, "finalized")
        if value not in ("processed", "confirmed", "finalized"):
            raise invalid(f"{key} is processed, confirmed or finalized")
        return str(value)
