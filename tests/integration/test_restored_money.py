"""Custody restored to a moment before payments: the signer forgot nothing, so none is paid twice.

What docs/runbooks/database.md says under `After a restore` is what is seen here.
"""

from collections.abc import Sequence

import pytest

from custody.store.withdrawals import Row
from policies.codes import Code, Refusal
from policies.statements import Destination, digest, encode
from tests.factories import CUSTOMER, HOUR, SOL, make_book
from tests.integration import house as houses
from tests.integration import test_backup as backups
from tests.integration.house import House
from tests.integration.test_backup import Place

house, place = houses.house, backups.place
NEWCOMER = Destination("CSRWyb7Bkw2E8dEqYyjvbAm2svuNTTHoTCuhtHSV3BKg", "")


@pytest.fixture
def database(place: Place) -> str:
    return place.server.dsn


def snapshot(place: Place) -> str:
    assert place.backup() == 0
    return place.add("now")


async def restore(house: House, place: Place, moment: str, *, work: bool = True) -> None:
    """Custody goes on with its database as of `moment`, at the same address."""
    place.archived()
    await house.stop()
    place.server.stop()
    assert place.restore("--to-time", moment) == 0
    place.server.data_dir.rename(place.folder / "lost")
    place.into.rename(place.server.data_dir)
    place.server.start()
    await house.start()
    if work:
        await house.step()


async def approve(house: House, row: Row) -> None:
    for officer in ("alice", "carol"):
        assert isinstance(await house.decide(row, officer), Row)


async def states(house: House) -> Sequence[tuple[str, str, str]]:
    query = "SELECT request_id, state, refusal_code FROM withdrawal ORDER BY request_id"
    return [(one, two, three) for one, two, three in await house.sql(query)]


async def over(house: House) -> int:
    """Return by how much custody's books show more than the chain holds."""
    return (await house.balance()).total - await house.on_chain(house.wallet)


async def test_what_was_forgotten_is_not_paid_again_whoever_asks_how(
    house: House, place: Place
) -> None:
    await house.ready()
    cancelled, approved, expired = [
        await house.create(request_id=name, amount=5 * SOL)
        for name in ("cancelled", "approved", "expired")
    ]
    moment = snapshot(place)
    same, other = house.intent(request_id="same"), house.intent(request_id="other")
    late, again = house.intent(request_id="late"), house.intent(request_id="taken-back")
    for signed in (same, other, late, again):
        assert isinstance(await house.submit(signed), Row)
    for row in (cancelled, approved, expired):
        await approve(house, row)
    await house.step()
    paid = await house.on_chain(CUSTOMER.address)
    assert (paid, await over(house)) == (17 * SOL, 0)

    await restore(house, place, moment, work=False)
    assert await states(house) == [
        ("approved", "PENDING_APPROVAL", ""),
        ("cancelled", "PENDING_APPROVAL", ""),
        ("expired", "PENDING_APPROVAL", ""),
    ]
    assert await over(house) > paid

    await house.submit(same)
    await house.submit(house.intent(request_id="other"))  # as create_withdrawal does: new times
    unpaid = await house.submit(house.intent(request_id="taken-back"))
    assert isinstance(unpaid, Row)
    assert isinstance(await house.cancel(unpaid), Row)  # CANCELLED would be paid back
    assert isinstance(await house.cancel(await house.row(cancelled)), Row)
    await approve(house, approved)
    await house.step()
    house.clock.ahead_ms += 2 * HOUR
    refusal = await house.submit(late)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INTENT_EXPIRED
    await house.step()
    assert await states(house) == [
        ("approved", "COMPLETED", ""),
        ("cancelled", "COMPLETED", ""),
        ("expired", "COMPLETED", ""),
        ("other", "BLOCKED", "REQUEST_ID_REUSED"),
        ("same", "COMPLETED", ""),
        ("taken-back", "BLOCKED", "REQUEST_ID_REUSED"),
    ]
    assert await house.on_chain(CUSTOMER.address) == paid

    # The three that custody cannot know of are missing in its books until money comes in.
    assert await over(house) > SOL
    house.pay(house.wallet, 2 * SOL)
    await house.step()
    assert await over(house) == 0


async def test_a_forgotten_book_version_is_replaced_by_the_next_one(
    house: House, place: Place
) -> None:
    await house.ready()
    moment = snapshot(place)
    forgotten = make_book(NEWCOMER, version=2, previous=digest(encode(make_book(CUSTOMER))))
    await house.book(forgotten)
    await house.step()
    await restore(house, place, moment)

    refusal = await house.book(forgotten)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.BOOK_OUT_OF_ORDER
    await house.book(make_book(NEWCOMER, version=3, previous=digest(encode(forgotten))))
    await house.step()
    house.pay(NEWCOMER.address, SOL)
    row = await house.create(destination=NEWCOMER)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
