"""Seats and who may sit in them: thresholds count distinct people, however many keys each holds."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

_SEATS = re.compile(r"([1-9][0-9]?) of ([a-z0-9-]{1,32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seats:
    """`count` distinct people of `group`."""

    count: int
    group: str

    def __str__(self) -> str:
        """Return the form in which a policy file says it."""
        return f"{self.count} of {self.group}"


def parse_seats(text: object) -> Seats:
    """Parse "2 of operations"; ValueError with the reason."""
    match = _SEATS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('must be for example "2 of operations"')
    return Seats(int(match[1]), match[2])


def missing(
    quorum: Iterable[Seats],
    groups: Mapping[str, Collection[str]],
    people: Collection[str],
) -> tuple[Seats, ...]:
    """Return the seats left empty when `people` are seated as well as they can be.

    One seat a person: a maximum bipartite matching by augmenting paths (Kuhn 1955).
    """
    seats = [seats.group for seats in quorum for _ in range(seats.count)]
    able = {g: [p for p in people if p in groups.get(g, ())][: len(seats)] for g in {*seats}}
    seated: dict[str, int] = {}

    def seat(index: int, tried: set[str]) -> bool:
        for person in sorted(able[seats[index]], key=seated.__contains__):  # the free ones first
            if person not in tried:
                tried.add(person)
                if person not in seated or seat(seated[person], tried):
                    seated[person] = index
                    return True
        return False

    empty = Counter(group for index, group in enumerate(seats) if not seat(index, set()))
    return tuple(Seats(count, group) for group, count in empty.items())
