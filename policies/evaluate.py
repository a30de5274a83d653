"""Does the policy allow this withdrawal now? The same answer in custody and in the signer.

Custody asks to answer early and to explain; the answer that counts is the signer's own. Total and
pure: never raises on parsed values, and anything that is not explicitly allowed is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.codes import Code, Refusal
from policies.durations import format_duration
from policies.policy import DestinationClass, Policy, Rule, Tier, Wallet
from policies.quorum import Seats, missing
from policies.statements import Approval, Intent, Signed, StatementError, decode, verify
from policies.units import format_units
from policies.windows import Counter, Scope, Usage

EARLY_MS = 30_000


@dataclass(frozen=True, slots=True)
class Allowed:
    """A yes, the rule that gave it, and the counters that `cost` base units go into."""

    rule: str
    counters: tuple[Counter, ...]
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """When it is, and what was counted: `now` in Unix ms, `tick` in ms of the windows' clock."""

    now: int
    tick: int
    usage: Mapping[Counter, Usage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Counted):
    """What is known about one request besides the policy.

    `in_address_book`: the destination (network, address, memo) stands in the version in force.
    `fee` in base units. `age` and `destination_age`: ms since the signer first saw intent and
    destination; `destination_sent`: base units sent there since. `unresolved`: base units signed
    and not known to be final or dead.
    """

    in_address_book: bool
    approvals: Sequence[Approval]
    fee: int
    age: int
    destination_age: int
    destination_sent: int
    unresolved: int


def counters(intent: Intent) -> dict[Scope, Counter]:
    """Return every counter that this intent may be counted in."""
    to = intent.destination
    holders = {Scope.REQUESTER: intent.requester, Scope.DESTINATION: f"{to.address} {to.memo}"}
    scopes = (Scope.WALLET, Scope.REQUESTER, Scope.DESTINATION, Scope.APPROVED)
    return {scope: Counter(scope, holders.get(scope, "")) for scope in scopes}


def early_facts(
    intent: Intent, *, now: int, in_address_book: bool, approvals: Sequence[Approval], fee: int
) -> Facts:
    """Return the facts of who cannot know what the signer counts: nothing spent, all long known."""
    long = 10**15
    return Facts(
        now=now,
        tick=now,
        in_address_book=in_address_book,
        approvals=approvals,
        fee=fee,
        age=long,
        destination_age=long,
        destination_sent=0,
        unresolved=0,
        usage={counter: Usage() for counter in counters(intent).values()},
    )


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
    """Return Allowed, or the first Refusal: time, wallet, cap, rule, windows, people, hours."""
    wallet = policy.wallets.get(intent.wallet)
    if wallet is None:
        words = f"no wallet is called {intent.wallet}"
        return Refusal(Code.WALLET_UNKNOWN, words, field="wallet")
    refusal = check_time(intent, facts.now) or _check_place(policy, wallet, intent)
    if refusal:
        return refusal
    if not wallet.enabled:
        words, where = f"the policy has disabled {wallet.name}", f"wallets.{wallet.name}.enabled"
        return Refusal(Code.WALLET_DISABLED, words, rule=where)
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
    allowed = Allowed(rule.name, tuple(_counted(intent, tier)), intent.amount + facts.fee)
    return (
        _check_cooling(policy, wallet, rule, intent, facts)
        or check_windows(policy, wallet, allowed.counters, allowed.cost, facts)
        or _check_recall(policy, wallet, allowed, facts)
        or _check_people(policy, rule, tier, facts)
        or _check_delay(rule, tier, facts)
        or _check_hours(rule, facts)
        or allowed
    )


def check_time(intent: Intent, now: int) -> Refusal | None:
    """Return why the intent is not of this time, or None."""
    if intent.expires <= now:
        return Refusal(Code.INTENT_EXPIRED, "the intent has expired", field="expires")
    if intent.created > now + EARLY_MS:
        words = "the intent was created in the future"
        return Refusal(Code.INTENT_EARLY, words, field="created")
    return None


def check_windows(
    policy: Policy, wallet: Wallet, counted: Sequence[Counter], cost: int, facts: Counted
) -> Refusal | None:
    """Return the refusal of the window that has room for `cost` last, or None when all have."""
    scopes = {counter.scope: counter for counter in counted}
    latest: Refusal | None = None
    for window in wallet.windows:
        if window.scope not in scopes:
            continue
        usage = facts.usage.get(scopes[window.scope])
        where = f"wallets.{wallet.name}.windows.{window.scope}"
        if usage is None:
            return Refusal(Code.FACT_MISSING, "nobody knows what this window let through", where)
        fits = usage.fits_at(window, facts.tick, cost)
        words = f"{window.scope} window: {_units(policy, window.amount, wallet)} and "
        words += f"{window.count} transactions in {window.period}, fees included"
        if fits is None:
            return Refusal(Code.LIMIT_EXCEEDED, words, rule=where, field="amount")
        earliest = facts.now + fits - facts.tick
        if earliest > (latest.earliest if latest else facts.now):
            latest = Refusal(Code.WINDOW_EXCEEDED, words, rule=where, earliest=earliest)
    return latest


def find_rule(policy: Policy, intent: Intent, *, in_address_book: bool) -> Rule | None:
    """Return the first rule for this wallet, requester and class of destination."""
    own = {
        wallet.address
        for wallet in policy.wallets.values()
        if policy.assets[wallet.asset].network == intent.network
    }
    holds = {
        DestinationClass.ADDRESS_BOOK: in_address_book,
        DestinationClass.OWN_WALLET: intent.destination.address in own,
        DestinationClass.ATTESTED: True,  # the service's approval is asked for with the people's
        DestinationClass.ANY: True,
    }
    for rule in policy.rules:
        asked = (rule.wallet, rule.requester) == (intent.wallet, intent.requester)
        if asked and holds[rule.destination]:
            return rule
    return None


def find_tier(rule: Rule, amount: int) -> Tier | None:
    """Return the lowest tier that reaches `amount` base units."""
    return next((tier for tier in rule.tiers if amount <= tier.up_to), None)


def services_of(rule: Rule, tier: Tier) -> frozenset[str]:
    """Return the services that must approve: the tier's, and the one that attests destinations."""
    return tier.services | ({rule.service} if rule.service else frozenset[str]())


def approvers_of(policy: Policy, rule: Rule, tier: Tier) -> frozenset[str]:
    """Return every person and service that is asked, so that only these can reject."""
    groups = [policy.groups[seats.group] for path in tier.people for seats in path]
    return services_of(rule, tier).union(*groups)


def approvers_needed(
    policy: Policy, rule: Rule, tier: Tier, approvals: Sequence[Approval]
) -> frozenset[str]:
    """Return every person and service whose approval would fill what is still empty."""
    yes = {item.approver: None for item in approvals if item.decision == "approve"}
    paths = [missing(path, policy.groups, list(yes)) for path in tier.people]
    seats = [seat for path in paths for seat in path] if all(paths) else []
    needed = (services_of(rule, tier) - yes.keys()).union(*(policy.groups[s.group] for s in seats))
    return needed - yes.keys()


def approvals_missing(
    policy: Policy, rule: Rule, tier: Tier, approvals: Sequence[Approval]
) -> tuple[str, ...]:
    """Return what is still asked for: "service screening", "1 of risk", or paths "... or ..."."""
    yes = {item.approver: None for item in approvals if item.decision == "approve"}
    silent = tuple(f"service {name}" for name in sorted(services_of(rule, tier) - yes.keys()))
    paths = [missing(path, policy.groups, list(yes)) for path in tier.people]
    if not all(paths) or not paths:
        return silent
    if len(paths) == 1:
        return (*silent, *(str(seats) for seats in paths[0]))
    return (*silent, " or ".join(_path_words(path) for path in paths))


def _path_words(path: Sequence[Seats]) -> str:
    return " and ".join(str(seats) for seats in path)


def _counted(intent: Intent, tier: Tier) -> Iterator[Counter]:
    for scope, counter in counters(intent).items():
        if (scope is Scope.APPROVED) == bool(tier.people):
            yield counter


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


def _no_rule(policy: Policy, intent: Intent) -> Refusal:
    if find_rule(policy, intent, in_address_book=True):
        words = f"{intent.destination.address} is not in the address book"
        if intent.destination.memo:
            words += " with this memo"
        field = "destination.address"
        return Refusal(Code.DESTINATION_NOT_ALLOWED, words, field=field)
    words = f"no rule lets {intent.requester} send from {intent.wallet}"
    return Refusal(Code.NO_RULE, words, field="wallet")


def _check_hours(rule: Rule, facts: Facts) -> Refusal | None:
    opens = rule.hours.opens_at(facts.now) if rule.hours else facts.now
    if opens <= facts.now:
        return None
    words = f"rule {rule.name} signs {rule.hours}"
    return Refusal(Code.HOURS_CLOSED, words, rule=rule.name, earliest=opens)


def _check_cooling(
    policy: Policy, wallet: Wallet, rule: Rule, intent: Intent, facts: Facts
) -> Refusal | None:
    left = rule.cooling_period - facts.destination_age
    if left <= 0 or facts.destination_sent + intent.amount <= rule.cooling_amount:
        return None
    words = f"the destination is new: {_units(policy, rule.cooling_amount, wallet)} in all during "
    words += f"its first {format_duration(rule.cooling_period)}"
    return Refusal(Code.COOLING, words, rule=rule.name, earliest=facts.now + left)


def _check_recall(policy: Policy, wallet: Wallet, allowed: Allowed, facts: Facts) -> Refusal | None:
    if facts.unresolved + allowed.cost <= wallet.beyond_recall:
        return None
    code = Code.RECALL_EXCEEDED
    if allowed.cost > wallet.beyond_recall:
        code = Code.LIMIT_EXCEEDED
    words = f"{_units(policy, wallet.beyond_recall, wallet)} may be signed and not yet final"
    return Refusal(code, words, rule=f"wallets.{wallet.name}.beyond_recall")


def _check_people(policy: Policy, rule: Rule, tier: Tier, facts: Facts) -> Refusal | None:
    asked = approvers_of(policy, rule, tier)
    for approval in facts.approvals:
        if approval.decision == "reject" and approval.approver in asked:
            words = f"{approval.approver} rejected it"
            return Refusal(Code.APPROVAL_REJECTED, words, rule=rule.name)
    if empty := approvals_missing(policy, rule, tier, facts.approvals):
        words = "still needs " + " and ".join(empty)
        return Refusal(Code.APPROVALS_MISSING, words, rule=rule.name)
    return None


def _check_delay(rule: Rule, tier: Tier, facts: Facts) -> Refusal | None:
    left = tier.delay - facts.age
    if left <= 0:
        return None
    words = f"this tier waits {format_duration(tier.delay)} from when the signer first saw it"
    return Refusal(Code.DELAY, words, rule=rule.name, earliest=facts.now + left)


def _units(policy: Policy, amount: int, wallet: Wallet) -> str:
    return format_units(amount, wallet.asset, policy.assets[wallet.asset].decimals)
