"""The verdict's limits: windows, cooling, services, any-of paths, delays, hours; their order."""

from dataclasses import replace
from typing import Any

import pytest

from policies.codes import Code, Refusal
from policies.evaluate import (
    Allowed,
    approvals_missing,
    approvers_needed,
    approvers_of,
    counters,
    early_facts,
    evaluate,
)
from policies.policy import Policy
from policies.statements import Approval, Destination
from policies.windows import Counter, Period, Scope, Usage
from tests.factories import (
    COLD_ADDRESS,
    CUSTOMER,
    HOUR,
    NOW,
    SOL,
    make_approval,
    make_facts,
    make_intent,
    make_policy,
    public,
    rule_text,
    wallet_text,
)

UPKEEP = ("upkeep", "24 hours", "1 SOL", 10)
LARGE = ("24 hours", "1000 SOL", 1000)
SERVICES = {"screening": [public("screening")], "travel": [public("travel")]}
EVERY = {
    Scope.WALLET: Counter(Scope.WALLET),
    Scope.REQUESTER: Counter(Scope.REQUESTER, "exchange"),
    Scope.DESTINATION: Counter(Scope.DESTINATION, f"{CUSTOMER.address} "),
    Scope.APPROVED: Counter(Scope.APPROVED),
}


def approval(name: str, decision: str = "approve") -> Approval:
    return make_approval(make_policy(), make_intent(), name, decision=decision)


def windows(*more: tuple[str, str, str, int]) -> list[tuple[str, str, str, int]]:
    """Return windows that are large but for `more`."""
    named = {scope for scope, *_ in more}
    others = [(scope, *LARGE) for scope in ("wallet", "approved") if scope not in named]
    return [*more, *others, UPKEEP]


def judge(
    policy: Policy,
    *approvals: Approval,
    amount: int = SOL,
    to: Destination = CUSTOMER,
    **facts: Any,
) -> Allowed | Refusal:
    intent = make_intent(amount=amount, destination=to, expires=NOW + 100 * HOUR)
    return evaluate(policy, intent, make_facts(intent, *approvals, **facts))


def refused(outcome: object) -> tuple[Code, int]:
    """Return code and earliest time."""
    assert isinstance(outcome, Refusal), outcome
    assert outcome.message
    return outcome.code, outcome.earliest


def used(**spent: int) -> dict[Counter, Usage]:
    """Return what counters let through an hour ago, by scope."""
    tick = NOW - HOUR
    return {
        counter: Usage().add(tick, spent[scope]) if scope in spent else Usage()
        for scope, counter in EVERY.items()
    }


def test_every_counter_of_an_intent_has_its_holder() -> None:
    assert counters(make_intent()) == EVERY
    tagged = counters(make_intent(destination=replace(CUSTOMER, memo="7")))
    assert tagged[Scope.DESTINATION] == Counter(Scope.DESTINATION, f"{CUSTOMER.address} 7")


def test_what_nobody_approves_is_charged_apart_from_what_people_approve() -> None:
    policy = make_policy()
    small = judge(policy, amount=SOL, fee=5000)
    assert small == Allowed("customers", tuple(EVERY.values())[:3], SOL + 5000)
    large = judge(policy, approval("alice"), amount=2 * SOL, fee=7)
    assert large == Allowed("customers", (EVERY[Scope.APPROVED],), 2 * SOL + 7)


def test_what_only_services_approve_nobody_approves() -> None:
    tiers = {"40 SOL": {"services": ["screening"]}}
    outcome = judge(make_policy(services=SERVICES, tiers=tiers), approval("screening"))
    assert isinstance(outcome, Allowed)
    assert outcome.counters == tuple(EVERY.values())[:3]


@pytest.mark.parametrize("scope", ["wallet", "requester", "destination", "approved"])
def test_a_window_counts_its_own_scope(scope: str) -> None:
    policy = make_policy(windows=windows((scope, "24 hours", "10 SOL", 100)))
    amount, approvals = (2 * SOL, [approval("bob")]) if scope == "approved" else (SOL, [])
    left = 10 * SOL - amount
    for other in EVERY:
        outcome = judge(policy, *approvals, amount=amount, usage=used(**{other: left}))
        assert isinstance(outcome, Allowed)
        outcome = judge(policy, *approvals, amount=amount, usage=used(**{other: left + 1}))
        assert isinstance(outcome, Refusal) == (other == scope)
    full = judge(policy, *approvals, amount=amount, usage=used(**{scope: left + 1}))
    width = Period.DAY.width
    bucket = (NOW - HOUR) // width
    assert refused(full) == (Code.WINDOW_EXCEEDED, (bucket + 25) * width)
    assert isinstance(full, Refusal)
    assert full.rule == f"wallets.hot-sol.windows.{scope}"


def test_fees_count() -> None:
    policy = make_policy(windows=windows(("wallet", "24 hours", "10 SOL", 100)))
    room = used(wallet=9 * SOL)
    assert isinstance(judge(policy, usage=room, fee=0), Allowed)
    assert refused(judge(policy, usage=room, fee=1))[0] is Code.WINDOW_EXCEEDED


def test_what_no_window_ever_holds_is_final() -> None:
    policy = make_policy(windows=windows(("wallet", "24 hours", "1 SOL", 100)))
    assert isinstance(judge(policy), Allowed)
    assert refused(judge(policy, fee=1)) == (Code.LIMIT_EXCEEDED, 0)
    assert not Code.LIMIT_EXCEEDED.waits
    none = make_policy(windows=windows(("wallet", "24 hours", "10 SOL", 0)))
    assert refused(judge(none)) == (Code.LIMIT_EXCEEDED, 0)
    recall = make_policy(beyond_recall="1 SOL")
    assert refused(judge(recall, fee=1)) == (Code.LIMIT_EXCEEDED, 0)


def test_the_window_that_has_room_last_is_told() -> None:
    hour, day = ("wallet", "1 hour", "10 SOL", 9), ("wallet", "24 hours", "10 SOL", 9)
    for order in ((hour, day), (day, hour)):
        outcome = judge(make_policy(windows=windows(*order)), usage=used(wallet=10 * SOL))
        assert refused(outcome)[1] == ((NOW - HOUR) // HOUR + 25) * HOUR
    soon = judge(make_policy(windows=windows(hour)), usage=used(wallet=10 * SOL))
    width = Period.HOUR.width
    assert refused(soon)[1] == ((NOW - HOUR) // width + 25) * width


def test_times_are_of_the_world_though_windows_have_a_clock_of_their_own() -> None:
    policy = make_policy(windows=windows(("wallet", "24 hours", "10 SOL", 9)))
    usage = {counter: Usage().add(500, 10 * SOL) for counter in EVERY.values()}
    outcome = judge(policy, usage=usage, tick=1500)
    assert refused(outcome) == (Code.WINDOW_EXCEEDED, NOW + 25 * HOUR - 1500)


def test_a_window_that_nobody_counted_refuses() -> None:
    policy = make_policy(windows=windows(("destination", *LARGE)))
    for scope in ("wallet", "destination"):
        usage = used()
        del usage[EVERY[Scope(scope)]]
        assert refused(judge(policy, usage=usage))[0] is Code.FACT_MISSING
    assert refused(judge(policy, usage={}))[0] is Code.FACT_MISSING
    assert isinstance(judge(make_policy(), usage={EVERY[Scope.WALLET]: Usage()}), Allowed)


def test_what_is_signed_and_not_final_has_a_limit() -> None:
    policy = make_policy(beyond_recall="10 SOL")
    assert isinstance(judge(policy, unresolved=9 * SOL), Allowed)
    assert refused(judge(policy, unresolved=9 * SOL + 1)) == (Code.RECALL_EXCEEDED, 0)
    assert refused(judge(policy, unresolved=9 * SOL, fee=1)) == (Code.RECALL_EXCEEDED, 0)
    assert Code.RECALL_EXCEEDED.waits


def test_a_disabled_wallet_waits_before_any_limit() -> None:
    everyone = [approval(name) for name in ("alice", "bob", "carol")]
    for amount in (SOL, 20 * SOL, 51 * SOL):
        outcome = judge(make_policy(enabled=False), *everyone, amount=amount)
        assert refused(outcome)[0] is Code.WALLET_DISABLED
        assert isinstance(outcome, Refusal)
        assert outcome.rule == "wallets.hot-sol.enabled"
    assert Code.WALLET_DISABLED.waits


def test_a_young_destination_gets_the_cooling_amount_in_all() -> None:
    policy = make_policy(cooling_period="24 hours", cooling_amount="1.5 SOL")
    assert isinstance(judge(policy, destination_age=10 * HOUR, destination_sent=SOL // 2), Allowed)
    outcome = judge(policy, destination_age=10 * HOUR, destination_sent=SOL // 2 + 1)
    assert refused(outcome) == (Code.COOLING, NOW + 14 * HOUR)
    for age, code in ((24 * HOUR, None), (24 * HOUR - 1, Code.COOLING), (0, Code.COOLING)):
        outcome = judge(policy, destination_age=age, destination_sent=10 * SOL)
        assert (outcome.code if isinstance(outcome, Refusal) else None) is code


def test_a_probe_warms_nothing() -> None:
    """Whatever small amount arrived: the destination stays as young as it is."""
    policy = make_policy(cooling_period="24 hours", cooling_amount="0.1 SOL")
    for sent in (0, 1, SOL // 10):
        outcome = judge(policy, destination_age=HOUR, destination_sent=sent)
        assert refused(outcome) == (Code.COOLING, NOW + 23 * HOUR)
    none = make_policy(cooling_period="24 hours")
    assert refused(judge(none, amount=1, destination_age=0))[0] is Code.COOLING


def test_people_do_not_shorten_cooling() -> None:
    policy = make_policy(cooling_period="24 hours", cooling_amount="1 SOL")
    everyone = [approval(name) for name in ("alice", "bob", "carol")]
    outcome = judge(policy, *everyone, amount=10 * SOL, destination_age=0)
    assert refused(outcome)[0] is Code.COOLING


def test_each_service_is_asked() -> None:
    tiers = {"40 SOL": {"services": ["screening", "travel"], "people": [["1 of risk"]]}}
    policy = make_policy(services=SERVICES, tiers=tiers)
    (rule,) = policy.rules
    given = [approval("screening"), approval("travel"), approval("carol")]
    assert isinstance(judge(policy, *given), Allowed)
    for missing in range(3):
        some = given[:missing] + given[missing + 1 :]
        assert refused(judge(policy, *some))[0] is Code.APPROVALS_MISSING
    assert approvals_missing(policy, rule, rule.tiers[0], ()) == (
        "service screening",
        "service travel",
        "1 of risk",
    )
    assert approvers_needed(policy, rule, rule.tiers[0], given[:1]) == {"travel", "bob", "carol"}
    assert refused(judge(policy, *given, approval("travel", "reject")))[0] is Code.APPROVAL_REJECTED


def test_people_are_no_services_and_services_no_people() -> None:
    tiers = {"40 SOL": {"services": ["screening"], "people": [["1 of risk"]]}}
    policy = make_policy(services=SERVICES, tiers=tiers)
    for names in (["screening", "travel"], ["alice", "bob", "carol"]):
        outcome = judge(policy, *map(approval, names))
        assert refused(outcome)[0] is Code.APPROVALS_MISSING


def test_a_destination_that_a_service_attests() -> None:
    policy = make_policy(services=SERVICES, destination="attested by screening")
    for listed in (True, False):
        outcome = judge(policy, in_address_book=listed)
        assert refused(outcome)[0] is Code.APPROVALS_MISSING
        assert isinstance(outcome, Refusal)
        assert outcome.message == "still needs service screening"
        outcome = judge(policy, approval("travel"), in_address_book=listed)
        assert refused(outcome)[0] is Code.APPROVALS_MISSING
        assert isinstance(judge(policy, approval("screening"), in_address_book=listed), Allowed)
    no = judge(policy, approval("screening", "reject"))
    assert refused(no)[0] is Code.APPROVAL_REJECTED


def test_our_own_wallets_are_those_of_the_policy_on_the_same_network() -> None:
    cold = Destination(COLD_ADDRESS, "")
    policy = make_policy(destination="own-wallet", more=wallet_text("cold-sol"))
    assert isinstance(judge(policy, to=cold, in_address_book=False), Allowed)
    assert refused(judge(policy, in_address_book=False))[0] is Code.NO_RULE
    other = wallet_text("cold-sol", asset="TEST").replace(" SOL", " TEST")
    asset = '[assets.TEST]\nnetwork = "solana:testnet"\ndecimals = 9\n'
    policy = make_policy(destination="own-wallet", more=asset + other)
    assert refused(judge(policy, to=cold, in_address_book=False))[0] is Code.NO_RULE


def test_the_first_rule_that_fits_a_destination_counts() -> None:
    rest = rule_text("own", destination="own-wallet") + rule_text("rest", destination="any")
    policy = make_policy(more=wallet_text("cold-sol") + rest)
    cold = Destination(COLD_ADDRESS, "")
    for to, listed, rule in (
        (CUSTOMER, True, "customers"),
        (cold, True, "customers"),
        (cold, False, "own"),
        (CUSTOMER, False, "rest"),
    ):
        outcome = judge(policy, to=to, in_address_book=listed)
        assert isinstance(outcome, Allowed)
        assert outcome.rule == rule


ANY_OF = make_policy(tiers={"40 SOL": {"people": [["2 of operations"], ["1 of risk"]]}})


@pytest.mark.parametrize(
    ("names", "fills"),
    [
        ([], False),
        (["alice"], False),
        (["bob"], True),  # he is of risk too
        (["carol"], True),
        (["alice", "bob"], True),
        (["mallory", "alice"], False),
    ],
)
def test_any_one_path_is_enough(names: list[str], fills: bool) -> None:
    outcome = judge(ANY_OF, *map(approval, names))
    assert isinstance(outcome, Allowed) == fills


def test_paths_are_not_mixed() -> None:
    policy = make_policy(
        tiers={"40 SOL": {"people": [["2 of operations"], ["2 of risk", "1 of operations"]]}}
    )
    outcome = judge(policy, approval("alice"), approval("carol"))
    assert refused(outcome)[0] is Code.APPROVALS_MISSING
    everyone = map(approval, ("alice", "bob", "carol"))
    assert isinstance(judge(policy, *everyone), Allowed)


def test_what_each_path_lacks_is_named_and_everyone_on_a_path_can_reject() -> None:
    (rule,) = ANY_OF.rules
    (tier,) = rule.tiers
    lacks = approvals_missing(ANY_OF, rule, tier, [approval("alice")])
    assert lacks == ("1 of operations or 1 of risk",)
    assert approvers_of(ANY_OF, rule, tier) == {"alice", "bob", "carol"}
    assert approvers_needed(ANY_OF, rule, tier, [approval("alice")]) == {"bob", "carol"}
    assert approvers_needed(ANY_OF, rule, tier, [approval("carol")]) == set()
    no = judge(ANY_OF, approval("carol"), approval("alice", "reject"))
    assert refused(no)[0] is Code.APPROVAL_REJECTED


def test_a_delay_counts_from_first_sight() -> None:
    policy = make_policy(delay="2 hours")
    assert isinstance(judge(policy, age=2 * HOUR), Allowed)
    assert refused(judge(policy, age=2 * HOUR - 1)) == (Code.DELAY, NOW + 1)
    assert refused(judge(policy, age=0)) == (Code.DELAY, NOW + 2 * HOUR)
    assert refused(judge(policy, age=-HOUR)) == (Code.DELAY, NOW + 3 * HOUR)


def test_hours_say_when_they_open() -> None:
    open_now = make_policy(hours="fri-fri 08:00-09:00 UTC")  # NOW is Friday, 08:00 UTC
    assert isinstance(judge(open_now), Allowed)
    closed = judge(make_policy(hours="fri-fri 08:01-09:00 UTC"))
    assert refused(closed) == (Code.HOURS_CLOSED, NOW + 60_000)
    assert refused(judge(open_now, now=NOW + HOUR)) == (Code.HOURS_CLOSED, NOW + 7 * 24 * HOUR)


STRICT = make_policy(
    cap="40 SOL",
    windows=windows(("approved", "24 hours", "30 SOL", 10)),
    beyond_recall="30 SOL",
    cooling_period="24 hours",
    delay="1 hour",
    hours="sat-sun 08:00-09:00 UTC",
)


def test_refusals_come_in_order() -> None:
    """One cause after another is taken away; the first that is left is told."""
    hot = STRICT.wallets["hot-sol"]
    policy = replace(STRICT, wallets={"hot-sol": replace(hot, enabled=False)})
    intent = make_intent(amount=41 * SOL, created=NOW - HOUR, expires=NOW)
    facts = make_facts(
        intent,
        approval("alice", "reject"),
        in_address_book=False,
        usage=used(approved=30 * SOL),
        unresolved=30 * SOL,
        destination_age=0,
        age=0,
    )
    steps: list[tuple[Code, dict[str, Any], dict[str, Any]]] = [
        (Code.INTENT_EXPIRED, {"expires": NOW + HOUR}, {}),
        (Code.WALLET_DISABLED, {}, {}),
        (Code.CAP_EXCEEDED, {"amount": 20 * SOL}, {}),
        (Code.DESTINATION_NOT_ALLOWED, {}, {"in_address_book": True}),
        (Code.COOLING, {}, {"destination_age": 24 * HOUR}),
        (Code.WINDOW_EXCEEDED, {}, {"usage": used()}),
        (Code.RECALL_EXCEEDED, {}, {"unresolved": 0}),
        (Code.APPROVAL_REJECTED, {}, {"approvals": [approval("alice")]}),
        (Code.APPROVALS_MISSING, {}, {"approvals": [approval("alice"), approval("carol")]}),
        (Code.DELAY, {}, {"age": HOUR}),
        (Code.HOURS_CLOSED, {}, {"now": NOW + 24 * HOUR}),
    ]
    for code, mends_intent, mends_facts in steps:
        assert refused(evaluate(policy, intent, facts))[0] is code
        intent, facts = replace(intent, **mends_intent), replace(facts, **mends_facts)
        if code is Code.WALLET_DISABLED:
            policy = STRICT
        if code is Code.HOURS_CLOSED:
            intent = replace(intent, expires=NOW + 48 * HOUR)
    assert isinstance(evaluate(policy, intent, facts), Allowed)


def test_who_cannot_know_the_counts_is_answered_by_the_rules_alone() -> None:
    policy = make_policy(
        windows=windows(("destination", "1 hour", "10 SOL", 9)),
        cooling_period="365 days",
        delay="6 days",
    )
    intent = make_intent(amount=SOL)
    facts = early_facts(intent, now=NOW, in_address_book=True, approvals=(), fee=0)
    assert isinstance(evaluate(policy, intent, facts), Allowed)
