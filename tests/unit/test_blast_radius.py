"""No attacker gets more past `evaluate` than the blast radius says; who holds more gets no less."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from policies.blast_radius import UNATTENDED, Position, blast_radius, positions, sources
from policies.evaluate import Allowed, early_facts, evaluate
from policies.outflow import most
from policies.policy import DestinationClass, Policy
from policies.statements import Destination
from policies.windows import Counter, Period, Scope, Usage, Window
from tests.factories import COLD_ADDRESS, NOW, SOL, make_intent, make_policy
from tests.policy_strategies import approval, some_policies, with_wallet
from tests.strategies import PROPERTY

PAYMENTS_MAX = 80
PEOPLE = ("alice", "bob", "carol")
STOLEN = Position(requesters=frozenset({"exchange"}))

held = st.builds(
    Position,
    requesters=st.frozensets(st.sampled_from(["exchange", "partner"]), min_size=1),
    services=st.frozensets(st.sampled_from(["screening", "travel"])),
    people=st.integers(0, 3),
)
some_windows = st.lists(
    st.builds(
        Window,
        scope=st.sampled_from(["wallet", "requester", "destination", "approved"]).map(Scope),
        period=st.sampled_from(Period),
        amount=st.integers(1, 90).map(lambda amount: amount * SOL),
        count=st.sampled_from([1, 2, 3, 5, 9, 1000]),
    ),
    min_size=2,
    max_size=8,
    unique_by=lambda window: (window.scope, window.period),
).filter(lambda windows: {Scope.WALLET, Scope.APPROVED} <= {of.scope for of in windows})


class Thief:
    """Tries what it is told to and notes what left, as a signer counts it."""

    def __init__(
        self, policy: Policy, position: Position, people: list[str], listed: int | None
    ) -> None:
        self.policy, self.position, self.listed = policy, position, listed
        self.names = [*people, *sorted(position.services)]
        self.usage: dict[Counter, Usage] = {}
        self.left: list[tuple[int, int]] = []
        self.held: list[int] = []  # what each signed transaction takes that is not sent yet
        self.hoards = False
        self.fee = policy.wallets["hot-sol"].maximum_fee

    def try_to_pay(self, tick: int, requester: str, place: int, amount: int) -> bool:
        address = COLD_ADDRESS if place == 0 else f"thief-{place}"
        to = Destination(address, "")
        intent = make_intent(requester=requester, destination=to, amount=amount, expires=NOW + 1)
        known = self.listed is None or 1 <= place <= self.listed
        facts = early_facts(
            intent,
            now=NOW,
            in_address_book=known or self.position.people >= 2,
            approvals=[approval(name) for name in self.names],
            fee=self.fee,
        )
        usage = {counter: self.usage.get(counter, Usage()) for counter in facts.usage}
        facts = replace(facts, tick=tick, usage=usage, unresolved=sum(self.held))
        verdict = evaluate(self.policy, intent, facts)
        if not isinstance(verdict, Allowed):
            return False
        for counter in verdict.counters:
            self.usage[counter] = usage[counter].add(tick, verdict.cost)
        if self.hoards:
            self.held.append(verdict.cost)
        rule = next(rule for rule in self.policy.rules if rule.name == verdict.rule)
        ours = rule.destination is DestinationClass.OWN_WALLET
        self.left.append((tick, self.fee if ours else verdict.cost))
        return True

    def rob(self, tick: int, requester: str, place: int, amounts: list[int]) -> None:
        """Pay these amounts, and what fits, the largest first, as often as it goes."""
        for some in (amounts, sorted(self.rooms(tick), reverse=True)):
            for amount in some:
                while len(self.left) < PAYMENTS_MAX and self.try_to_pay(
                    tick, requester, place, amount
                ):
                    pass

    def rooms(self, tick: int) -> set[int]:
        """Return what each window leaves, less a fee."""
        return {
            room - self.fee
            for counter, usage in self.usage.items()
            for window in self.policy.wallets["hot-sol"].windows
            if window.scope is counter.scope
            if (room := window.amount - usage.spent(window.period, tick)[0]) > self.fee
        }

    def free(self, tick: int) -> int:
        """Return the first tick after `tick` at which a window lets go of something."""
        widths = {window.period.width for window in self.policy.wallets["hot-sol"].windows}
        begins = [(then // width + 25) * width for then, _ in self.left for width in widths]
        return min((at for at in begins if at > tick), default=tick + 1)

    def most_within(self, span: int) -> int:
        return max(
            (
                sum(cost for tick, cost in self.left if begin <= tick <= begin + span)
                for begin, _ in self.left
            ),
            default=0,
        )


@PROPERTY
@given(some_policies(), some_windows, held, st.none() | st.integers(0, 2), st.integers(0, 2**32))
def test_nobody_gets_more_than_the_bound(
    policy: Policy, windows: list[Window], position: Position, listed: int | None, seed: int
) -> None:
    policy = with_wallet(policy, windows=tuple(windows))
    wallet = policy.wallets["hot-sol"]
    position = replace(position, requesters=position.requesters & policy.requesters.keys())
    edges = sorted({tier.up_to for rule in policy.rules for tier in rule.tiers}, reverse=True)
    random = Random(seed)
    thief = Thief(policy, position, random.sample(PEOPLE, position.people), listed)
    tick = random.choice([-1, -1, 0, random.randrange(Period.MONTH.width)])
    pairs = [(name, place) for name in sorted(position.requesters) for place in range(3)]
    for _ in range(12):
        for name, place in random.sample(pairs, len(pairs)):
            thief.rob(tick, name, place, random.choice([edges, edges[-1:], []]))
        tick = thief.free(tick)
    for period in Period:
        bound, _ = most(sources(policy, wallet, position, listed), period.value)
        assert thief.most_within(period.value) <= bound


@PROPERTY
@given(some_policies(), some_windows, held, st.integers(0, 2**32))
def test_who_hoards_lands_no_more_than_the_bound_and_what_is_beyond_recall(
    policy: Policy, windows: list[Window], position: Position, seed: int
) -> None:
    """What is signed counts in its period; all that is held can be sent in a later one, at once."""
    policy = with_wallet(policy, windows=tuple(windows))
    wallet = policy.wallets["hot-sol"]
    position = replace(position, requesters=position.requesters & policy.requesters.keys())
    edges = sorted({tier.up_to for rule in policy.rules for tier in rule.tiers}, reverse=True)
    random = Random(seed)
    thief = Thief(policy, position, random.sample(PEOPLE, position.people), None)
    thief.hoards = True
    landed: list[tuple[int, int]] = []
    tick = -1
    for _ in range(12):
        for name in sorted(position.requesters):
            thief.rob(tick, name, random.randrange(1, 3), random.choice([edges, edges[-1:], []]))
        assert sum(thief.held) <= wallet.beyond_recall
        if random.random() < 0.5:
            landed += [(tick, cost) for cost in thief.held]
            thief.held.clear()
        tick = thief.free(tick)
    landed += [(tick, cost) for cost in thief.held]
    for period in Period:
        bound, _ = most(sources(policy, wallet, position, None), period.value)
        for begin, _ in landed:
            within = sum(cost for at, cost in landed if begin <= at <= begin + period.value)
            assert within <= bound + wallet.beyond_recall
        assert thief.most_within(period.value) <= bound


@PROPERTY
@given(some_policies(), st.none() | st.integers(0, 3))
def test_who_holds_more_gets_no_less(policy: Policy, listed: int | None) -> None:
    wallet = policy.wallets["hot-sol"]
    figures = {
        of: [most(sources(policy, wallet, of, listed), period.value)[0] for period in Period]
        for of in positions(policy, wallet, listed)
    }
    for smaller, less in figures.items():
        assert less == sorted(less)
        for larger, more in figures.items():
            if smaller.within(larger):
                assert all(a <= b for a, b in zip(less, more, strict=True))


def test_rows_are_of_positions_that_change_a_figure() -> None:
    rows = list(blast_radius(make_policy(), make_policy().wallets["hot-sol"]))
    assert [row.position.people for row in rows[::4]] == [0, 0, 1]  # two people fill no more
    assert [row.period for row in rows[:4]] == list(Period)


def test_one_transaction_may_not_exceed_what_may_be_unresolved() -> None:
    policy = with_wallet(make_policy(), beyond_recall=SOL // 2)
    (way, *_) = sources(policy, policy.wallets["hot-sol"], Position(frozenset({"exchange"})), None)
    assert way.largest == SOL // 2


def test_to_our_own_wallets_only_fees_leave() -> None:
    windows = {
        "wallet": ["24 hours", "100 SOL", 3],
        "approved": ["24 hours", "1 SOL", 1],
        "upkeep": ["24 hours", "0 SOL", 0],
    }
    policy = make_policy(destination="own-wallet", windows=windows)
    ways = sources(policy, policy.wallets["hot-sol"], Position(frozenset({"exchange"})), None)
    assert most(ways, Period.DAY.value)[0] == 3 * policy.wallets["hot-sol"].maximum_fee


def test_one_own_wallet_is_any_number_of_destinations() -> None:
    """Each memo has a counter of its own, so the fees are bounded by the other windows alone."""
    windows = tuple(
        Window(Scope(of), Period.DAY, SOL, count)
        for of, count in (("wallet", 1000), ("destination", 1), ("approved", 1), ("upkeep", 1))
    )
    policy = with_wallet(make_policy(destination="own-wallet"), windows=windows)
    cold = replace(policy.wallets["hot-sol"], name="cold", address=COLD_ADDRESS)
    policy = replace(policy, wallets={**policy.wallets, "cold": cold})
    wallet, usage, left = policy.wallets["hot-sol"], dict[Counter, Usage](), 0
    for number in range(20):
        to = Destination(COLD_ADDRESS, str(number))
        intent = make_intent(destination=to, amount=1)
        fee = wallet.maximum_fee
        facts = early_facts(intent, now=NOW, in_address_book=False, approvals=[], fee=fee)
        verdict = evaluate(policy, intent, replace(facts, usage={**facts.usage, **usage}))
        assert isinstance(verdict, Allowed)
        for counter in verdict.counters:
            usage[counter] = usage.get(counter, Usage()).add(NOW, verdict.cost)
        left += fee
    burnt = [way for way in sources(policy, wallet, STOLEN, None) if way.name == UNATTENDED]
    assert left <= most(burnt, Period.DAY.value)[0]
