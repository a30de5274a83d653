"""The audit log's chain: what one event says, exactly, and whether a row of them hangs together.

Each event's hash covers its canonical JSON (policies.canonical) with the hash of the one before, so
that nothing can be changed, taken out or put in between without changing every hash after it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from policies import canonical
from policies.statements import digest

EVENT_BYTES_MAX = 64 * 1024
_WORDS_BYTES_MAX = EVENT_BYTES_MAX - 1024  # the rest: position, time, kind, hash, names of fields
NOTHING_BEFORE = "0" * 64
_FIELDS = frozenset(
    {"position", "time", "kind", "event", "actor", "subject", "details", "previous"}
)


class Kind(StrEnum):
    """What an event is about."""

    WITHDRAWAL = "WITHDRAWAL"  # a change of state; details: state
    ORDER = "ORDER"  # what a person signed and custody kept; details: digest
    REFUSAL = "REFUSAL"  # a call that was refused; event is the code
    SIGN_IN = "SIGN_IN"  # an identity called for the first time in a while
    CONFIGURATION = "CONFIGURATION"  # policy, address book, or a process's settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One event in its place. `position` counts from 1, `time` in Unix ms, hashes as 64 hex."""

    position: int
    time: int
    kind: str
    event: str
    actor: str
    subject: str
    details: Mapping[str, str]
    previous: str

    def encode(self) -> bytes:
        """Return the exact bytes that are hashed, exported and verified."""
        return canonical.encode(
            {
                "position": str(self.position),
                "time": str(self.time),
                "kind": self.kind,
                "event": self.event,
                "actor": self.actor,
                "subject": self.subject,
                "details": dict(self.details),
                "previous": self.previous,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the event that `data` is; ValueError when it is none."""
        value = canonical.decode(data, EVENT_BYTES_MAX)
        if not isinstance(value, dict) or value.keys() != _FIELDS:
            raise ValueError("is not an audit event")
        details = value.pop("details")
        texts = {name: text for name, text in value.items() if isinstance(text, str)}
        if texts.keys() != _FIELDS - {"details"} or not _is_flat(details):
            raise ValueError("is not an audit event")
        position, time = int(texts.pop("position")), int(texts.pop("time"))
        event = cls(position=position, time=time, details=details, **texts)  # type: ignore[arg-type]
        if event.encode() != data:
            raise ValueError("is not an audit event: a number is not written plainly")
        return event

    @property
    def hash(self) -> str:
        """SHA-256 of `encode()`, which the next event names."""
        return digest(self.encode())


def refuse_unsealable(event: str, actor: str, subject: str, details: Mapping[str, str]) -> None:
    """Raise ValueError for an event that could not be sealed or exported: it would stop the log."""
    words: canonical.Value = [event, actor, subject, dict(details)]
    if len(canonical.encode(words)) > _WORDS_BYTES_MAX:
        raise ValueError(f"the event {event} has more than {_WORDS_BYTES_MAX} bytes")


class BrokenChainError(Exception):
    """The log was changed: `row` is the first bad one, counted from 1."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason


def verify(rows: Iterable[bytes]) -> tuple[int, str]:
    """Return (position, hash) of the last event when every row follows the one before.

    (0, NOTHING_BEFORE) for no rows; BrokenChainError otherwise.
    """
    position, head = 0, NOTHING_BEFORE
    for row, data in enumerate(rows, start=1):
        try:
            event = AuditEvent.decode(data)
        except ValueError as error:
            raise BrokenChainError(row, str(error)) from error
        if event.position != position + 1:
            raise BrokenChainError(row, f"is event {event.position}, not {position + 1}")
        if event.previous != head:
            raise BrokenChainError(
                row, f"does not name the hash of row {row - 1}: one of them changed"
            )
        position, head = event.position, event.hash
    return position, head


def _is_flat(details: canonical.Value) -> bool:
    return isinstance(details, dict) and all(isinstance(text, str) for text in details.values())
