"""Thresholds count people: one seat each, seated as well as they can be."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.quorum import Seats, missing, parse_seats
from tests.strategies import PROPERTY

NAMES = ["ann", "ben", "cho", "dan", "eve"]
GROUPS = ["red", "green", "blue"]
Groups = Mapping[str, frozenset[str]]

some_groups = st.fixed_dictionaries(
    dict.fromkeys(GROUPS, st.frozensets(st.sampled_from(NAMES))),
)
some_seats = st.lists(
    st.builds(Seats, st.integers(1, 3), st.sampled_from([*GROUPS, "nobody"])), max_size=3
).map(tuple)
some_people = st.lists(st.sampled_from([*NAMES, "stranger"]), unique=True)


def most_seated(seats: Sequence[str], groups: Groups, people: frozenset[str]) -> int:
    """Return how many seats can be filled, by trying everything."""
    if not seats:
        return 0
    first, *rest = seats
    filled = [
        1 + most_seated(rest, groups, people - {person})
        for person in people & groups.get(first, frozenset())
    ]
    return max([most_seated(rest, groups, people), *filled])


def one_by_one(quorum: Sequence[Seats]) -> list[str]:
    return [seat.group for seat in quorum for _ in range(seat.count)]


@PROPERTY
@given(some_seats, some_groups, some_people)
def test_as_many_are_seated_as_brute_force_finds(
    quorum: tuple[Seats, ...], groups: Groups, people: list[str]
) -> None:
    seats = one_by_one(quorum)
    empty = Counter(one_by_one(missing(quorum, groups, people)))
    most = most_seated(seats, groups, frozenset(people))
    assert empty.total() == len(seats) - most
    filled = list((Counter(seats) - empty).elements())
    assert most_seated(filled, groups, frozenset(people)) == len(filled)


@PROPERTY
@given(some_seats, some_groups, some_people, st.sampled_from(NAMES))
def test_one_more_person_never_empties_a_seat(
    quorum: tuple[Seats, ...], groups: Groups, people: list[str], more: str
) -> None:
    before = len(one_by_one(missing(quorum, groups, people)))
    after = len(one_by_one(missing(quorum, groups, {*people, more})))
    assert before - 1 <= after <= before


def test_a_person_of_two_groups_takes_one_seat() -> None:
    groups = {"red": {"ann", "ben"}, "blue": {"ann"}}
    quorum = [Seats(1, "red"), Seats(1, "blue")]
    assert missing(quorum, groups, ["ann"]) == (Seats(1, "blue"),)
    assert missing(quorum, groups, ["ann", "ben"]) == ()


def test_no_seats_need_nobody_and_an_unknown_group_has_nobody() -> None:
    assert missing([], {}, []) == ()
    assert missing([Seats(2, "red")], {}, ["ann"]) == (Seats(2, "red"),)


def test_64_seats_that_all_have_to_move_up_are_found() -> None:
    """The deepest search that a policy file allows stays far from Python's own stack limit."""
    people = [f"p{number:02}" for number in range(64)]
    groups = {f"g{i}": set(people[i : i + 2]) for i in range(63)} | {"last": {"p00"}}
    quorum = [*(Seats(1, f"g{i}") for i in range(63)), Seats(1, "last")]
    assert missing(quorum, groups, people) == ()
    assert missing(quorum, groups, people[1:]) == (Seats(1, "last"),)


@pytest.mark.parametrize("text", ["1 of risk", "2 of operations", "99 of a", "1 of a-1"])
def test_seats_print_as_they_are_written(text: str) -> None:
    assert str(parse_seats(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "risk",
        "of risk",
        "0 of risk",
        "01 of risk",
        "-1 of risk",
        "100 of risk",
        "1.5 of risk",
        "1_0 of risk",
        "\u0662 of risk",
        "two of risk",
        "2  of risk",
        "2 of  risk",
        " 2 of risk",
        "2 of risk ",
        "2 of risk\n",
        "2 OF risk",
        "2 of Risk",
        "2 of r\u0456sk",
        "2 of risk or 1 of operations",
        2,
        None,
        ["2 of risk"],
    ],
)
def test_any_other_text_is_no_seats(text: object) -> None:
    with pytest.raises(ValueError, match='for example "2 of operations"'):
        parse_seats(text)
