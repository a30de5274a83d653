"""Every signed statement: its fields, its exact bytes, its digest, its signature.

Invariants: every field of a kind is required and none other allowed; `encode(decode(b)) == b`;
the `kind` is the domain tag, so a signature under one kind means nothing under another. Verify the
bytes received, act only on what they decode to, store and forward them unchanged.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from policies import canonical
from policies import fields as parse

STATEMENT_BYTES_MAX = 64 * 1024
BOOK_BYTES_MAX = 900 * 1024
BOOK_ENTRIES_MAX = 10_000
FIELD_SHOWN_MAX = 64
INTENT_LIFE_MAX_MS = 7 * 24 * 3600 * 1000

Parser = Callable[[object], Any]


class StatementError(ValueError):
    """The bytes are not a statement of the expected kind. `field` is the path of what is wrong.

    A path holds names that a stranger chose, so it is cut: refusals must fit into a reply.
    """

    def __init__(self, field: str, reason: str) -> None:
        field = field[:FIELD_SHOWN_MAX]
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement's exact bytes and the 64-byte Ed25519 signature over them."""

    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Destination:
    """Where money goes: the chain's own text form, and a memo or tag ("" for none)."""

    FIELDS: ClassVar[Mapping[str, Parser]] = {"address": parse.address, "memo": parse.memo}

    address: str
    memo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A withdrawal as its requester asks for it. Amount in base units, times in Unix ms."""

    KIND: ClassVar = "kura.intent.v1"
    FIELDS: ClassVar[Mapping[str, Parser]] = {
        "key": parse.key,
        "requester": parse.name,
        "request_id": parse.request_id,
        "wallet": parse.name,
        "network": parse.network,
        "asset": parse.asset,
        "destination": lambda value: _parse(Destination, value, "destination."),
        "amount": parse.amount,
        "created": parse.time,
        "expires": parse.time,
    }

    key: str
    requester: str
    request_id: str
    wallet: str
    network: str
    asset: str
    destination: Destination
    amount: int
    created: int
    expires: int

    def __post_init__(self) -> None:
        """Refuse a life that is empty or longer than 7 days."""
        if self.expires <= self.created:
            raise StatementError("expires", "must be after created")
        if self.expires - self.created > INTENT_LIFE_MAX_MS:
            raise StatementError("expires", "must be at most 7 days after created")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approver's decision on one intent, under one policy version, until `expires`."""

    KIND: ClassVar = "kura.approval.v1"
    FIELDS: ClassVar[Mapping[str, Parser]] = {
        "key": parse.key,
        "decision": parse.decision,
        "intent": parse.digest,
        "approver": parse.name,
        "policy": parse.digest,
        "expires": parse.time,
    }

    key: str
    decision: str
    intent: str
    approver: str
    policy: str
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The requester takes its intent back."""

    KIND: ClassVar = "kura.cancel.v1"
    FIELDS: ClassVar[Mapping[str, Parser]] = {"key": parse.key, "intent": parse.digest}

    key: str
    intent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One person's signature under a new policy version or address-book version."""

    KIND: ClassVar = "kura.change.v1"
    FIELDS: ClassVar[Mapping[str, Parser]] = {
        "key": parse.key,
        "person": parse.name,
        "subject": parse.subject,
        "digest": parse.digest,
        "previous": parse.digest_or_none,
        "expires": parse.time,
    }

    key: str
    person: str
    subject: str
    digest: str
    previous: str
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookEntry:
    """An allowlisted destination. Address and memo are compared whole."""

    FIELDS: ClassVar[Mapping[str, Parser]] = {
        "network": parse.network,
        "address": parse.address,
        "memo": parse.memo,
        "label": parse.label,
    }

    network: str
    address: str
    memo: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One version of the address book: what it adds and removes. Its quorum signs changes."""

    KIND: ClassVar = "kura.book.v1"
    FIELDS: ClassVar[Mapping[str, Parser]] = {
        "version": parse.version,
        "previous": parse.digest_or_none,
        "add": lambda value: _parse_list(BookEntry, value, "add"),
        "remove": lambda value: _parse_list(BookEntry, value, "remove"),
    }

    version: int
    previous: str
    add: tuple[BookEntry, ...]
    remove: tuple[BookEntry, ...]

    def __post_init__(self) -> None:
        """Refuse an empty version and one with too many entries."""
        if not 0 < len(self.add) + len(self.remove) <= BOOK_ENTRIES_MAX:
            raise StatementError("add", f"add and remove hold 1 to {BOOK_ENTRIES_MAX} together")


Statement = Intent | Approval | Cancel | Change | Book
S = TypeVar("S", bound=Statement)
R = TypeVar("R", bound=Statement | Destination | BookEntry)


def encode(statement: Statement) -> bytes:
    """Return the exact bytes that are signed."""
    return canonical.encode({"kind": statement.KIND, **_dump(statement)})


def decode(kind: type[S], data: bytes) -> S:
    """Return the statement that `data` is, or raise StatementError naming the field."""
    limit = BOOK_BYTES_MAX if kind is Book else STATEMENT_BYTES_MAX
    try:
        value = canonical.decode(data, limit)
    except canonical.CanonicalError as error:
        raise StatementError(error.path, error.reason) from error
    if not isinstance(value, dict) or value.pop("kind", None) != kind.KIND:
        raise StatementError("kind", f"must be {kind.KIND}")
    return _parse(kind, value, "")


def digest(data: bytes) -> str:
    """Return the SHA-256 of exact statement or policy bytes, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def verify(key: str, signed: Signed) -> bool:
    """Tell whether `signed` carries `key`'s Ed25519 signature (RFC 8032, by libsodium)."""
    try:
        VerifyKey(parse.raw_key(key)).verify(signed.statement, signed.signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def _parse(kind: type[R], value: object, path: str) -> R:
    if not isinstance(value, dict):
        raise StatementError(path.rstrip("."), "must be an object")
    for missing in sorted(kind.FIELDS.keys() - value.keys()):
        raise StatementError(path + missing, "is required")
    for unknown in sorted(value.keys() - kind.FIELDS.keys()):
        raise StatementError(path + unknown, "is not a field of this kind")
    parsed: dict[str, Any] = {}
    for name, parser in kind.FIELDS.items():
        try:
            parsed[name] = parser(value[name])
        except StatementError:
            raise
        except ValueError as error:
            raise StatementError(path + name, str(error)) from error
    return kind(**parsed)


def _parse_list(kind: type[R], value: object, path: str) -> tuple[R, ...]:
    if not isinstance(value, list):
        raise StatementError(path, "must be a list")
    return tuple(_parse(kind, item, f"{path}[{index}].") for index, item in enumerate(value))


def _dump(value: Any) -> dict[str, canonical.Value]:
    return {field.name: _dump_field(getattr(value, field.name)) for field in fields(value)}


def _dump_field(value: object) -> canonical.Value:
    match value:
        case str():
            return value
        case int():
            return str(value)
        case tuple():
            return [_dump(item) for item in value]
        case _:
            return _dump(value)
