"""Policies at random, such that an optimal drainer reaches what the blast radius says.

Everything that says what one wallet lets out varies: requesters, rules, tiers, services, paths of
people, windows of every scope and period, bound by amount or by count. Kept tight: all requesters
have the same rules, and windows hold whole transactions of the largest size, or bound no count.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from policies.blast_radius import APPROVED, UNATTENDED, UPKEEP, Position, sources
from policies.outflow import most
from policies.policy import TAG, Policy, Wallet
from policies.policy_file import parse_policy
from policies.units import format_units
from policies.windows import Period
from tests.factories import COLD_ADDRESS, HOT_ADDRESS, SOL, public

TRANSACTIONS_MAX = 30
BOOK_QUORUM = 2  # people
RENT_MOST = 2_000_000
STOLEN = {0: [], 1: ["alice"], 2: ["alice", "carol"], 3: ["alice", "bob", "carol"]}
_GROUPS = {
    "operations": ["alice", "bob"],
    "risk": ["bob", "carol"],
    "board": ["alice", "bob", "carol"],
}
_PATHS = [  # alice fills these, alice and carol those, all three the last
    [[["1 of operations"]], [["2 of risk"], ["1 of board"]]],
    [[["1 of operations", "1 of risk"]], [["2 of operations", "1 of risk"], ["2 of board"]]],
    [[["2 of operations", "1 of risk"]], [["3 of board"]]],
]
_MANY = 10**6
_HUGE = _MANY * SOL
_STEP = 100_000  # base units

WindowLimits = tuple[str, Period, int, int]  # scope, period, amount, count


@dataclass(frozen=True)
class Case:
    """A policy file, what is stolen, and how many destinations the address book lists.

    `places`: how many destinations the thief can pay; None for any number, also where two people
    are stolen, who list what they like.
    """

    file: bytes
    policy: Policy
    position: Position
    destinations: int | None

    @property
    def places(self) -> int | None:
        return self.destinations if self.position.people < BOOK_QUORUM else None

    @property
    def wallet(self) -> Wallet:
        return self.policy.wallets["hot-sol"]


def generate(random: Random) -> Case:
    """Return a case whose fastest schedule takes a moderate number of transactions."""
    while True:
        case = _Draft(random).case()
        ways = sources(case.policy, case.wallet, case.position, case.destinations)
        cells = len(case.position.requesters) * (case.places or 1)
        _, schedule = most(ways, Period.MONTH.value)
        if sum(max(spend.count, cells) for spend in schedule) <= TRANSACTIONS_MAX:
            return case


class _Draft:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.fee = random.choice([10_000, 1_000_000, 5_000_000])
        self.requesters = ["exchange", "desk", "treasury"][: random.choice([1, 1, 1, 2, 2, 3])]
        self.services = ["screening", "travel"][: random.randint(0, 2)]
        kinds = ["address-book", "any", *(f"attested by {name}" for name in self.services)]
        last = random.choice(kinds)
        first = [kind for kind in ("own-wallet", "address-book") if random.random() < 0.25]
        self.kinds = [*(kind for kind in first if kind != last), last]
        listed = self.kinds == ["address-book"]
        self.destinations = random.choice([None, 1, 2]) if listed else None
        self.tiers = list(self._tiers())
        self.recall = _HUGE if random.random() < 0.8 else random.randint(1, 80) * SOL // 2
        stolen = self.services if random.random() < 0.8 else []
        self.position = Position(
            frozenset(self.requesters), frozenset(stolen), random.randint(0, 3)
        )
        few = self.position.people < BOOK_QUORUM
        self.places = self.destinations if few else None

    def case(self) -> Case:
        """Return the policy with windows that hold so many of the largest transactions."""
        new = [] if self.places else self._destination_windows()
        loose = [*new, *((scope, Period.HOUR, _HUGE, _MANY) for scope in ("wallet", "approved"))]
        loose.append(("upkeep", Period.HOUR, 1, 1))
        policy = parse_policy(self._file(loose))
        ways = sources(policy, policy.wallets["hot-sol"], self.position, self.destinations)
        largest = {source.name: source.largest for source in ways}
        file = self._file([*new, *self._windows(largest)])
        return Case(file, parse_policy(file), self.position, self.destinations)

    def _tiers(self) -> Iterator[tuple[int, list[str], Sequence[Sequence[str]]]]:
        """Yield (up_to, services, people) of each tier: first those that ask nobody."""
        random = self.random
        unattended = random.choice([0, 1, 1, 1, 2])
        depth = random.randint(0 if unattended else 1, 3)
        paths: list[list[list[str]]] = [[] for _ in range(unattended)] + [
            random.choice(of) for of in _PATHS[:depth]
        ]
        services = random.choice([[], [], self.services, self.services[:1]])
        up_to = 0
        for index, path in enumerate(paths):
            up_to += random.randint(1, 40) * SOL // 4
            # Where the first asks a service, the others do: no gap between what can be filled.
            yield up_to, services if index or random.random() < 0.3 else [], path

    def _destination_windows(self) -> list[WindowLimits]:
        """With any number of destinations, these only make the largest transaction smaller."""
        amount = self.random.randint(1, 40) * SOL // 3 // _STEP * _STEP
        return [("destination", Period.DAY, amount, 5)] if self.random.random() < 0.3 else []

    def _windows(self, largest: dict[str, int]) -> Iterator[WindowLimits]:
        requesters, places = len(self.requesters), self.places or 1
        unattended, whole = largest.get(UNATTENDED, SOL), self.random.random() < 0.6
        yield from self._scope("wallet", unattended, requesters * places, whole=whole)
        if self.random.random() < 0.4:
            yield from self._scope("requester", unattended, places, whole=whole)
        if self.places and self.random.random() < 0.5:
            yield from self._scope("destination", unattended, requesters, whole=whole)
        yield from self._scope("approved", largest.get(APPROVED, SOL), 1, whole=True)
        periods = self.random.sample([Period.DAY, Period.WEEK, Period.MONTH], 1)
        upkeep = (self.fee + RENT_MOST) * self.random.randint(0, 3)
        yield from (("upkeep", period, upkeep, _MANY) for period in periods)
        assert UPKEEP in largest

    def _scope(
        self, scope: str, largest: int, cells: int, *, whole: bool
    ) -> Iterator[WindowLimits]:
        """Yield windows of some periods; `cells` share each evenly."""
        held = 0
        for period in Period:
            if self.random.random() < 0.5 and (held or period is not Period.MONTH):
                continue
            held += self.random.randint(0 if held else 1, 3)
            amount, count = held * cells * largest, held * cells
            if whole:
                kind = self.random.choice(["amount", "count", "both"])
                amount = _HUGE if kind == "count" else amount
                yield scope, period, amount, _MANY if kind == "amount" else count
            else:
                more = self.random.randrange(0, cells * largest, cells * _STEP)
                yield scope, period, amount + more, _MANY

    def _file(self, windows: Sequence[WindowLimits]) -> bytes:
        return "".join(
            [
                f'{TAG}\nversion = 1\nprevious = ""\n',
                _table("[watchtower]", key=public("watchtower")),
                _table("[assets.SOL]", network="solana:devnet", decimals=9),
                *(_keys("people", name) for name in STOLEN[3]),
                *(_table(f"[groups.{name}]", members=of) for name, of in _GROUPS.items()),
                "[services]\n",
                *(_keys("services", name) for name in self.services),
                *(_keys("requesters", name) for name in self.requesters),
                self._wallet("hot-sol", "hot", HOT_ADDRESS),
                _table("[wallets.hot-sol.sweep]", to=COLD_ADDRESS, fee="0.01 SOL", count=24),
                *(_table("[[wallets.hot-sol.windows]]", **_window(*item)) for item in windows),
                self._wallet("cold-sol", "cold", COLD_ADDRESS),
                _table("[[wallets.cold-sol.windows]]", **_window("upkeep", Period.DAY, SOL, 9)),
                *(self._rule(name, kind) for name in self.requesters for kind in self.kinds),
                _table(
                    "[change_quorum]",
                    policy=["3 of board"],
                    book=["1 of operations", "1 of risk"],
                    delay="24 hours",
                ),
            ]
        ).encode()

    def _wallet(self, name: str, tier: str, address: str) -> str:
        return _table(
            f"[wallets.{name}]",
            enabled=True,
            tier=tier,
            asset="SOL",
            address=address,
            signer=public("audit"),
            key_origin="token",
            cap=_units(self.tiers[-1][0]),
            maximum_fee=_units(self.fee),
            nonce_pool=4,
            beyond_recall=_units(self.recall),
        )

    def _rule(self, requester: str, kind: str) -> str:
        head = _table(
            "[[rules]]",
            name=f"{requester}-{self.kinds.index(kind)}",
            wallet="hot-sol",
            requester=requester,
            destination=kind,
            hours="always",
            cooling_period="0 hours",
            cooling_amount="0 SOL",
        )
        tiers = (
            _table(
                "[[rules.tiers]]", up_to=_units(up_to), services=of, people=paths, delay="0 hours"
            )
            for up_to, of, paths in self.tiers
        )
        return head + "".join(tiers)


def _window(scope: str, period: Period, amount: int, count: int) -> dict[str, object]:
    return {"of": scope, "period": str(period), "amount": _units(amount), "count": count}


def _keys(kind: str, name: str) -> str:
    return _table(f"[{kind}.{name}]", keys=[public(name)])


def _units(amount: int) -> str:
    return format_units(amount, "SOL", 9)


def _table(header: str, **values: object) -> str:
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    return f"{header}\n" + "".join(lines)
