"""Parsers of single fields: text in, value out, ValueError with the reason otherwise.

Each accepts one spelling of each value: Python's own `int` takes blanks, underscores and other
scripts' digits, so numbers go through one pattern.
"""

import re
from collections.abc import Callable
from typing import Annotated

from nacl.bindings import crypto_core_ed25519_is_valid_point

AMOUNT_MAX = 2**63 - 1
MEMO_BYTES_MAX = 256
_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_KEY = re.compile(r"ed25519:[0-9a-f]{64}", re.ASCII)


def text_like(pattern: str, words: str) -> Callable[[object], str]:
    """Return a parser of exactly the texts that `pattern` matches whole; `words` describe them."""
    compiled = re.compile(pattern, re.ASCII)

    def parse(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"must be {words}")
        return value

    return parse


name = text_like(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", "1 to 32 of a-z, 0-9 and inner hyphens")
request_id = text_like(r"[A-Za-z0-9._:-]{1,64}", "1 to 64 of A-Z, a-z, 0-9, dot, _, colon, hyphen")
network = text_like(r"[a-z0-9]{1,16}:[a-z0-9-]{1,32}", "chain:network, for example solana:devnet")
asset = text_like(r"[A-Z0-9]{1,16}", "1 to 16 of A-Z and 0-9, for example SOL")
address = text_like(r"[!-~]{1,128}", "1 to 128 visible ASCII characters without blanks")
digest = text_like(r"[0-9a-f]{64}", "a SHA-256 digest, 64 lower-case hex digits")
digest_or_none = text_like(r"(?:[0-9a-f]{64})?", "64 lower-case hex digits, or empty")
journal = text_like(r"[0-9a-f]{32}", "a journal's name, 32 lower-case hex digits")
decision = text_like(r"approve|reject", "approve or reject")
subject = text_like(r"policy|book|recover", "policy, book or recover")
outcome = text_like(r"signed|ended|refused", "signed, ended or refused")
code = text_like(r"[A-Z_]{0,64}", "a code such as WINDOW_EXCEEDED, or empty")
challenge = text_like(r"[0-9a-f]{64}", "32 bytes, 64 lower-case hex digits")
transaction = text_like(r"(?:[0-9a-f]{2}){1,8192}", "a transaction's bytes, lower-case hex digits")


def wallets(value: object) -> str:
    """Parse a wallet's name, or `*` for all of them."""
    return "*" if value == "*" else name(value)


def decimal(value: object, maximum: int) -> int:
    """Parse `0` or digits without leading zero, at most `maximum`."""
    if not isinstance(value, str) or len(value) > 20 or not _DECIMAL.fullmatch(value):  # noqa: PLR2004 - digits of 2^64
        raise ValueError("must be a whole number in ASCII digits, no sign, point or exponent")
    number = int(value)
    if number > maximum:
        raise ValueError(f"must be at most {maximum}")
    return number


def amount(value: object) -> int:
    """Parse base units, 1 to 2^63 - 1."""
    number = decimal(value, AMOUNT_MAX)
    if number == 0:
        raise ValueError("must be at least 1 base unit")
    return number


def total(value: object) -> int:
    """Parse base units, 0 to 2^63 - 1."""
    return decimal(value, AMOUNT_MAX)


def time(value: object) -> int:
    """Parse Unix milliseconds."""
    return decimal(value, 10**15 - 1)


def version(value: object) -> int:
    """Parse a version of a chain, from 1."""
    number = decimal(value, 10**9)
    if number == 0:
        raise ValueError("must be at least 1")
    return number


def memo(value: object) -> str:
    """Parse a memo or tag: at most 256 bytes of UTF-8, "" for none."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if len(value.encode()) > MEMO_BYTES_MAX:
        raise ValueError(f"must be at most {MEMO_BYTES_MAX} bytes of UTF-8")
    return value


def label(value: object) -> str:
    """Parse a short text for people."""
    if not isinstance(value, str) or not 0 < len(value) <= 64:  # noqa: PLR2004 - one line of a screen
        raise ValueError("must be 1 to 64 characters")
    return value


def key(value: object) -> str:
    """Parse `ed25519:<64 hex>`; refuse points off the curve and of low order (RFC 8032, 5.1.3).

    OpenSSL accepts forged signatures under low-order keys, so they are refused at enrolment.
    """
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise ValueError("must be ed25519: and 64 lower-case hex digits")
    if not crypto_core_ed25519_is_valid_point(raw_key(value)):
        raise ValueError("is not a public key: off the curve or of low order")
    return value


def _or_none(parse: Callable[[object], str]) -> Callable[[object], str]:
    return lambda value: "" if value == "" else parse(value)


def raw_key(key_text: str) -> bytes:
    """Return the 32 bytes of a key that `key` accepted."""
    return bytes.fromhex(key_text.removeprefix("ed25519:"))


def key_text(raw: bytes) -> str:
    """Return `ed25519:<64 hex>` of 32 raw bytes."""
    return f"ed25519:{raw.hex()}"


# What a field of a statement is: its Python type, and the parser that makes it.
Key = Annotated[str, key]
KeyOrNone = Annotated[str, _or_none(key)]
Journal = Annotated[str, journal]
JournalOrNone = Annotated[str, _or_none(journal)]
Name = Annotated[str, name]
RequestId = Annotated[str, request_id]
Network = Annotated[str, network]
Asset = Annotated[str, asset]
Address = Annotated[str, address]
Memo = Annotated[str, memo]
Label = Annotated[str, label]
Decision = Annotated[str, decision]
Subject = Annotated[str, subject]
Digest = Annotated[str, digest]
DigestOrNone = Annotated[str, digest_or_none]
Outcome = Annotated[str, outcome]
CodeOrNone = Annotated[str, code]
Challenge = Annotated[str, challenge]
TransactionBytes = Annotated[str, transaction]
TransactionId = Annotated[str, address]
TextOrNone = Annotated[str, _or_none(address)]
NameOrNone = Annotated[str, _or_none(name)]
RequestIdOrNone = Annotated[str, _or_none(request_id)]
Wallets = Annotated[str, wallets]
Amount = Annotated[int, amount]
Total = Annotated[int, total]
Time = Annotated[int, time]
Version = Annotated[int, version]
