"""The journal's head, kept in the token: how an older or another journal is noticed.

Written before anything that the journal did is answered. The journal may be ahead of it, by what
was never answered; it may never be behind, nor have another history.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

from policies import canonical
from policies.codes import Code, Refusal
from signer.governance import Governance
from signer.hsm import Token
from signer.journal import Journal

_BYTES_MAX = 4096
_WAY_OUT = "signer doctor says what to do"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the token remembers of a journal. `policy` and `book`: digests in force, "" for none."""

    journal: str
    sequence: str
    head: str
    policy: str
    book: str

    @classmethod
    def of(cls, journal: Journal) -> Self:
        """Return the journal as it is now."""
        governance = Governance(journal)
        return cls(
            journal=journal.name,
            sequence=str(journal.sequence),
            head=journal.head.hex(),
            policy=governance.policy_digest(),
            book=governance.book_version()[1],
        )

    def encode(self) -> bytes:
        """Return what the token keeps."""
        return canonical.encode(asdict(self))


def newest(records: Iterable[bytes]) -> Anchor | None:
    """Return the newest of what the token keeps; a crash may have left two. None for none."""
    try:
        anchors = [_decoded(record) for record in records]
        return max(anchors, key=lambda anchor: int(anchor.sequence), default=None)
    except (ValueError, TypeError):
        return None


def _decoded(record: bytes) -> Anchor:
    value = canonical.decode(record, _BYTES_MAX)
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("not an object of texts")
    return Anchor(**value)  # type: ignore[arg-type] # all texts, as was seen


def find_lock(journal: Journal, records: Iterable[bytes]) -> Refusal | None:
    """Return why this journal is not the one that this token belongs to, or None."""
    anchor = newest(records)
    if anchor is None:
        words = f"the token holds no record of journal {journal.name}: {_WAY_OUT}"
        return Refusal(Code.JOURNAL_FOREIGN, words)
    if anchor.journal != journal.name:
        words = f"the token belongs to journal {anchor.journal}, this is {journal.name}: {_WAY_OUT}"
        return Refusal(Code.JOURNAL_FOREIGN, words)
    sequence = int(anchor.sequence)
    if sequence > journal.sequence:
        missing = sequence - journal.sequence
        words = f"the journal is an older copy: its last {missing} entries are missing: {_WAY_OUT}"
        return Refusal(Code.JOURNAL_BEHIND, words)
    head = journal.head_at(sequence)
    if head is None or head.hex() != anchor.head:
        words = f"the journal has another history than the token remembers: {_WAY_OUT}"
        return Refusal(Code.JOURNAL_BEHIND, words)
    return None


class Anchored:
    """Keeps the token's record at the journal's head; one for each running signer."""

    def __init__(self, token: Token, journal: Journal) -> None:
        self._token = token
        self._journal = journal
        self._records = frozenset(token.records())
        self._sequence = -1

    def settle(self) -> bool:
        """Write the head into the token and return True if it moved.

        RecordsChangedError when another signer has written there.
        """
        if self._sequence == self._journal.sequence:
            return False
        record = Anchor.of(self._journal).encode()
        self._token.replace_records(self._records, record)
        self._records, self._sequence = frozenset({record}), self._journal.sequence
        return True


def begin(token: Token, journal: Journal) -> None:
    """Make this journal the token's: at signer init, and after a recovery."""
    token.replace_records(frozenset(token.records()), Anchor.of(journal).encode())
