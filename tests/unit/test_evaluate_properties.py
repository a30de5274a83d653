"""The verdict: total, deny by default, and monotone in what people and limits say."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from policies.codes import Refusal
from policies.evaluate import EARLY_MS, Allowed, Facts, evaluate
from policies.policy import Policy
from policies.quorum import Seats
from policies.statements import Approval, Destination, Intent
from tests.factories import (
    HOT_ADDRESS,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    make_approval,
    make_intent,
    make_policy,
)
from tests.strategies import PROPERTY, intents

POLICY = make_policy()
PEOPLE = ["alice", "bob", "carol", "mallory", "exchange"]
POLICIES = [
    POLICY,
    make_policy(destination="any"),
    make_policy(tiers={"40 SOL": ["2 of operations", "1 of risk"]}),
    make_policy(tiers={"0.1 SOL": [], "40 SOL": ["1 of risk", "1 of operations"]}),
    replace(POLICY, rules=()),
]


def approval(person: str, decision: str = "approve") -> Approval:
    """Return an approval as `open_approvals` hands it over: everything but these two is checked."""
    return make_approval(POLICY, make_intent(), person, decision=decision)


# Intents that come near to being allowed, and facts around them.
near = st.builds(
    make_intent,
    requester=st.sampled_from(["exchange", "exchange", "exchange", "other"]),
    wallet=st.sampled_from(["hot-sol", "hot-sol", "hot-sol", "cold-sol"]),
    network=st.sampled_from(["solana:devnet", "solana:devnet", "solana:mainnet"]),
    asset=st.sampled_from(["SOL", "SOL", "SOL", "XRP"]),
    destination=st.sampled_from(
        [make_intent().destination, STRANGER, Destination(HOT_ADDRESS, "")]
    ),
    amount=st.sampled_from([limit * SOL + d for limit in (1, 10, 40, 50) for d in (-1, 0, 1)])
    | st.integers(1, 2**63 - 1),
    created=st.just(NOW) | st.integers(NOW - HOUR, NOW + HOUR),
    expires=st.integers(NOW + HOUR + 1, NOW + 2 * HOUR),
)
some_approvals = st.lists(
    st.builds(approval, st.sampled_from(PEOPLE), st.sampled_from(["approve", "approve", "reject"])),
    max_size=5,
)
some_facts = st.builds(
    Facts,
    now=st.just(NOW) | st.integers(NOW - HOUR, NOW + 2 * HOUR),
    in_address_book=st.booleans(),
    approvals=some_approvals,
)
some_policies = st.sampled_from(POLICIES)


def can_be_seated(policy: Policy, quorum: tuple[Seats, ...], people: set[str]) -> bool:
    """Tell, by trying every order of people, whether each seat gets a person of its own."""
    seats = [policy.groups[seat.group] for seat in quorum for _ in range(seat.count)]
    return any(
        all(person in group for person, group in zip(order, seats, strict=True))
        for order in itertools.permutations(people, len(seats))
    )


def should_be_allowed(policy: Policy, intent: Intent, facts: Facts) -> bool:
    """Say the policy's meaning over again, as one condition without order or codes."""
    wallet = policy.wallets.get(intent.wallet)
    rules = [rule for rule in policy.rules if rule.requester == intent.requester]
    if wallet is None or not rules:
        return False
    (rule,) = rules
    tiers = [tier for tier in rule.tiers if tier.up_to >= intent.amount]
    if not tiers:
        return False
    seats = min(tiers, key=lambda tier: tier.up_to).approvals
    asked = {person for seat in seats for person in policy.groups[seat.group]}
    yes = {item.approver for item in facts.approvals if item.decision == "approve"}
    no = {item.approver for item in facts.approvals if item.decision == "reject"}
    return (
        (intent.asset, intent.network) == ("SOL", "solana:devnet")
        and intent.destination.address != wallet.address
        and intent.created - EARLY_MS <= facts.now < intent.expires
        and intent.amount <= wallet.cap
        and (facts.in_address_book or rule.destination == "any")
        and not asked & no
        and can_be_seated(policy, seats, yes)
    )


@PROPERTY
@given(some_policies, near | intents(), some_facts)
def test_a_verdict_always_comes_and_is_yes_only_where_the_policy_says_so(
    policy: Policy, intent: Intent, facts: Facts
) -> None:
    outcome = evaluate(policy, intent, facts)
    assert isinstance(outcome, Allowed) == should_be_allowed(policy, intent, facts)
    if isinstance(outcome, Refusal):
        assert outcome.message


@PROPERTY
@given(some_policies, near, some_facts, st.sampled_from(PEOPLE), st.integers(0, 5))
def test_one_more_approval_never_turns_yes_into_no(
    policy: Policy, intent: Intent, facts: Facts, person: str, place: int
) -> None:
    more = [*facts.approvals[:place], approval(person), *facts.approvals[place:]]
    before, after = (
        evaluate(policy, intent, known) for known in (facts, replace(facts, approvals=more))
    )
    if isinstance(before, Allowed):
        assert after == before


@PROPERTY
@given(some_policies, near, some_facts, st.integers(0, 50 * SOL), st.integers(0, 50 * SOL))
def test_a_lower_cap_never_allows_more(
    policy: Policy, intent: Intent, facts: Facts, one: int, other: int
) -> None:
    low, high = (with_cap(policy, cap) for cap in sorted([one, other]))
    if isinstance(evaluate(low, intent, facts), Allowed):
        assert evaluate(high, intent, facts) == evaluate(low, intent, facts)
        assert intent.amount <= min(one, other)


def with_cap(policy: Policy, cap: int) -> Policy:
    wallet = replace(policy.wallets["hot-sol"], cap=cap)
    return replace(policy, wallets={"hot-sol": wallet})


@PROPERTY
@given(near, some_facts, st.permutations(range(5)))
def test_the_order_of_approvals_changes_nothing(
    intent: Intent, facts: Facts, order: list[int]
) -> None:
    shuffled = [facts.approvals[index] for index in order if index < len(facts.approvals)]
    outcome = evaluate(POLICY, intent, replace(facts, approvals=shuffled))
    assert type(outcome) is type(evaluate(POLICY, intent, facts))
