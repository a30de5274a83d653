"""Hypothesis strategies of policies, of what changes in them, and of intents and facts near them.

Policies are changed as parsed values; every name that one uses exists in it, as in a parsed file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st

from policies.evaluate import Facts, early_facts
from policies.hours import parse_hours
from policies.policy import DestinationClass, Policy, Rule, Tier, Wallet
from policies.quorum import Seats
from policies.statements import Approval, Destination, Intent
from policies.windows import Period, Scope, Usage, Window
from tests.factories import (
    COLD_ADDRESS,
    CUSTOMER,
    HOT_ADDRESS,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    make_approval,
    make_intent,
    make_policy,
    public,
    rule_text,
    wallet_text,
)

T = TypeVar("T")
Draw = st.DrawFn
_SERVICES = ["screening", "travel"]
_NAMES = ["alice", "bob", "carol", *_SERVICES, "mallory", "exchange"]
_TIERS: Mapping[str, object] = {
    "1 SOL": {"services": ["screening"]},
    "10 SOL": {"people": [["2 of operations"], ["1 of risk"]]},
    "40 SOL": {
        "people": [["1 of operations", "1 of risk"]],
        "services": ["screening"],
        "delay": "1 hour",
    },
}
BASE = make_policy(
    services={name: [public(name)] for name in _SERVICES},
    windows=[
        (scope, period, f"{amount} SOL", count)
        for period, amount, count in (("1 hour", 60, 4), ("24 hours", 90, 9))
        for scope in ("wallet", "requester", "destination", "approved", "upkeep")
    ],
    beyond_recall="90 SOL",
    cooling_period="24 hours",
    cooling_amount="2 SOL",
    delay="1 hour",
    more=rule_text("own", destination="own-wallet", tiers=_TIERS, delay="1 hour")
    + rule_text("partner", requester="partner", tiers={"40 SOL": ["1 of risk"]})
    + rule_text(
        "rest",
        destination="attested by travel",
        hours="fri-fri 08:00-09:00 UTC",  # NOW is in it, an hour later is not
        tiers=_TIERS,
        cooling_period="24 hours",
        cooling_amount="2 SOL",
    )
    + f'[requesters.partner]\nkeys = ["{public("partner")}"]\n'
    + wallet_text("cold-sol"),
)
_PATHS: list[tuple[Seats, ...]] = [
    (Seats(1, "operations"),),
    (Seats(2, "operations"),),
    (Seats(1, "risk"),),
    (Seats(2, "risk"),),
    (Seats(1, "operations"), Seats(1, "risk")),
    (Seats(2, "operations"), Seats(1, "risk")),
]
some_people = st.lists(st.sampled_from(_PATHS), max_size=2, unique=True).map(tuple)
some_hours = st.sampled_from(["always", "fri-fri 08:00-09:00 UTC", "sat-sun 08:00-09:00 UTC"])


def chosen(draw: Draw, items: Sequence[T]) -> T:
    return draw(st.sampled_from(items))


# What changes: each takes a policy and returns it changed. The last half can only loosen or mixes.


def lower_a_limit(draw: Draw, policy: Policy) -> Policy:
    wallet = policy.wallets["hot-sol"]
    name = chosen(draw, ["cap", "maximum_fee", "beyond_recall", "nonce_pool"])
    return with_wallet(
        policy, **{name: max(1, getattr(wallet, name) * draw(st.integers(1, 4)) // 4)}
    )


def disable(draw: Draw, policy: Policy) -> Policy:
    return with_wallet(policy, enabled=draw(st.integers(0, 3)) > 0)


def shrink_a_window(draw: Draw, policy: Policy) -> Policy:
    windows = policy.wallets["hot-sol"].windows
    old = chosen(draw, windows)
    part = draw(st.integers(1, 4))
    new = replace(old, amount=old.amount * part // 4, count=old.count * part // 4)
    return with_wallet(policy, windows=tuple(new if item == old else item for item in windows))


def add_a_window(draw: Draw, policy: Policy) -> Policy:
    scope = chosen(draw, list(Scope))
    new = Window(scope, Period.WEEK, draw(st.integers(0, 100)) * SOL, draw(st.integers(0, 9)))
    kept = [
        w for w in policy.wallets["hot-sol"].windows if (w.scope, w.period) != (scope, new.period)
    ]
    return with_wallet(policy, windows=(*kept, new))


def change_people(draw: Draw, policy: Policy) -> Policy:
    return with_tier(draw, policy, people=draw(some_people))


def ask_more(draw: Draw, policy: Policy) -> Policy:
    rule = chosen(draw, policy.rules)
    tier = chosen(draw, rule.tiers)
    seat = Seats(1, chosen(draw, ["operations", "risk"]))
    paths = tuple(
        tuple(Seats(s.count + 1, s.group) if s.group == seat.group else s for s in path)
        for path in tier.people
    )
    new = replace(
        tier,
        people=paths,
        services=tier.services | draw(st.frozensets(st.sampled_from(list(policy.services)))),
        delay=tier.delay + draw(st.sampled_from([0, HOUR])),
    )
    return with_rule(policy, rule, tiers=tuple(new if t == tier else t for t in rule.tiers))


def move_a_boundary(draw: Draw, policy: Policy) -> Policy:
    rule = chosen(draw, policy.rules)
    index = draw(st.integers(0, len(rule.tiers) - 1))
    below = rule.tiers[index - 1].up_to if index else 0
    tiers = list(rule.tiers)
    tiers[index] = replace(tiers[index], up_to=draw(st.integers(below + 1, tiers[index].up_to)))
    return with_rule(policy, rule, tiers=tuple(tiers))


def drop_a_tier(draw: Draw, policy: Policy) -> Policy:
    rule = chosen(draw, policy.rules)
    if len(rule.tiers) == 1:
        return policy
    gone = chosen(draw, rule.tiers)
    return with_rule(policy, rule, tiers=tuple(tier for tier in rule.tiers if tier != gone))


def change_cooling(draw: Draw, policy: Policy) -> Policy:
    rule = chosen(draw, policy.rules)
    period = draw(st.sampled_from([0, HOUR, 24 * HOUR]))
    return with_rule(
        policy, rule, cooling_period=period, cooling_amount=draw(st.sampled_from([0, SOL, 2 * SOL]))
    )


def lose_a_person(draw: Draw, policy: Policy) -> Policy:
    name = chosen(draw, list(policy.people))
    if len(policy.people) == 1:
        return policy
    groups = {group: members - {name} for group, members in policy.groups.items()}
    return replace(policy, people=without(policy.people, name), groups=groups)


def lose_a_requester(draw: Draw, policy: Policy) -> Policy:
    name = chosen(draw, list(policy.requesters))
    rules = tuple(rule for rule in policy.rules if rule.requester != name)
    if not rules:
        return policy
    return replace(policy, requesters=without(policy.requesters, name), rules=rules)


def lose_a_member(draw: Draw, policy: Policy) -> Policy:
    group = chosen(draw, list(policy.groups))
    members = policy.groups[group]
    gone = draw(st.frozensets(st.sampled_from(["alice", "bob", "carol"]), max_size=1))
    return replace(policy, groups={**policy.groups, group: members - gone})


def gain_a_member(draw: Draw, policy: Policy) -> Policy:
    group = chosen(draw, list(policy.groups))
    name = chosen(draw, list(policy.people))
    members = policy.groups[group] | {name}
    return replace(policy, groups={**policy.groups, group: members})


def raise_a_limit(draw: Draw, policy: Policy) -> Policy:
    name = chosen(draw, ["cap", "beyond_recall"])
    return with_wallet(policy, **{name: getattr(policy.wallets["hot-sol"], name) * 2})


def drop_a_window(draw: Draw, policy: Policy) -> Policy:
    windows = policy.wallets["hot-sol"].windows
    gone = chosen(draw, windows)
    return with_wallet(policy, windows=tuple(w for w in windows if w != gone) or windows)


def change_the_period(draw: Draw, policy: Policy) -> Policy:
    windows = policy.wallets["hot-sol"].windows
    old = chosen(draw, windows)
    new = replace(old, period=Period.MONTH)
    kept = [w for w in windows if w != old and (w.scope, w.period) != (new.scope, new.period)]
    return with_wallet(policy, windows=(*kept, new))


def reach_further(draw: Draw, policy: Policy) -> Policy:
    rule = chosen(draw, policy.rules)
    last = replace(rule.tiers[-1], up_to=rule.tiers[-1].up_to + SOL)
    return with_rule(policy, rule, tiers=(*rule.tiers[:-1], last))


def change_services(draw: Draw, policy: Policy) -> Policy:
    return with_tier(
        draw, policy, services=draw(st.frozensets(st.sampled_from(list(policy.services))))
    )


def change_delay(draw: Draw, policy: Policy) -> Policy:
    return with_tier(draw, policy, delay=draw(st.sampled_from([0, HOUR, 2 * HOUR])))


def change_hours(draw: Draw, policy: Policy) -> Policy:
    return with_rule(policy, chosen(draw, policy.rules), hours=parse_hours(draw(some_hours)))


def drop_a_rule(draw: Draw, policy: Policy) -> Policy:
    gone = chosen(draw, policy.rules)
    return replace(policy, rules=tuple(r for r in policy.rules if r != gone) or policy.rules)


def reorder_rules(draw: Draw, policy: Policy) -> Policy:
    return replace(policy, rules=tuple(draw(st.permutations(policy.rules))))


def change_destination(draw: Draw, policy: Policy) -> Policy:
    kind = chosen(draw, list(DestinationClass))
    service = chosen(draw, list(policy.services)) if kind is DestinationClass.ATTESTED else ""
    rule = chosen(draw, policy.rules)
    return with_rule(policy, rule, destination=kind, service=service)


def lose_a_wallet(draw: Draw, policy: Policy) -> Policy:
    return replace(policy, wallets=without(policy.wallets, "cold-sol"))


def move_a_wallet(draw: Draw, policy: Policy) -> Policy:
    cold = policy.wallets.get("cold-sol")
    wallets = {"cold-sol": replace(cold, address=CUSTOMER.address)} if cold else {}
    return replace(policy, wallets={**policy.wallets, **wallets})


def sweep_elsewhere(draw: Draw, policy: Policy) -> Policy:
    sweep = policy.wallets["hot-sol"].sweep
    assert sweep
    other = [replace(sweep, to=CUSTOMER.address), replace(sweep, fee=1), replace(sweep, count=1)]
    return with_wallet(policy, sweep=chosen(draw, other))


def change_the_watchtower(draw: Draw, policy: Policy) -> Policy:
    return replace(policy, watchtower=public(draw(st.sampled_from(["watchtower", "other"]))))


Change = Callable[[Draw, Policy], Policy]
TIGHTER: list[Change] = [
    lower_a_limit,
    disable,
    shrink_a_window,
    add_a_window,
    ask_more,
    change_people,
    move_a_boundary,
    drop_a_tier,
    change_cooling,
    lose_a_person,
    lose_a_requester,
    lose_a_member,
]
OTHER: list[Change] = [
    gain_a_member,
    raise_a_limit,
    drop_a_window,
    change_the_period,
    reach_further,
    change_services,
    change_delay,
    change_hours,
    drop_a_rule,
    reorder_rules,
    change_destination,
    lose_a_wallet,
    move_a_wallet,
    sweep_elsewhere,
    change_the_watchtower,
]


@st.composite
def changed(draw: Draw, policy: Policy, least: int = 1, most: int = 3) -> Policy:
    """Return `policy` after some changes, most of which could tighten."""
    for change in draw(st.lists(st.sampled_from(TIGHTER + OTHER), min_size=least, max_size=most)):
        policy = change(draw, policy)
    return policy


@st.composite
def changed_by(draw: Draw, change: Change, policy: Policy) -> Policy:
    """Return `policy` after this change."""
    return change(draw, policy)


def some_policies() -> st.SearchStrategy[Policy]:
    return changed(BASE, least=0, most=5)


_ODD: list[dict[str, Any]] = [
    {"requester": "other"},
    {"wallet": "cold-sol"},
    {"wallet": "other"},
    {"network": "solana:mainnet"},
    {"asset": "XRP"},
    {"destination": Destination(HOT_ADDRESS, "")},
    {"created": NOW + HOUR},
]


def edges(policy: Policy) -> set[int]:
    """Return the amounts at which `policy` begins to ask for more, or to refuse."""
    wallet = policy.wallets["hot-sol"]
    limits = {window.amount for window in wallet.windows} | {wallet.cap, wallet.beyond_recall}
    return limits | {tier.up_to for rule in policy.rules for tier in rule.tiers}


@st.composite
def near(draw: Draw, policy: Policy = BASE, other: Policy | None = None) -> Intent:
    """Return an intent that comes near to being allowed; one of six is odd in one way.

    Its amount is near one of the policy's edges, or one that only `policy` or `other` has.
    """
    places = edges(policy) ^ edges(other) if other else set()
    places = places or edges(policy)
    amounts = [max(1, edge + more) for edge in sorted(places) for more in (-SOL // 2, -1, 0, 1)]
    address = draw(st.sampled_from([CUSTOMER.address] * 2 + [STRANGER.address, COLD_ADDRESS]))
    intent = make_intent(
        requester=draw(st.sampled_from(["exchange"] * 4 + ["partner"])),
        destination=Destination(address, draw(st.sampled_from(["", "7"]))),
        amount=draw(st.sampled_from(amounts) | st.integers(min(amounts), max(amounts))),
        expires=NOW + 30 * HOUR,
    )
    odd: dict[str, Any] = draw(st.sampled_from([{}] * 5 * len(_ODD) + _ODD))
    return replace(intent, **odd)


@st.composite
def some_usage(draw: Draw) -> Usage:
    usage = Usage()
    for tick, amount in sorted(
        draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 70)), min_size=1, max_size=4))
    ):
        usage = usage.add(NOW - 30 * HOUR + tick * HOUR, max(1, amount * SOL))
    return usage


@st.composite
def facts_of(draw: Draw, intent: Intent, names: Sequence[str] = _NAMES) -> Facts:
    """Return facts about `intent`, of which some are odd; `names` decide, few reject."""
    facts = early_facts(
        intent,
        now=NOW,
        in_address_book=draw(st.booleans()),
        approvals=[approval(name) for name in draw(st.permutations(names))],
        fee=0,
    )
    odd: dict[str, st.SearchStrategy[Any]] = {
        "now": st.sampled_from([NOW + HOUR, NOW + 24 * HOUR]),
        "tick": st.sampled_from([NOW - HOUR, NOW + HOUR]),
        "approvals": st.lists(st.sampled_from(facts.approvals), max_size=4)
        | st.sampled_from([[a for a in facts.approvals if a != gone] for gone in facts.approvals])
        if names
        else st.just([]),
        "fee": st.sampled_from([5000, SOL]),
        "age": st.sampled_from([0, HOUR - 1, HOUR, -HOUR]),
        "unresolved": st.sampled_from([10 * SOL, 60 * SOL, 89 * SOL]),
        "usage": st.fixed_dictionaries(
            {}, optional={counter: some_usage() for counter in facts.usage}
        )
        | st.fixed_dictionaries({counter: some_usage() for counter in facts.usage}),
    }
    chosen_odd = draw(st.lists(st.sampled_from(sorted(odd)), max_size=2, unique=True))
    if draw(st.integers(0, 3)) == 0:
        chosen_odd = [*chosen_odd, "usage"]
    facts = replace(facts, **{name: draw(odd[name]) for name in chosen_odd})
    if draw(st.integers(0, 3)) == 0:
        age, sent = (
            st.sampled_from([0, 24 * HOUR - 1, 24 * HOUR]),
            st.sampled_from([0, SOL, 9 * SOL]),
        )
        facts = replace(facts, destination_age=draw(age), destination_sent=draw(sent))
    if names and draw(st.integers(0, 7)) == 0:
        no = approval(draw(st.sampled_from(names)), "reject")
        facts = replace(facts, approvals=[*facts.approvals, no])
    return facts


def approval(name: str, decision: str = "approve") -> Approval:
    """Return an approval as `open_approvals` hands it over: everything but these two is checked."""
    return make_approval(BASE, make_intent(), name, decision=decision)


def with_wallet(policy: Policy, **changes: Any) -> Policy:
    wallet: Wallet = replace(policy.wallets["hot-sol"], **changes)
    return replace(policy, wallets={**policy.wallets, "hot-sol": wallet})


def with_rule(policy: Policy, rule: Rule, **changes: Any) -> Policy:
    new = replace(rule, **changes)
    return replace(policy, rules=tuple(new if item == rule else item for item in policy.rules))


def with_tier(draw: Draw, policy: Policy, **changes: Any) -> Policy:
    rule = chosen(draw, policy.rules)
    tier: Tier = chosen(draw, rule.tiers)
    new = replace(tier, **changes)
    return with_rule(policy, rule, tiers=tuple(new if t == tier else t for t in rule.tiers))


def without(table: Mapping[str, T], name: str) -> dict[str, T]:
    return {key: value for key, value in table.items() if key != name}
