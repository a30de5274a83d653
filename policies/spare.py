"""How many people a quorum can still lose. For warnings: nothing decides by it.

A person is lost with their last key. Invariant: after any `losses` people are lost the quorum can
still be met; when `people` are named, losing one such set more makes it impossible.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from policies.policy import Policy
from policies.quorum import Seats, missing
from policies.units import format_units

LOSSES_MAX = 2  # looked for no further


@dataclass(frozen=True, slots=True)
class Spare:
    """What `losses` more people can be lost of; `what` is then impossible.

    `people`: each set of one more whose loss makes it so; none after LOSSES_MAX.
    """

    quorum: str
    what: str
    losses: int
    people: tuple[tuple[str, ...], ...]


def spares(policy: Policy) -> Iterator[Spare]:
    """Yield what is left of every quorum: of both changes, and of each tier that asks people."""
    for name, seats in (("policy", policy.policy_quorum), ("address book", policy.book_quorum)):
        yield _spare(policy, f"changes of the {name}", "change", (seats,))
    for rule in policy.rules:
        asset = policy.assets[policy.wallets[rule.wallet].asset]
        for tier in rule.tiers:
            if tier.people:
                reach = format_units(tier.up_to, asset.name, asset.decimals)
                yield _spare(policy, f"{rule.name} up to {reach}", "approval", tier.people)


def _spare(policy: Policy, quorum: str, what: str, paths: Sequence[Sequence[Seats]]) -> Spare:
    people = sorted(policy.people)
    involved = {seats.group for path in paths for seats in path}
    asked = [name for name in people if any(name in policy.groups[group] for group in involved)]
    for number in range(1, LOSSES_MAX + 1):
        fatal = tuple(
            lost
            for lost in combinations(asked, number)
            if all(
                missing(path, policy.groups, [p for p in asked if p not in lost]) for path in paths
            )
        )
        if fatal:
            return Spare(quorum, what, number - 1, fatal)
    return Spare(quorum, what, LOSSES_MAX, ())
