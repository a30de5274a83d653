"""The most that can leave each wallet, for each thing an attacker may hold.

An upper bound, computed from the policy alone, never by asking `evaluate`. What only lowers it is
left out: hours, cooling, delays, what left before. It is reached within one smallest transfer and
its fee, except where it is only an upper bound:
- counts stop at one period and amounts at another, and neither is a multiple of the largest
  transaction;
- requesters with different tiers share one wallet's window, or some people fill one tier and as
  many others another;
- upkeep is bound by its count: what a rent costs at most is the chain's affair.
What stays in our own wallets does not leave: of a rule for own wallets only the fees count.
The first advance of a withdrawal's nonce is in no window, and in no row: see `advance_fees`.
Custody is the attacker's in every position, so each figure holds what it can burn by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.fields import AMOUNT_MAX
from policies.outflow import Limit, Source, Spend, largest_sum, most
from policies.policy import DestinationClass, Policy, Rule, Tier, Wallet
from policies.quorum import Seats
from policies.windows import Period, Scope, Window

UNATTENDED, APPROVED, UPKEEP = "nobody approves", "people approve", "upkeep"
_SCOPES = {
    UNATTENDED: (Scope.WALLET, Scope.REQUESTER, Scope.DESTINATION),
    APPROVED: (Scope.APPROVED,),
    UPKEEP: (Scope.UPKEEP,),
}


@dataclass(frozen=True, slots=True)
class Position:
    """What the attacker holds besides custody: keys by name, and those of so many people."""

    requesters: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    people: int = 0

    def within(self, other: "Position") -> bool:
        """Tell whether `other` holds all that this one does."""
        held = self.requesters <= other.requesters and self.services <= other.services
        return held and self.people <= other.people


@dataclass(frozen=True, slots=True)
class Row:
    """The most base units that leave the wallet in any `period`, and a schedule that does it."""

    position: Position
    period: Period
    amount: int
    schedule: tuple[Spend, ...]


@dataclass(frozen=True, slots=True)
class _Way:
    """One tier that the attacker can fill: a transaction takes `least` to `largest` base units.

    `places`: how many destinations it reaches, None for any number, as with own wallets, since each
    memo is another destination; those of one `kind` are the same.
    """

    source: str
    requester: str
    kind: DestinationClass
    places: int | None
    least: int
    largest: int


def blast_radius(policy: Policy, wallet: Wallet, destinations: int | None = None) -> Iterator[Row]:
    """Yield a row for each period of each position whose figures differ from what it builds on.

    `destinations`: how many the address book lists; None for any number. The key of the wallet
    itself has no row: it moves everything, whatever the policy says.
    """
    kept: list[tuple[Position, list[int]]] = []
    for position in positions(policy, wallet, destinations):
        ways = sources(policy, wallet, position, destinations)
        rows = [Row(position, period, *most(ways, period.value)) for period in Period]
        amounts = [row.amount for row in rows]
        if not any(before.within(position) and amounts == known for before, known in kept):
            kept.append((position, amounts))
            yield from rows


def advance_fees(wallet: Wallet) -> Iterator[tuple[Period, int]]:
    """Yield the most base units that advances burn for the withdrawals of any period.

    Each withdrawal can be followed by one at the highest fee that no window counts.
    """
    scopes = (Scope.WALLET, Scope.APPROVED) if wallet.enabled else ()
    counts = [
        Source(of, tuple(Limit(w.period, w.count) for w in wallet.windows if w.scope is of), 1)
        for of in scopes
    ]
    yield from ((period, most(counts, period.value)[0] * wallet.maximum_fee) for period in Period)


def positions(policy: Policy, wallet: Wallet, destinations: int | None) -> Iterator[Position]:
    """Yield what an attacker may hold, from custody alone to everything but the wallet's key."""
    rules = [rule for rule in policy.rules if rule.wallet == wallet.name]
    requesters = frozenset(rule.requester for rule in rules)
    services = frozenset(
        name for rule in rules for tier in rule.tiers for name in _asked(rule, tier)
    )
    people = {needed(tier.people) for rule in rules for tier in rule.tiers} - {0}
    if destinations is not None:
        people.add(needed([policy.book_quorum]))
    yield Position()
    yield from (Position(frozenset({name})) for name in sorted(requesters))
    yield Position(requesters)
    yield from (Position(requesters, frozenset({name})) for name in sorted(services))
    yield Position(requesters, services)
    for number in sorted(people):
        yield Position(requesters, frozenset(), number)
        yield Position(requesters, services, number)


def needed(paths: Iterable[Sequence[Seats]]) -> int:
    """Return how many people fill the shortest path; 0 where nobody is asked."""
    return min((sum(seats.count for seats in path) for path in paths), default=0)


def sources(
    policy: Policy, wallet: Wallet, position: Position, destinations: int | None
) -> list[Source]:
    """Return the ways in which money leaves; what people approved has windows of its own."""
    if not wallet.enabled:
        return []
    if position.people >= needed([policy.book_quorum]):
        destinations = None  # they list what they like
    upkeep = _Way(UPKEEP, "", DestinationClass.OWN_WALLET, None, 0, AMOUNT_MAX)
    ways = [upkeep, *_ways(policy, wallet, position, destinations)]
    made = (_source(wallet, [way for way in ways if way.source == name]) for name in _SCOPES)
    return [source for source in made if source]


def _source(wallet: Wallet, ways: Sequence[_Way]) -> Source | None:
    if not ways:
        return None
    shares = [tuple(_limits(wallet, group)) for group in _groups(ways, "requester")]
    largest = max(way.largest for way in ways)
    return Source(ways[0].source, tuple(_limits(wallet, ways)), largest, tuple(shares))


def _ways(
    policy: Policy, wallet: Wallet, position: Position, destinations: int | None
) -> Iterator[_Way]:
    """Yield each tier of each rule that the position can fill."""
    for rule in policy.rules:
        if rule.wallet != wallet.name or rule.requester not in position.requesters:
            continue
        floor = 0
        for tier in rule.tiers:
            least, floor = floor + 1, tier.up_to
            source = APPROVED if tier.people else UNATTENDED
            at_once = _at_once(wallet, source)
            fills = _asked(rule, tier) <= position.services
            if not fills or needed(tier.people) > position.people or least > at_once:
                continue
            leaves = 0 if rule.destination is DestinationClass.OWN_WALLET else tier.up_to
            yield _Way(
                source=source,
                requester=rule.requester,
                kind=rule.destination,
                places=destinations if rule.destination is DestinationClass.ADDRESS_BOOK else None,
                least=least if leaves else 0,
                largest=min(leaves + wallet.maximum_fee, at_once),
            )


def _at_once(wallet: Wallet, source: str) -> int:
    """Return what one transaction takes at most, whatever its tier."""
    windows = [window for window in wallet.windows if window.scope in _SCOPES[source]]
    return min(wallet.beyond_recall, *(w.amount if w.count else 0 for w in windows))


def _asked(rule: Rule, tier: Tier) -> frozenset[str]:
    return tier.services | ({rule.service} if rule.service else frozenset())


def _limits(wallet: Wallet, ways: Sequence[_Way]) -> Iterator[Limit]:
    for window in wallet.windows:
        if window.scope not in _SCOPES[ways[0].source]:
            continue
        rooms = [_most_in(window, ways)]
        if window.scope is Scope.REQUESTER:
            rooms = [_most_in(window, group) for group in _groups(ways, "requester")]
        if window.scope is Scope.DESTINATION:
            kinds = _groups(ways, "kind")
            if any(group[0].places is None for group in kinds):
                continue
            rooms = [(group[0].places or 0) * _most_in(window, group) for group in kinds]
        yield Limit(window.period, sum(rooms))


def _groups(ways: Iterable[_Way], name: str) -> list[list[_Way]]:
    """Return the ways that have the same value of that field."""
    values = dict.fromkeys(getattr(way, name) for way in ways)
    return [[way for way in ways if getattr(way, name) == value] for value in values]


def _most_in(window: Window, ways: Sequence[_Way]) -> int:
    least, largest = min(way.least for way in ways), max(way.largest for way in ways)
    return largest_sum(window.amount, window.count, least, largest)
