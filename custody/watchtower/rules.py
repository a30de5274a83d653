"""Whether a signer gets a lease: facts in, the problem out. Decided here alone, without I/O.

PAUSED is any problem, so it comes and goes by the same rules as the lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.statements import Hello

_RECOVER = "put the newest journal back, or recover by quorum and hand the recovery here"


class Cause(StrEnum):
    """What kind of problem it is; metrics count by it."""

    UNREACHABLE = "UNREACHABLE"
    SIGNER = "SIGNER"
    JOURNAL = "JOURNAL"
    ROLLBACK = "ROLLBACK"
    POLICY = "POLICY"
    FREEZE = "FREEZE"
    THEFT = "THEFT"
    NONCES = "NONCES"
    CHAIN = "CHAIN"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no lease; `words` end with what to do next."""

    cause: Cause
    words: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The furthest that a signer's journal was seen. `head` is "" while nothing was.

    `lost`: why it was found to have gone back, "" if it was not; only a recovery clears it.
    """

    journal: str
    sequence: int
    head: str
    lost: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides on one lease.

    `leases_of`: whose leases the signer says it takes. `waiting`: digests of freezes that it does
    not have. `tighter`: digests of versions that only tighten its policy, that it has not taken and
    that no officer vetoed, which is the way out where it refuses one for what is not known here.
    `theft`: the audit key of another signer that a proven theft froze, "" for none.
    `unmoved`: nonce accounts that a recovery waits for. `chain`: the chain's problem.
    """

    key: str
    leases_of: str
    policy_known: bool
    waiting: Sequence[str]
    tighter: Sequence[str]
    theft: str
    unmoved: Sequence[str]
    chain: str


def journal_problem(seen: Seen | None, hello: Hello) -> Problem | None:
    """Return what is wrong with the journal that a signer is at; None for its first or next.

    Entries between two sights are not compared: the head of each covers all before it, but only
    the signer can tell. At the same sequence the heads must be one.
    """
    if seen is None:
        return None
    if hello.journal != seen.journal:
        words = f"the signer is on journal {hello.journal}, its journal is {seen.journal}"
        return Problem(Cause.JOURNAL, f"{words}: {_RECOVER}")
    if seen.lost:
        return Problem(Cause.ROLLBACK, seen.lost)
    if hello.sequence < seen.sequence:
        words = f"the signer's journal went back from entry {seen.sequence} to {hello.sequence}"
        return Problem(Cause.ROLLBACK, f"{words}: {_RECOVER}")
    if hello.sequence == seen.sequence and seen.head not in {"", hello.head}:
        words = f"the signer's journal has another entry {hello.sequence} than before"
        return Problem(Cause.ROLLBACK, f"{words}: {_RECOVER}")
    return None


def lease_problem(facts: Facts) -> Problem | None:
    """Return why a signer on its right journal gets no lease now; None when it gets one."""
    if not facts.policy_known:
        words = "the signer does not show the policy that it says is in force: look at its log"
        return Problem(Cause.POLICY, words)
    if facts.leases_of != facts.key:
        words = f"the signer takes leases of {facts.leases_of or 'nobody'}, this is {facts.key}"
        return Problem(Cause.POLICY, f"{words}: name this key by a policy version or a recovery")
    if facts.waiting:
        words = f"the signer has not taken {len(facts.waiting)} freezes, such as {facts.waiting[0]}"
        return Problem(Cause.FREEZE, f"{words}: sign it anew if freezes were lifted, or lift it")
    if facts.tighter:
        words = f"the signer has not taken policy version {facts.tighter[0]}, which only tightens"
        words += ": look at its relay; if the signer refuses it, as this watchtower's log says, one"
        return Problem(Cause.POLICY, f"{words} officer lets leases go on: custody policy veto")
    if facts.theft:
        words = f"a theft from the signer {facts.theft} was proven, so that no other signs either"
        return Problem(Cause.THEFT, f"{words}: a quorum lifts its freeze: custody freeze list")
    if facts.unmoved:
        words = f"after the recovery {len(facts.unmoved)} nonces still have their old value"
        return Problem(
            Cause.NONCES, f"{words}, such as {facts.unmoved[0]}: the worker advances them"
        )
    if facts.chain:
        return Problem(Cause.CHAIN, facts.chain)
    return None
