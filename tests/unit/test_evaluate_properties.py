"""The verdict: total, deny by default, and monotone in what people and limits say."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.codes import Refusal
from policies.differences import differences, only_tightens
from policies.evaluate import (
    EARLY_MS,
    Allowed,
    Facts,
    approvals_missing,
    counters,
    evaluate,
    find_rule,
    find_tier,
)
from policies.policy import Policy, Rule
from policies.quorum import Seats
from policies.statements import Intent
from policies.windows import BUCKETS, Bucket, Counter, Scope, Usage, Window
from tests.policy_strategies import (
    BASE,
    OTHER,
    TIGHTER,
    Change,
    approval,
    changed,
    changed_by,
    facts_of,
    near,
    some_policies,
)
from tests.strategies import PROPERTY, intents

PEOPLE = ["alice", "bob", "carol", "screening", "travel", "mallory", "exchange"]
UNATTENDED = {Scope.WALLET, Scope.REQUESTER, Scope.DESTINATION}


def drawn(data: st.DataObject, policy: Policy) -> tuple[Intent, Facts]:
    intent = data.draw(near(policy) | near(policy) | near(policy) | intents())
    return intent, data.draw(facts_of(intent))


def can_be_seated(policy: Policy, path: tuple[Seats, ...], people: set[str]) -> bool:
    """Tell, by trying every order of people, whether each seat gets a person of its own."""
    seats = [policy.groups[seat.group] for seat in path for _ in range(seat.count)]
    return any(
        all(person in group for person, group in zip(order, seats, strict=True))
        for order in itertools.permutations(people, len(seats))
    )


def has_room(window: Window, usage: Usage, tick: int, cost: int) -> bool:
    """Count a window over again: the bucket of now and 24 before it."""
    width = window.period.value // BUCKETS
    inside = [
        bucket
        for bucket in usage.buckets
        if bucket.period is window.period and bucket.index + BUCKETS >= tick // width
    ]
    spent = sum(bucket.amount for bucket in inside) + cost
    return spent <= window.amount and sum(bucket.count for bucket in inside) < window.count


def fits(policy: Policy, rule: Rule, intent: Intent, facts: Facts) -> bool:
    network = {name: asset.network for name, asset in policy.assets.items()}
    own = {w.address for w in policy.wallets.values() if network[w.asset] == intent.network}
    return (rule.wallet, rule.requester) == (intent.wallet, intent.requester) and (
        rule.destination in {"any", "attested"}
        or (rule.destination == "address-book" and facts.in_address_book)
        or (rule.destination == "own-wallet" and intent.destination.address in own)
    )


def should_be_allowed(policy: Policy, intent: Intent, facts: Facts) -> bool:
    """Say the policy's meaning over again, as one condition without order or codes."""
    wallet = policy.wallets.get(intent.wallet)
    rules = [rule for rule in policy.rules if fits(policy, rule, intent, facts)]
    tiers = [tier for rule in rules[:1] for tier in rule.tiers if tier.up_to >= intent.amount]
    if wallet is None or not tiers:
        return False
    rule, tier, to = rules[0], tiers[0], intent.destination
    services = {*tier.services, rule.service} - {""}
    asked = services.union(*(policy.groups[s.group] for path in tier.people for s in path))
    yes = {item.approver for item in facts.approvals if item.decision == "approve"}
    no = {item.approver for item in facts.approvals if item.decision == "reject"}
    scopes = {
        Scope.WALLET: Counter(Scope.WALLET),
        Scope.REQUESTER: Counter(Scope.REQUESTER, intent.requester),
        Scope.DESTINATION: Counter(Scope.DESTINATION, f"{to.address} {to.memo}"),
    }
    if tier.people:
        scopes = {Scope.APPROVED: Counter(Scope.APPROVED)}
    windows = [window for window in wallet.windows if window.scope in scopes]
    cost = intent.amount + facts.fee
    return (
        (intent.asset, intent.network) == ("SOL", "solana:devnet")
        and to.address != wallet.address
        and intent.created - EARLY_MS <= facts.now < intent.expires
        and wallet.enabled
        and intent.amount <= wallet.cap
        and all(scopes[window.scope] in facts.usage for window in windows)
        and all(has_room(w, facts.usage[scopes[w.scope]], facts.tick, cost) for w in windows)
        and facts.unresolved + cost <= wallet.beyond_recall
        and (
            facts.destination_age >= rule.cooling_period
            or facts.destination_sent + intent.amount <= rule.cooling_amount
        )
        and not asked & no
        and services <= yes
        and (not tier.people or any(can_be_seated(policy, path, yes) for path in tier.people))
        and facts.age >= tier.delay
        and (rule.hours is None or rule.hours.opens_at(facts.now) == facts.now)
    )


@settings(PROPERTY, max_examples=400)
@given(some_policies(), st.data())
def test_a_verdict_always_comes_and_is_yes_only_where_the_policy_says_so(
    policy: Policy, data: st.DataObject
) -> None:
    intent, facts = drawn(data, policy)
    outcome = evaluate(policy, intent, facts)
    assert isinstance(outcome, Allowed) == should_be_allowed(policy, intent, facts)
    if isinstance(outcome, Refusal):
        assert outcome.message
        assert outcome.earliest == 0 or outcome.earliest > facts.now


absurd = st.integers(-(10**19), 10**19) | st.sampled_from([0, 10**15, -(10**15), 2**63])


@PROPERTY
@given(some_policies(), st.data())
def test_absurd_facts_get_a_verdict_too(policy: Policy, data: st.DataObject) -> None:
    intent, facts = drawn(data, policy)
    names = ["now", "fee", "age", "destination_age", "destination_sent", "unresolved"]
    chosen: dict[str, Any] = data.draw(st.dictionaries(st.sampled_from(names), absurd))
    tick = data.draw(st.integers(0, 10**15))
    bucket = st.builds(
        Bucket, st.just(policy.wallets["hot-sol"].windows[0].period), absurd, absurd, absurd
    )
    usage = data.draw(
        st.dictionaries(
            st.sampled_from(list(counters(intent).values())),
            st.builds(Usage, st.lists(bucket, max_size=2).map(tuple)),
        )
    )
    strange = replace(facts, **chosen, tick=tick, usage=usage)
    outcome = evaluate(policy, intent, strange)
    assert isinstance(outcome, Allowed | Refusal)
    if isinstance(outcome, Allowed):
        assert should_be_allowed(policy, intent, strange)


@PROPERTY
@given(some_policies(), st.data())
def test_what_is_unknown_is_refused(policy: Policy, data: st.DataObject) -> None:
    """A name that the policy has not, a counter that nobody counted, a destination nobody knows."""
    intent, facts = drawn(data, policy)
    if not isinstance(evaluate(policy, intent, facts), Allowed):
        return
    unknown: dict[str, Any] = {"wallet": "x", "requester": "x", "network": "x:y", "asset": "X"}
    for name, value in unknown.items():
        outcome = evaluate(policy, replace(intent, **{name: value}), facts)
        assert isinstance(outcome, Refusal)
    outcome = evaluate(policy, intent, replace(facts, usage={}))
    windows = {window.scope for window in policy.wallets["hot-sol"].windows}
    assert isinstance(outcome, Refusal) or not windows & (UNATTENDED | {Scope.APPROVED})


@PROPERTY
@given(some_policies(), st.data(), st.sampled_from(PEOPLE), st.integers(0, 5))
def test_one_more_approval_never_turns_yes_into_no(
    policy: Policy, data: st.DataObject, person: str, place: int
) -> None:
    intent, facts = drawn(data, policy)
    more = [*facts.approvals[:place], approval(person), *facts.approvals[place:]]
    before, after = (
        evaluate(policy, intent, known) for known in (facts, replace(facts, approvals=more))
    )
    if isinstance(before, Allowed):
        assert after == before


@PROPERTY
@given(some_policies(), st.data(), st.randoms(use_true_random=False))
def test_the_order_of_approvals_changes_nothing(
    policy: Policy, data: st.DataObject, random: Any
) -> None:
    intent, facts = drawn(data, policy)
    shuffled = random.sample(facts.approvals, len(facts.approvals))
    outcome = evaluate(policy, intent, replace(facts, approvals=shuffled))
    assert isinstance(outcome, Allowed) == isinstance(evaluate(policy, intent, facts), Allowed)


def is_only_of_windows(old: Policy, new: Policy, intent: Intent, facts: Facts) -> bool:
    """Tell whether `old` lets nobody's approval through but for windows, and who approves now
    could draw on the window of what people approve before."""
    hot = old.wallets["hot-sol"]
    windows = tuple(window for window in hot.windows if window.scope not in UNATTENDED)
    wallets = {**old.wallets, "hot-sol": replace(hot, windows=windows)}
    outcome = evaluate(replace(old, wallets=wallets), intent, facts)
    rule = find_rule(old, intent, in_address_book=facts.in_address_book)
    if not isinstance(outcome, Allowed) or rule is None:
        return False
    tier = find_tier(rule, intent.amount)
    return (
        tier is not None
        and not tier.people
        and any(
            other.people and not approvals_missing(old, rule, other, facts.approvals)
            for other in rule.tiers
        )
    )


@pytest.mark.parametrize("change", [*TIGHTER, *OTHER], ids=lambda change: change.__name__)
@settings(PROPERTY, max_examples=40)
@given(data=st.data())
def test_what_is_called_tightening_never_allows_more(change: Change, data: st.DataObject) -> None:
    """Both ways: what tightens one way would often allow more on the way back."""
    one = data.draw(changed(BASE, least=0, most=1))
    other = data.draw(changed_by(change, one) | changed_by(change, one).flatmap(changed))
    for old, new in ((one, other), (other, one)):
        tightens = only_tightens(old, new)
        assert tightens == all(item.tightens for item in differences(old, new))
        there = [*new.people, *new.services]  # a decision of anybody else refuses the whole job
        for _ in range(4 if tightens else 0):
            intent = data.draw(near(old) | near(new, old))
            facts = data.draw(facts_of(intent, there))
            assert_no_more_is_allowed(old, new, intent, facts)


def assert_no_more_is_allowed(old: Policy, new: Policy, intent: Intent, facts: Facts) -> None:
    after, before = evaluate(new, intent, facts), evaluate(old, intent, facts)
    if not isinstance(after, Allowed):
        return
    moved = after.counters == (Counter(Scope.APPROVED),)
    if isinstance(before, Allowed):
        assert (after.rule, after.cost) == (before.rule, before.cost)
        assert after.counters == before.counters or moved
    else:
        assert moved
        assert is_only_of_windows(old, new, intent, facts), before
