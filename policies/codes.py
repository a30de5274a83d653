"""Refusals: the stable codes, and whether each is final or worth waiting for.

A refusal is a value that custody and signer return; a fault is an exception. `Code` is the whole
list: a code that is not here cannot be sent.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Why something was refused. Never renamed: integrators match on the text."""

    JOB_MALFORMED = "JOB_MALFORMED"
    INTENT_MALFORMED = "INTENT_MALFORMED"
    INTENT_EXPIRED = "INTENT_EXPIRED"
    INTENT_EARLY = "INTENT_EARLY"
    INTENT_BEFORE_JOURNAL = "INTENT_BEFORE_JOURNAL"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    REQUESTER_UNKNOWN = "REQUESTER_UNKNOWN"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    REQUEST_ENDED = "REQUEST_ENDED"
    WALLET_UNKNOWN = "WALLET_UNKNOWN"
    WALLET_NOT_HELD = "WALLET_NOT_HELD"
    NETWORK_MISMATCH = "NETWORK_MISMATCH"
    ASSET_MISMATCH = "ASSET_MISMATCH"
    WALLET_DISABLED = "WALLET_DISABLED"
    DESTINATION_INVALID = "DESTINATION_INVALID"
    DESTINATION_NOT_ALLOWED = "DESTINATION_NOT_ALLOWED"
    AMOUNT_TOO_SMALL = "AMOUNT_TOO_SMALL"
    CAP_EXCEEDED = "CAP_EXCEEDED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    WINDOW_EXCEEDED = "WINDOW_EXCEEDED"
    RECALL_EXCEEDED = "RECALL_EXCEEDED"
    NO_RULE = "NO_RULE"
    TIERS_EXCEEDED = "TIERS_EXCEEDED"
    HOURS_CLOSED = "HOURS_CLOSED"
    COOLING = "COOLING"
    APPROVAL_INVALID = "APPROVAL_INVALID"
    APPROVAL_REJECTED = "APPROVAL_REJECTED"
    APPROVALS_MISSING = "APPROVALS_MISSING"
    APPROVALS_STALE = "APPROVALS_STALE"
    DELAY = "DELAY"
    FEE_EXCEEDED = "FEE_EXCEEDED"
    CHAIN_PARAMETERS_INVALID = "CHAIN_PARAMETERS_INVALID"
    NONCE_USED = "NONCE_USED"
    POLICY_MISSING = "POLICY_MISSING"
    POLICY_MALFORMED = "POLICY_MALFORMED"
    POLICY_OUT_OF_ORDER = "POLICY_OUT_OF_ORDER"
    POLICY_DELAYED = "POLICY_DELAYED"
    POLICY_VETOED = "POLICY_VETOED"
    VETO_INVALID = "VETO_INVALID"
    FACT_MISSING = "FACT_MISSING"
    CLOCK_DIFFERS = "CLOCK_DIFFERS"
    JOURNAL_BEHIND = "JOURNAL_BEHIND"
    JOURNAL_FOREIGN = "JOURNAL_FOREIGN"
    BOOK_MALFORMED = "BOOK_MALFORMED"
    BOOK_OUT_OF_ORDER = "BOOK_OUT_OF_ORDER"
    QUORUM_MISSING = "QUORUM_MISSING"
    TRANSACTION_FAILED = "TRANSACTION_FAILED"
    ROLE_DENIED = "ROLE_DENIED"
    NOT_FOUND = "NOT_FOUND"
    ARGUMENT_INVALID = "ARGUMENT_INVALID"
    TOO_LATE = "TOO_LATE"
    RATE_EXCEEDED = "RATE_EXCEEDED"
    SIGNER_UNSEEN = "SIGNER_UNSEEN"
    NODE_UNREACHABLE = "NODE_UNREACHABLE"
    DATABASE_UNREACHABLE = "DATABASE_UNREACHABLE"
    FAULT = "FAULT"

    @property
    def waits(self) -> bool:
        """True when asking again later can succeed; False when the answer is final."""
        return self in _WAITS


_WAITS = frozenset(
    {
        Code.JOB_MALFORMED,
        Code.INTENT_EARLY,
        Code.WALLET_NOT_HELD,
        Code.FEE_EXCEEDED,
        Code.CHAIN_PARAMETERS_INVALID,
        Code.APPROVALS_MISSING,
        Code.APPROVALS_STALE,
        Code.NONCE_USED,
        Code.POLICY_MISSING,
        Code.POLICY_DELAYED,
        Code.WALLET_DISABLED,
        Code.WINDOW_EXCEEDED,
        Code.RECALL_EXCEEDED,
        Code.HOURS_CLOSED,
        Code.COOLING,
        Code.DELAY,
        Code.FACT_MISSING,
        Code.CLOCK_DIFFERS,
        Code.JOURNAL_BEHIND,
        Code.JOURNAL_FOREIGN,
        Code.RATE_EXCEEDED,
        Code.SIGNER_UNSEEN,
        Code.NODE_UNREACHABLE,
        Code.DATABASE_UNREACHABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no. `rule` and `field` are "" when none decided; `message` says what happened.

    `earliest`: Unix ms before which asking again is of no use; 0 when nobody knows.
    """

    code: Code
    message: str
    rule: str = ""
    field: str = ""
    earliest: int = 0
