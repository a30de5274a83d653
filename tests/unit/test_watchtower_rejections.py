"""Rejections on the watchtower's disk: who may give them, restarts, until when they are told."""

from typing import Any

import pytest

from custody.gateway import Gateway
from custody.watchtower import rejections, signers
from custody.watchtower.alarms import Alarms
from custody.watchtower.parts import Link
from custody.watchtower.service import Service
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies.codes import Code
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Signed, digest
from tests.factories import HOUR, NOW, key, make_approval, make_intent, policy_file, sign
from tests.unit import test_watchtower_orders as orders
from tests.unit.test_watchtower_orders import AUDIT, POLICY, House, code_of, recover

house = orders.house
NEXT = policy_file(version=2, previous=POLICY.digest, cap="45 SOL")


def no(person: str = "bob", number: int = 1, by: str = "", **changes: Any) -> Signed:
    intent = make_intent(request_id=f"w-{number}")
    rejection = make_approval(POLICY, intent, person, **{"decision": "reject", **changes})
    return sign(key(by or person), rejection)


def rejected(house: House, order: Signed) -> bool:
    """Hand one over, which must be taken; return whether it is new."""
    taken = rejections.reject(house.parts, order)
    assert isinstance(taken, tuple), taken
    return taken[1]


def waiting(house: House) -> list[str]:
    return [name for name, _ in rejections.pending(house.parts, AUDIT)]


def name_of(order: Signed) -> str:
    return digest(order.statement)


def tell(house: House, *orders: Signed) -> None:
    """Note what a lease that was taken named."""
    with house.parts.database.transaction() as db:
        rejections.told(db, AUDIT, map(name_of, orders))


def test_it_waits_over_a_restart_until_the_signer_has_it(house: House) -> None:
    order = no()
    assert rejected(house, order)
    house.restart()
    [(name, job)] = rejections.pending(house.parts, AUDIT)
    assert name == name_of(order)
    assert job.apply.rejection.statement == order.statement
    assert job.apply.rejection.signature == order.signature
    tell(house, order)
    assert waiting(house) == []
    assert not rejected(house, order)
    assert waiting(house) == []


def test_what_is_none_is_not_kept(house: House) -> None:
    for order, code in (
        (no(by="mallory"), Code.APPROVAL_INVALID),
        (no("mallory"), Code.APPROVAL_INVALID),
        (no(decision="approve"), Code.APPROVAL_INVALID),
        (Signed(b"{}", bytes(64)), Code.APPROVAL_INVALID),
        (no(expires=NOW), Code.APPROVALS_STALE),
        (no(policy="0" * 64), Code.APPROVALS_STALE),
    ):
        assert code_of(rejections.reject(house.parts, order)) is code
    flipped = bytearray(no().statement)
    flipped[40] ^= 1
    bad = Signed(bytes(flipped), no().signature)
    assert code_of(rejections.reject(house.parts, bad)) is Code.APPROVAL_INVALID
    assert waiting(house) == []
    house.parts.policies.clear()
    assert code_of(rejections.reject(house.parts, no())) is Code.SIGNER_UNSEEN


def test_one_that_expires_soon_holds_no_lease_back(house: House) -> None:
    """The signer's clock may be ahead: it would refuse the order, and the lease that names it."""
    order = no(expires=NOW + HOUR)
    rejected(house, order)
    house.now = NOW + HOUR - LEASE_MS - 1
    assert waiting(house) == [name_of(order)]
    house.now += 1
    assert waiting(house) == []


def test_one_of_a_policy_of_before_is_told_nobody_and_dropped(house: House) -> None:
    rejected(house, no())
    tell(house, no())
    house.parts.policies[AUDIT] = policy = parse_policy(NEXT)
    assert waiting(house) == []
    assert code_of(rejections.reject(house.parts, no())) is Code.APPROVALS_STALE
    late = no("alice", policy=policy.digest)
    rejected(house, late)
    rows = house.parts.database.rows("SELECT digest FROM rejection")
    assert rows == [(name_of(late),)]
    assert house.parts.database.rows("SELECT 1 FROM rejection_told") == []


def test_what_is_dropped_at_once_is_not_looked_for_among_all_that_was_told(house: House) -> None:
    """Without an index each one dropped reads all of it: seconds, in which no theft is answered."""
    amount, steps, rows = 500, [0], "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
    rows += f" WHERE i < {amount}) SELECT"
    with house.parts.database.transaction() as db:
        db.execute(f"INSERT INTO rejection {rows} i, 'gone', 'bob', {NOW + HOUR}, x'00' FROM n")
        db.execute(f"INSERT INTO rejection_told {rows} '{AUDIT}', i FROM n")

    def step() -> None:
        steps[0] += 1

    house.parts.database._db.set_progress_handler(step, 100)
    rejected(house, no())
    house.parts.database._db.set_progress_handler(None, 0)
    assert waiting(house) == [name_of(no())]
    assert house.parts.database.rows("SELECT 1 FROM rejection_told") == []
    assert steps[0] < amount


def test_one_approver_fills_no_more_than_their_own_places(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "REJECTIONS_MAX", 3)
    for number in range(3):
        rejected(house, no(number=number, expires=NOW + HOUR + number))
    assert code_of(rejections.reject(house.parts, no(number=9))) is Code.RATE_EXCEEDED
    assert not rejected(house, no(number=2, expires=NOW + HOUR + 2))  # one that is there
    assert rejected(house, no("alice"))
    house.now = NOW + HOUR
    assert rejected(house, no(number=9, expires=NOW + 2 * HOUR))


def test_as_many_are_told_at_once_as_fit_and_the_oldest_first(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "TOLD_AT_ONCE", 2)
    made = [no(number=number) for number in range(3)]
    for order in made:
        rejected(house, order)
    assert waiting(house) == [name_of(order) for order in made[:2]]
    tell(house, *made[:2])
    assert waiting(house) == [name_of(made[2])]


async def test_another_journal_is_told_again(house: House) -> None:
    rejected(house, no())
    tell(house, no())
    assert await recover(house) is None
    assert signers.find(house.parts.database, AUDIT)
    assert waiting(house) == [name_of(no())]


async def test_one_played_again_wakes_nobody(house: House) -> None:
    link = house.parts.links[AUDIT] = Link(Gateway())
    order = no()
    request = tower.CreateRejectionRequest(
        rejection=tower.SignedStatement(statement=order.statement, signature=order.signature)
    )
    service = Service(house.parts, house, Alarms(house.parts.database, lambda: house.now))
    for new in (True, False):
        answer = await Service.CreateRejection.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert answer == tower.CreateRejectionResponse()
        assert link.wake.is_set() is new
        link.wake.clear()
