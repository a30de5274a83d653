"""Does the policy allow this withdrawal now? The same answer in custody and in the signer.

Custody asks to answer early and to explain; the answer that counts is the signer's own. Total and
pure: never raises on parsed values, and anything that is not explicitly allowed is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.codes import Code, Refusal
from policies.policy import DestinationClass, Policy, Rule, Tier, Wallet
from policies.quorum import Seats, missing
from policies.statements import Approval, Intent, Signed, StatementError, decode, verify
from policies.units import format_units

EARLY_MS = 30_000


@dataclass(frozen=True, slots=True)
class Allowed:
    """A yes, and the rule that gave it."""

    rule: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one request besides the policy. `now` in Unix ms.

    `in_address_book`: the destination (network, address, memo) stands in the version in force.
    """

    now: int
    in_address_book: bool
    approvals: Sequence[Approval]


def open_intent(policy: Policy, signed: Signed) -> Intent | Refusal:
    """Return the intent, when a requester that the policy names signed exactly these bytes."""
    try:
        intent = decode(Intent, signed.statement)
    except StatementError as error:
        return Refusal(Code.INTENT_MALFORMED, str(error), field=error.field)
    if intent.key not in policy.requesters.get(intent.requester, ()):
        words = f"{intent.requester} with this key is not a requester of this policy"
        return Refusal(Code.REQUESTER_UNKNOWN, words, field="key")
    if not verify(intent.key, signed):
        words = "the requester's signature does not match the bytes"
        return Refusal(Code.SIGNATURE_INVALID, words, field="signature")
    return intent


def evaluate(policy: Policy, intent: Intent, facts: Facts) -> Allowed | Refusal:
    """Return Allowed with the rule, or the first Refusal: wallet, time, cap, rule, people."""
    wallet = policy.wallets.get(intent.wallet)
    if wallet is None:
        words = f"no wallet is called {intent.wallet}"
        return Refusal(Code.WALLET_UNKNOWN, words, field="wallet")
    refusal = _check_place(policy, wallet, intent) or _check_time(intent, facts.now)
    if refusal:
        return refusal
    if intent.amount > wallet.cap:
        words = f"{_units(policy, intent.amount, wallet)} is above the cap of {wallet.name}, "
        words += _units(policy, wallet.cap, wallet)
        return Refusal(Code.CAP_EXCEEDED, words, rule=f"wallets.{wallet.name}.cap", field="amount")
    rule = find_rule(policy, intent, in_address_book=facts.in_address_book)
    if rule is None:
        return _no_rule(policy, intent)
    tier = find_tier(rule, intent.amount)
    if tier is None:
        words = f"no tier of rule {rule.name} reaches {_units(policy, intent.amount, wallet)}"
        return Refusal(Code.TIERS_EXCEEDED, words, rule=rule.name, field="amount")
    return _check_people(policy, rule, tier, facts.approvals)


def find_rule(policy: Policy, intent: Intent, *, in_address_book: bool) -> Rule | None:
    """Return the first rule for this wallet, requester and class of destination."""
    for rule in policy.rules:
        if (rule.wallet, rule.requester) != (intent.wallet, intent.requester):
            continue
        if rule.destination is DestinationClass.ANY or in_address_book:
            return rule
    return None


def find_tier(rule: Rule, amount: int) -> Tier | None:
    """Return the lowest tier that reaches `amount` base units."""
    return next((tier for tier in rule.tiers if amount <= tier.up_to), None)


def seats_missing(policy: Policy, tier: Tier, approvals: Sequence[Approval]) -> tuple[Seats, ...]:
    """Return the seats of `tier` that these approvals leave empty."""
    people = {item.approver: None for item in approvals if item.decision == "approve"}
    return missing(tier.approvals, policy.groups, list(people))


def _check_place(policy: Policy, wallet: Wallet, intent: Intent) -> Refusal | None:
    network = policy.assets[wallet.asset].network
    if intent.asset != wallet.asset:
        words = f"{wallet.name} holds {wallet.asset}, not {intent.asset}"
        return Refusal(Code.ASSET_MISMATCH, words, field="asset")
    if intent.network != network:
        words = f"{wallet.name} is on {network}, not {intent.network}"
        return Refusal(Code.NETWORK_MISMATCH, words, field="network")
    if intent.destination.address == wallet.address:
        words = "the destination is the wallet itself"
        return Refusal(Code.DESTINATION_INVALID, words, field="destination.address")
    return None


def _check_time(intent: Intent, now: int) -> Refusal | None:
    if intent.expires <= now:
        return Refusal(Code.INTENT_EXPIRED, "the intent has expired", field="expires")
    if intent.created > now + EARLY_MS:
        words = "the intent was created in the future"
        return Refusal(Code.INTENT_EARLY, words, field="created")
    return None


def _no_rule(policy: Policy, intent: Intent) -> Refusal:
    if find_rule(policy, intent, in_address_book=True):
        words = f"{intent.destination.address} is not in the address book"
        if intent.destination.memo:
            words += " with this memo"
        field = "destination.address"
        return Refusal(Code.DESTINATION_NOT_ALLOWED, words, field=field)
    words = f"no rule lets {intent.requester} send from {intent.wallet}"
    return Refusal(Code.NO_RULE, words, field="wallet")


def _check_people(
    policy: Policy, rule: Rule, tier: Tier, approvals: Sequence[Approval]
) -> Allowed | Refusal:
    asked = frozenset[str]().union(*(policy.groups[seats.group] for seats in tier.approvals))
    for approval in approvals:
        if approval.decision == "reject" and approval.approver in asked:
            words = f"{approval.approver} rejected it"
            return Refusal(Code.APPROVAL_REJECTED, words, rule=rule.name)
    if empty := seats_missing(policy, tier, approvals):
        words = "still needs " + " and ".join(str(seats) for seats in empty)
        return Refusal(Code.APPROVALS_MISSING, words, rule=rule.name)
    return Allowed(rule.name)


def _units(policy: Policy, amount: int, wallet: Wallet) -> str:
    return format_units(amount, wallet.asset, policy.assets[wallet.asset].decimals)
