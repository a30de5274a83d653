"""What an officer's own machine checks before anybody approves. Custody is not believed.

Invariants: what is shown comes from the signed bytes alone; a field that custody shows otherwise, a
name that is not the bytes' digest, a signature that does not verify, a policy that is not the one
pinned, and a withdrawal that the policy would refuse anyway are errors. Pure: time is a parameter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from custody.cli.output import clipped
from kura.custody.v1 import custody_pb2 as wire
from policies.approvals import open_approval
from policies.codes import Code, Refusal
from policies.evaluate import (
    approvals_missing,
    approvers_needed,
    approvers_of,
    early_facts,
    evaluate,
    find_rule,
    find_tier,
    open_intent,
)
from policies.policy import DestinationClass, Policy
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import Approval, Intent, Signed, StatementError, decode, digest

SHOWN_MAX = 128  # characters: an address is shown whole
_ASKING = frozenset({Code.APPROVALS_MISSING, Code.APPROVAL_REJECTED, Code.HOURS_CLOSED})


class UntrustedError(Exception):
    """Custody shows something that the signed bytes do not say. `field` names it."""

    advice = ""

    def __init__(self, field: str, shown: str, signed: str) -> None:
        said, right = repr(clipped(shown, SHOWN_MAX)), repr(clipped(signed, SHOWN_MAX))
        words = f"custody shows {field} {said}, but {right} is right: {self.advice}approve nothing "
        super().__init__(words + "and tell the other officers by another way than custody")
        self.field = field


class NotPinnedError(UntrustedError):
    """Custody shows another policy than the pinned one: a newer one in force, or a forgery."""

    advice = (
        "if the officers changed the policy, get the new files and signatures from them and say"
        " custody policy pin OLD NEW... --signatures FILE; if they did not, "
    )


class RefusedAnywayError(Exception):
    """No approval would help: the signer would refuse this now."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"the signer would refuse it: {refusal.code}: {refusal.message}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision that came along: `state` is valid, EXPIRED, OUTDATED or INVALID."""

    state: str
    words: str
    approval: Approval | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom one rule asks about this amount, and what the valid approvals leave empty.

    `approvers`: all who are asked; `needed`: those of them whose approval would still help.
    """

    rule: str
    destination: DestinationClass
    up_to: int
    asks: tuple[str, ...]
    missing: tuple[str, ...]
    approvers: frozenset[str]
    needed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verified:
    """A withdrawal as its signed bytes and the policy say it.

    `asked` has two entries where it matters whether the destination is in the address book: only
    the signer knows that.
    """

    digest: str
    intent: Intent
    asked: tuple[Asked, ...]
    decisions: tuple[Decision, ...]

    @property
    def name(self) -> str:
        """What the API calls it."""
        return f"withdrawals/{self.digest}"

    def asked_people(self) -> frozenset[str]:
        """Return everyone who is asked: people and services."""
        return frozenset[str]().union(*(asked.approvers for asked in self.asked))

    def decided(self, person: str) -> bool:
        """Tell whether a decision of theirs counts now."""
        valid = [item.approval for item in self.decisions if item.state == "valid"]
        return any(approval is not None and approval.approver == person for approval in valid)

    def needs(self, person: str) -> bool:
        """Tell whether a seat is empty that this person could take, and has not."""
        return not self.decided(person) and any(person in asked.needed for asked in self.asked)


def open_policy(file: bytes, pinned: str | None) -> Policy:
    """Return the policy that custody shows, when it is the one whose digest is `pinned`."""
    found = digest(file)
    if pinned is not None and found != pinned:
        raise NotPinnedError("policy digest", found, pinned)
    try:
        return parse_policy(file)
    except FileError as error:
        raise UntrustedError("policy", str(error), "a policy") from error


def read_intent(asked: str, shown: wire.Withdrawal) -> Intent:
    """Return the intent of the withdrawal called `asked`, when all that custody shows agrees."""
    statement = shown.intent.statement
    for name in (asked, shown.name):
        if name != f"withdrawals/{digest(statement)}":
            raise UntrustedError("name", shown.name, f"{asked}, the digest of the signed bytes,")
    try:
        intent = decode(Intent, statement)
    except StatementError as error:
        raise UntrustedError("intent", str(error), "an intent") from error
    for field, said, signed in _shown_twice(shown, intent):
        if said != signed:
            raise UntrustedError(field, said, signed)
    return intent


def verify_withdrawal(asked: str, shown: wire.Withdrawal, policy: Policy, now: int) -> Verified:
    """Return what an officer may decide on; UntrustedError or RefusedAnywayError otherwise."""
    read_intent(asked, shown)
    signed = Signed(shown.intent.statement, shown.intent.signature)
    intent = open_intent(policy, signed)
    if isinstance(intent, Refusal):
        raise RefusedAnywayError(intent)
    name = digest(signed.statement)
    decisions = tuple(
        _decision(policy, name, Signed(item.statement, item.signature), now)
        for item in shown.approvals
    )
    valid = [item.approval for item in decisions if item.state == "valid" and item.approval]
    return Verified(name, intent, _asked(policy, intent, valid, now), decisions)


def _shown_twice(shown: wire.Withdrawal, intent: Intent) -> Iterator[tuple[str, str, str]]:
    """Yield (field, as custody shows it, as it was signed)."""
    seconds, milliseconds = divmod(intent.expires, 1000)
    time = shown.expire_time
    yield "requester", shown.requester, intent.requester
    yield "request_id", shown.request_id, intent.request_id
    yield "wallet", shown.wallet, f"wallets/{intent.wallet}"
    yield "network", shown.network, intent.network
    yield "asset", shown.asset, intent.asset
    yield "destination.address", shown.destination.address, intent.destination.address
    yield "destination.memo", shown.destination.memo, intent.destination.memo
    yield "amount", shown.amount, str(intent.amount)
    yield "expire_time", f"{time.seconds}.{time.nanos:09}", f"{seconds}.{milliseconds:03}000000"


def _decision(policy: Policy, intent: str, signed: Signed, now: int) -> Decision:
    approval = open_approval(policy, intent, signed)
    if isinstance(approval, Refusal):
        return Decision("INVALID", approval.message, None)
    words = f"{approval.decision} by {approval.approver}"
    if approval.policy != policy.digest:
        return Decision("OUTDATED", f"{words}, for another version of the policy", approval)
    if approval.expires <= now:
        return Decision("EXPIRED", words, approval)
    return Decision("valid", words, approval)


def _asked(
    policy: Policy, intent: Intent, approvals: Sequence[Approval], now: int
) -> tuple[Asked, ...]:
    asked: dict[str, Asked] = {}
    refusal = None
    for listed in (True, False):
        facts = early_facts(intent, now=now, in_address_book=listed, approvals=approvals, fee=0)
        verdict = evaluate(policy, intent, facts)
        rule = find_rule(policy, intent, in_address_book=listed)
        tier = find_tier(rule, intent.amount) if rule else None
        if isinstance(verdict, Refusal) and verdict.code not in _ASKING:
            refusal = refusal or verdict
        elif rule and tier:
            asked[rule.name] = Asked(
                rule=rule.name,
                destination=rule.destination,
                up_to=tier.up_to,
                asks=approvals_missing(policy, rule, tier, ()),
                missing=approvals_missing(policy, rule, tier, approvals),
                approvers=approvers_of(policy, rule, tier),
                needed=approvers_needed(policy, rule, tier, approvals),
            )
    if not asked and refusal:
        raise RefusedAnywayError(refusal)
    return tuple(asked.values())
