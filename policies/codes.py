"""Refusals: the stable codes, whether each is final or worth waiting for, and what to do next.

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
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    REQUESTER_UNKNOWN = "REQUESTER_UNKNOWN"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    WALLET_UNKNOWN = "WALLET_UNKNOWN"
    WALLET_NOT_HELD = "WALLET_NOT_HELD"
    NETWORK_MISMATCH = "NETWORK_MISMATCH"
    ASSET_MISMATCH = "ASSET_MISMATCH"
    DESTINATION_INVALID = "DESTINATION_INVALID"
    DESTINATION_NOT_ALLOWED = "DESTINATION_NOT_ALLOWED"
    AMOUNT_TOO_SMALL = "AMOUNT_TOO_SMALL"
    CAP_EXCEEDED = "CAP_EXCEEDED"
    NO_RULE = "NO_RULE"
    TIERS_EXCEEDED = "TIERS_EXCEEDED"
    APPROVAL_INVALID = "APPROVAL_INVALID"
    APPROVAL_REJECTED = "APPROVAL_REJECTED"
    APPROVALS_MISSING = "APPROVALS_MISSING"
    APPROVALS_STALE = "APPROVALS_STALE"
    FEE_EXCEEDED = "FEE_EXCEEDED"
    CHAIN_PARAMETERS_INVALID = "CHAIN_PARAMETERS_INVALID"
    NONCE_USED = "NONCE_USED"
    NONCE_OPENS_EXCEEDED = "NONCE_OPENS_EXCEEDED"
    POLICY_MISSING = "POLICY_MISSING"
    BOOK_MALFORMED = "BOOK_MALFORMED"
    BOOK_OUT_OF_ORDER = "BOOK_OUT_OF_ORDER"
    QUORUM_MISSING = "QUORUM_MISSING"
    SIGNED_DIFFERENTLY = "SIGNED_DIFFERENTLY"
    TRANSACTION_FAILED = "TRANSACTION_FAILED"
    ROLE_DENIED = "ROLE_DENIED"
    NOT_FOUND = "NOT_FOUND"
    ARGUMENT_INVALID = "ARGUMENT_INVALID"
    TOO_LATE = "TOO_LATE"
    SIGNER_UNSEEN = "SIGNER_UNSEEN"
    NODE_UNREACHABLE = "NODE_UNREACHABLE"
    DATABASE_UNREACHABLE = "DATABASE_UNREACHABLE"
    FAULT = "FAULT"

    @property
    def waits(self) -> bool:
        """True when asking again later can succeed; False when the answer is final."""
        return self in _WAITS

    @property
    def next(self) -> str:
        """What the person who reads it can do."""
        return _NEXT[self]


_WAITS = frozenset(
    {
        Code.APPROVALS_MISSING,
        Code.APPROVALS_STALE,
        Code.NONCE_USED,
        Code.POLICY_MISSING,
        Code.SIGNER_UNSEEN,
        Code.NODE_UNREACHABLE,
        Code.DATABASE_UNREACHABLE,
    }
)

_SHOW_POLICY = "custody policy explain shows what is allowed"

_NEXT: dict[Code, str] = {
    Code.JOB_MALFORMED: "custody and signer differ in version: compare both with --version",
    Code.INTENT_MALFORMED: "correct the field named here and send a new request_id",
    Code.INTENT_EXPIRED: "create it again under a new request_id: custody withdrawal create",
    Code.INTENT_EARLY: "set the clock of the host that made the intent",
    Code.SIGNATURE_INVALID: "sign the exact bytes you send with the key that the policy names",
    Code.REQUESTER_UNKNOWN: "ask the officers to name this requester and key in the policy",
    Code.REQUEST_ID_REUSED: "use a new request_id: one id pays once, for ever",
    Code.WALLET_UNKNOWN: "custody wallet list shows the wallets",
    Code.WALLET_NOT_HELD: "connect the signer that the policy names for this wallet",
    Code.NETWORK_MISMATCH: "custody wallet list shows each wallet's network",
    Code.ASSET_MISMATCH: "custody wallet list shows each wallet's asset",
    Code.DESTINATION_INVALID: "check the whole address with its owner",
    Code.DESTINATION_NOT_ALLOWED: "an address is added by quorum: custody book sign",
    Code.AMOUNT_TOO_SMALL: "send at least the chain's minimum for a new account",
    Code.CAP_EXCEEDED: "ask for less; " + _SHOW_POLICY,
    Code.NO_RULE: _SHOW_POLICY,
    Code.TIERS_EXCEEDED: "ask for less; " + _SHOW_POLICY,
    Code.APPROVAL_INVALID: "find out who sent it; officers approve with custody approval approve",
    Code.APPROVAL_REJECTED: "talk to the officer who rejected it; a new request needs a new id",
    Code.APPROVALS_MISSING: "officers approve with custody approval approve",
    Code.APPROVALS_STALE: "the policy or the time moved on: approve again",
    Code.FEE_EXCEEDED: "lower the fee in the worker's settings, or raise maximum_fee by quorum",
    Code.CHAIN_PARAMETERS_INVALID: "check the worker's settings for this chain",
    Code.NONCE_USED: "nothing: the worker asks again with another nonce",
    Code.NONCE_OPENS_EXCEEDED: "find out why the account never opens; take another index",
    Code.POLICY_MISSING: "install a policy: signer policy install FILE",
    Code.BOOK_MALFORMED: "correct the line named here: custody book check FILE",
    Code.BOOK_OUT_OF_ORDER: "make the version that follows the one in force: custody policy show",
    Code.QUORUM_MISSING: "collect the missing signatures: custody book sign",
    Code.SIGNED_DIFFERENTLY: "stop: the signer built something else than was asked; call security",
    Code.TRANSACTION_FAILED: "read the chain's error; a new request needs a new id",
    Code.ROLE_DENIED: "use a certificate of a role that may do this",
    Code.NOT_FOUND: "check the name: custody withdrawal list",
    Code.ARGUMENT_INVALID: "correct the field named here",
    Code.TOO_LATE: "wait for its end: custody withdrawal show",
    Code.SIGNER_UNSEEN: "start worker, relay and signer, then ask again",
    Code.NODE_UNREACHABLE: "ask again; the operator checks the chain node",
    Code.DATABASE_UNREACHABLE: "ask again; the operator checks PostgreSQL",
    Code.FAULT: "tell the operator the time and the name of what you asked for",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no. `rule` and `field` are "" when none decided; `message` says what happened."""

    code: Code
    message: str
    rule: str = ""
    field: str = ""
