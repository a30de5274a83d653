"""The life of a withdrawal: one enum, one table. What the table does not list cannot happen."""

from enum import StrEnum


class State(StrEnum):
    """Where a withdrawal is."""

    PENDING_APPROVAL = "PENDING_APPROVAL"
    QUEUED = "QUEUED"
    SIGNING = "SIGNING"
    SIGNED = "SIGNED"
    BROADCASTING = "BROADCASTING"
    CONFIRMING = "CONFIRMING"
    COMPLETED = "COMPLETED"
    ENDING = "ENDING"
    BLOCKED = "BLOCKED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """True when nothing can happen any more."""
        return self not in {state for state, _ in TRANSITIONS}


class Event(StrEnum):
    """What happens to a withdrawal."""

    APPROVED = "APPROVED"
    APPROVALS_LAPSED = "APPROVALS_LAPSED"
    RESERVED = "RESERVED"
    RETURNED = "RETURNED"
    SIGNATURE = "SIGNATURE"
    BROADCAST = "BROADCAST"
    SENT = "SENT"
    FINALISED = "FINALISED"
    FAILED_ON_CHAIN = "FAILED_ON_CHAIN"
    KILL = "KILL"
    BLOCK = "BLOCK"
    REJECT = "REJECT"
    CANCEL = "CANCEL"
    EXPIRE = "EXPIRE"
    BLOCK_CERTIFIED = "BLOCK_CERTIFIED"
    REJECT_CERTIFIED = "REJECT_CERTIFIED"
    CANCEL_CERTIFIED = "CANCEL_CERTIFIED"
    EXPIRE_CERTIFIED = "EXPIRE_CERTIFIED"
    FAIL_CERTIFIED = "FAIL_CERTIFIED"


class Waiting(StrEnum):
    """What a withdrawal that does not move waits for."""

    NOTHING = ""
    FUNDS = "FUNDS"
    WINDOW = "WINDOW"  # room in a limit
    HOURS = "HOURS"  # the rule's hours
    COOLING = "COOLING"  # the destination to be old enough
    DELAY = "DELAY"  # the delay of its tier
    NONCE = "NONCE"
    RECALL = "RECALL"  # earlier transactions to be final
    POLICY = "POLICY"  # its wallet is disabled
    LEASE = "LEASE"  # the watchtower: its lease, its acknowledgement, or its word that one is dead
    FROZEN = "FROZEN"  # a quorum to lift a freeze
    NODE = "NODE"
    SIGNER = "SIGNER"
    OPERATOR = "OPERATOR"  # custody met a fault with it, or the signer lost its journal meanwhile


# The end that an event heads for, through ENDING, and the event of arriving there.
ENDS: dict[Event, tuple[State, Event]] = {
    Event.BLOCK: (State.BLOCKED, Event.BLOCK_CERTIFIED),
    Event.REJECT: (State.REJECTED, Event.REJECT_CERTIFIED),
    Event.CANCEL: (State.CANCELLED, Event.CANCEL_CERTIFIED),
    Event.EXPIRE: (State.EXPIRED, Event.EXPIRE_CERTIFIED),
    Event.FAILED_ON_CHAIN: (State.FAILED, Event.FAIL_CERTIFIED),
    Event.KILL: (State.FAILED, Event.FAIL_CERTIFIED),
}


class ImpossibleTransitionError(Exception):
    """The state has no such event."""


_UNSIGNED = (State.PENDING_APPROVAL, State.QUEUED, State.SIGNING)
_UNSIGNED_ENDS = (Event.BLOCK, Event.REJECT, Event.CANCEL, Event.EXPIRE)
_SIGNED = (State.SIGNED, State.BROADCASTING, State.CONFIRMING)
_UNTAKEN = (State.PENDING_APPROVAL, State.QUEUED, State.ENDING)

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PENDING_APPROVAL, Event.APPROVED): State.QUEUED,
    (State.QUEUED, Event.APPROVALS_LAPSED): State.PENDING_APPROVAL,
    (State.QUEUED, Event.RESERVED): State.SIGNING,
    (State.SIGNING, Event.APPROVALS_LAPSED): State.PENDING_APPROVAL,
    (State.SIGNING, Event.RETURNED): State.QUEUED,
    (State.SIGNING, Event.SIGNATURE): State.SIGNED,
    **{(state, event): State.ENDING for state in _UNSIGNED for event in _UNSIGNED_ENDS},
    **{(state, Event.KILL): State.ENDING for state in _SIGNED},
    **{(State.ENDING, certified): end for end, certified in ENDS.values()},
    # Signed before: custody was restored from a backup, or told that it could not end it.
    **{(state, Event.SIGNATURE): State.SIGNED for state in _UNTAKEN},
    (State.SIGNED, Event.BROADCAST): State.BROADCASTING,
    (State.BROADCASTING, Event.SENT): State.CONFIRMING,
    (State.CONFIRMING, Event.FINALISED): State.COMPLETED,
    (State.CONFIRMING, Event.FAILED_ON_CHAIN): State.ENDING,
    # A killed one that landed after all.
    (State.ENDING, Event.FINALISED): State.COMPLETED,
    (State.ENDING, Event.FAILED_ON_CHAIN): State.ENDING,
}


def after(state: State, event: Event) -> State:
    """Return the state that `event` leads to; ImpossibleTransitionError when the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransitionError(f"{event} cannot happen in {state}") from None
