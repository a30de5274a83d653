"""Every signed statement: its fields, its exact bytes, its digest, its signature.

Invariants: every field of a kind is required and none other allowed; `encode(decode(b)) == b`;
the `kind` is the domain tag, so a signature under one kind means nothing under another. Verify the
bytes received, act only on what they decode to, store and forward them unchanged.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from policies import canonical
from policies.fields import (
    Address,
    Amount,
    Asset,
    Challenge,
    CodeOrNone,
    Decision,
    Digest,
    DigestOrNone,
    Journal,
    JournalOrNone,
    Key,
    KeyOrNone,
    Label,
    Memo,
    Name,
    NameOrNone,
    Network,
    Outcome,
    RequestId,
    RequestIdOrNone,
    Subject,
    TextOrNone,
    Time,
    Total,
    TransactionBytes,
    TransactionId,
    Version,
    Wallets,
    raw_key,
)

STATEMENT_BYTES_MAX = 64 * 1024
BOOK_BYTES_MAX = 900 * 1024
BOOK_ENTRIES_MAX = 10_000
FIELD_SHOWN_MAX = 64
INTENT_LIFE_MAX_MS = 7 * 24 * 3600 * 1000
FREEZES_MAX = 512
LEASE_MS = 60_000


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

    address: Address
    memo: Memo


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A withdrawal as its requester asks for it. Amount in base units, times in Unix ms."""

    KIND: ClassVar = "kura.intent.v1"
    key: Key
    requester: Name
    request_id: RequestId
    wallet: Name
    network: Network
    asset: Asset
    destination: Destination
    amount: Amount
    created: Time
    expires: Time

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
    key: Key
    decision: Decision
    intent: Digest
    approver: Name
    policy: Digest
    expires: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The requester takes its intent back."""

    KIND: ClassVar = "kura.cancel.v1"
    key: Key
    intent: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One person's signature under a new policy version or address-book version."""

    KIND: ClassVar = "kura.change.v1"
    key: Key
    person: Name
    subject: Subject
    digest: Digest
    previous: DigestOrNone
    expires: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Veto:
    """One officer stops a policy version that waits for its delay. `change` is its digest."""

    KIND: ClassVar = "kura.veto.v1"
    key: Key
    person: Name
    change: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """A signer goes on with a new journal. The change quorum signs changes that name its digest.

    Journals are 32 hex digits; `watchtower` is its key from now on, "" for the policy's.
    """

    KIND: ClassVar = "kura.recover.v1"
    audit_key: Key
    old_journal: JournalOrNone
    new_journal: Journal
    watchtower: KeyOrNone
    created: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class BookEntry:
    """An allowlisted destination. Address and memo are compared whole."""

    network: Network
    address: Address
    memo: Memo
    label: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One version of the address book: what it adds and removes. Its quorum signs changes."""

    KIND: ClassVar = "kura.book.v1"
    version: Version
    previous: DigestOrNone
    add: tuple[BookEntry, ...]
    remove: tuple[BookEntry, ...]

    def __post_init__(self) -> None:
        """Refuse an empty version and one with too many entries."""
        if not 0 < len(self.add) + len(self.remove) <= BOOK_ENTRIES_MAX:
            raise StatementError("add", f"add and remove hold 1 to {BOOK_ENTRIES_MAX} together")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One officer stops a wallet, or all (`*`), in this `epoch` (see `policies.freezes`)."""

    KIND: ClassVar = "kura.freeze.v1"
    key: Key
    person: Name
    wallet: Wallets
    epoch: DigestOrNone


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfreeze:
    """One of a quorum clears exactly these freezes, named by their digests, in this `epoch`."""

    KIND: ClassVar = "kura.unfreeze.v1"
    key: Key
    person: Name
    epoch: DigestOrNone
    freezes: tuple[Digest, ...]
    expires: Time

    def __post_init__(self) -> None:
        """Refuse a list that is empty, too long, or not in its one order."""
        if not 0 < len(self.freezes) <= FREEZES_MAX:
            raise StatementError("freezes", f"must name 1 to {FREEZES_MAX}")
        if list(self.freezes) != sorted(set(self.freezes)):
            raise StatementError("freezes", "must be sorted, each named once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a signer is now, in answer to a watchtower's `question`.

    `challenge` is new with every start; `freezes` is `policies.freezes.digest_of` what stands;
    `lease` names the one that it took last, "" before the first of this start.
    """

    KIND: ClassVar = "kura.hello.v1"
    key: Key
    question: Challenge
    challenge: Challenge
    journal: Journal
    sequence: Total
    head: Digest
    policy: Digest
    epoch: DigestOrNone
    freezes: Digest
    lease: DigestOrNone


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Base units of a wallet's signed transactions that are final or can never land, in all."""

    wallet: Name
    asset: Asset
    amount: Total


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The watchtower's word that all was well at `time`; a signer signs on it until `expires`.

    One that expires at once takes back the one before. `rejections`: digests of those that the
    signer must have to take it.
    """

    KIND: ClassVar = "kura.lease.v1"
    key: Key
    audit_key: Key
    challenge: Challenge
    journal: Journal
    sequence: Total
    head: Digest
    policy: Digest
    epoch: DigestOrNone
    time: Time
    expires: Time
    rejections: tuple[Digest, ...]
    resolved: tuple[Resolved, ...]

    def __post_init__(self) -> None:
        """Refuse a life of more than LEASE_MS, and a wallet named twice."""
        if not self.time <= self.expires <= self.time + LEASE_MS:
            words = f"must be 0 to {LEASE_MS} ms after time"
            raise StatementError("expires", words)
        if len({(item.wallet, item.asset) for item in self.resolved}) < len(self.resolved):
            raise StatementError("resolved", "must name each wallet and asset once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The watchtower holds this receipt: what it covers may be sent to the chain."""

    KIND: ClassVar = "kura.ack.v1"
    key: Key
    receipt: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """The watchtower's word, from finalised state: this transaction has not paid and never will."""

    KIND: ClassVar = "kura.dead.v1"
    key: Key
    intent: Digest
    transaction_id: TransactionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Elapsed:
    """The watchtower's word that at `time` the delay of a policy version was over, unvetoed."""

    KIND: ClassVar = "kura.elapsed.v1"
    key: Key
    change: Digest
    time: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Theft:
    """A transaction on the chain that no receipt covers. The signer checks it; believes nothing.

    `wallet`: whose key signed it; `transaction`: its bytes in hex; `blockhash`: a recent one, in
    hex; `balance`: what the wallet has left. After an unfreeze one of the `epoch` before is void.
    """

    KIND: ClassVar = "kura.theft.v1"
    key: Key
    wallet: Name
    epoch: DigestOrNone
    transaction: TransactionBytes
    blockhash: Digest
    balance: Total


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a signer did with one job, by its audit key. "" and 0 where a field does not apply.

    `amount`: the most that the transaction takes out of the wallet, its fee included; it is dead
    when the chain's `nonce_account` held `nonce_value` (hex), holds another, and it did not land.
    """

    KIND: ClassVar = "kura.receipt.v1"
    key: Key
    outcome: Outcome
    code: CodeOrNone
    requester: NameOrNone
    request_id: RequestIdOrNone
    wallet: NameOrNone
    intent: DigestOrNone
    transaction_id: TextOrNone
    amount: Total
    nonce_account: TextOrNone
    nonce_value: TextOrNone
    journal: Journal
    sequence: Total
    head: Digest
    log_head: DigestOrNone
    time: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the audit key signs: the Merkle tree over a frame's `size` receipts (`receipts`)."""

    KIND: ClassVar = "kura.receipts.v1"
    key: Key
    size: Total
    root: Digest


Order = Intent | Approval | Cancel | Change | Veto | Recover | Book | Freeze | Unfreeze
Word = Hello | Lease | Ack | Dead | Elapsed | Theft | Receipt | Batch
Statement = Order | Word
S = TypeVar("S", bound=Statement)
R = TypeVar("R", bound=Statement | Destination | BookEntry | Resolved)


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
        VerifyKey(raw_key(key)).verify(signed.statement, signed.signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def _parse(kind: type[R], value: object, path: str) -> R:
    if not isinstance(value, dict):
        raise StatementError(path.rstrip("."), "must be an object")
    parsers = _parsers(kind)  # type: ignore[arg-type] # mypy: "a class is not Hashable"
    for missing in sorted(parsers.keys() - value.keys()):
        raise StatementError(path + missing, "is required")
    for unknown in sorted(value.keys() - parsers.keys()):
        raise StatementError(path + unknown, "is not a field of this kind")
    return kind(**{name: parse(value[name], path + name) for name, parse in parsers.items()})


@cache
def _parsers(kind: type[Any]) -> dict[str, Callable[[object, str], Any]]:
    """Return the parser of each field, which takes its value and its path."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _parser(hints[field.name]) for field in fields(kind)}


def _parser(hint: Any) -> Callable[[object, str], Any]:
    if get_origin(hint) is tuple:
        return partial(_parse_list, _parser(get_args(hint)[0]))
    if get_origin(hint) is Annotated:
        return partial(_parse_text, get_args(hint)[1])
    return lambda value, path: _parse(hint, value, path + ".")


def _parse_text(parse: Callable[[object], Any], value: object, path: str) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise StatementError(path, str(error)) from error


def _parse_list(parse: Callable[[object, str], Any], value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise StatementError(path, "must be a list")
    return tuple(parse(item, f"{path}[{index}]") for index, item in enumerate(value))


def _dump(value: Any) -> dict[str, canonical.Value]:
    return {field.name: _dump_field(getattr(value, field.name)) for field in fields(value)}


def _dump_field(value: object) -> canonical.Value:
    match value:
        case str():
            return value
        case int():
            return str(value)
        case tuple():
            return [_dump_field(item) for item in value]
        case _:
            return _dump(value)
