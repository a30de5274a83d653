"""How many people each quorum can lose: found by trying, and nobody is left out."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from policies.policy import Policy
from policies.quorum import Seats, missing
from policies.spare import LOSSES_MAX, Spare, spares
from tests.factories import make_policy
from tests.strategies import PROPERTY

NAMES = ["ann", "ben", "cho", "dan", "eve"]


def test_each_quorum_is_looked_at() -> None:
    policy = make_policy(tiers={"1 SOL": [], "40 SOL": ["2 of operations", "1 of risk"]})
    any_two = (("alice", "bob"), ("alice", "carol"), ("bob", "carol"))  # one is left for two seats
    assert tuple(spares(policy)) == (
        Spare("changes of the policy", "change", 1, any_two),
        Spare("changes of the address book", "change", 1, any_two),
        Spare("customers up to 40 SOL", "approval", 0, (("alice",), ("bob",), ("carol",))),
    )


def test_another_path_spares_people() -> None:
    tiers = {"40 SOL": {"people": [["2 of operations"], ["1 of risk"]]}}
    *_, spare = spares(make_policy(tiers=tiers))
    assert (spare.losses, spare.people) == (1, (("bob", "carol"),))


@PROPERTY
@given(
    st.lists(st.builds(Seats, st.integers(1, 2), st.sampled_from(["red", "blue"])), max_size=3),
    st.frozensets(st.sampled_from(NAMES), min_size=1),
    st.frozensets(st.sampled_from(NAMES), min_size=1),
)
def test_so_many_may_be_lost_and_one_set_more_is_fatal(
    seats: list[Seats], red: frozenset[str], blue: frozenset[str]
) -> None:
    policy = with_people(red, blue, tuple(seats))
    if not seats or missing(seats, policy.groups, NAMES):
        return
    spare = next(iter(spares(policy)))
    for lost in NAMES if spare.losses else []:
        assert not missing(seats, policy.groups, [name for name in NAMES if name != lost])
    for lost_set in spare.people:
        assert len(lost_set) == spare.losses + 1
        assert missing(seats, policy.groups, [n for n in NAMES if n not in lost_set])
    assert spare.people or spare.losses == LOSSES_MAX


def with_people(red: frozenset[str], blue: frozenset[str], quorum: tuple[Seats, ...]) -> Policy:
    people = {name: frozenset({name}) for name in NAMES}
    groups = {"red": red, "blue": blue}
    return replace(
        make_policy(),
        people=people,
        groups=groups,
        policy_quorum=quorum,
        book_quorum=quorum,
        rules=(),
    )
