"""The signer is shown what waits, once: its delays and coolings count from then."""

import pytest

from custody.flows import introduce
from custody.flows import sign as signing
from custody.flows.introduce import BATCH
from policies.codes import Code
from policies.statements import digest
from tests.factories import CUSTOMER, HOUR, SOL, STRANGER, make_book
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.test_book_versions import after
from tests.integration.test_ends import forced

house = houses.house
LARGE = 20 * SOL


def shown(house: House) -> list[str]:
    return [digest(transfer.intent.statement) for transfer in house.gateway.shown]


async def test_each_that_waits_for_people_is_shown_once(house: House) -> None:
    await house.ready()
    rows = [await house.create(amount=LARGE) for _ in range(3)]
    small = await house.create()
    assert await introduce.introduce(house.parts)
    assert not await introduce.introduce(house.parts)
    assert shown(house) == [row.digest for row in rows]  # the small one is shown by signing it
    for transfer in house.gateway.shown:
        assert not transfer.approvals
        assert not transfer.WhichOneof("chain")
    await house.step()
    assert shown(house) == [row.digest for row in rows]
    assert (await house.row(small)).state == "COMPLETED"
    for row in rows:
        assert (await house.row(row)).state == "PENDING_APPROVAL"


async def test_what_waits_in_the_queue_without_having_been_asked_is_shown(house: House) -> None:
    await house.ready(lamports=SOL // 2)
    row = await house.create(amount=SOL)
    await house.step()
    assert (await house.row(row)).waiting_for == "FUNDS"
    assert shown(house) == [row.digest]


async def test_it_is_shown_until_the_signer_has_answered(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    house.gateway.unreachable = True
    assert not await introduce.introduce(house.parts)
    house.gateway.unreachable = False
    house.gateway.refuse_shown = [Code.CLOCK_DIFFERS, Code.JOB_MALFORMED, "FROM_THE_FUTURE"]
    for _ in range(3):  # it has seen nothing
        assert await introduce.introduce(house.parts)
        assert not await introduce.introduce(house.parts)
        await house.make_due()
    assert await introduce.introduce(house.parts)
    await house.make_due()
    assert not await introduce.introduce(house.parts)
    assert (await house.row(row)).waiting_for == ""


@pytest.mark.parametrize(
    "code", [Code.LIMIT_EXCEEDED, Code.REQUEST_ID_REUSED, Code.INTENT_BEFORE_JOURNAL]
)
async def test_what_the_signer_will_never_sign_is_not_put_to_people(
    house: House, code: Code
) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    house.gateway.refuse_shown = [code]
    await introduce.introduce(house.parts)
    ending = await house.row(row)
    assert (ending.state, ending.ending, ending.refusal_code) == ("ENDING", "BLOCKED", code)
    await house.step()
    assert (await house.row(row)).state == "BLOCKED"


async def test_more_than_a_window_holds_is_ended_when_the_policy_says_so(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.govern(('amount = "500 SOL"', 'amount = "10 SOL"'))
    ended = await house.row(row)
    assert (ended.state, ended.refusal_code) == ("BLOCKED", "LIMIT_EXCEEDED")


async def test_what_comes_back_signed_is_broadcast_and_booked(house: House) -> None:
    """A custody that was restored from a backup has forgotten that it was signed."""
    await house.ready(lamports=2 * SOL)
    before = await house.balance()
    row = await house.create(amount=SOL)
    (answer,) = await house.gateway.ask([await forced(house, row)])
    assert answer.HasField("signed")
    await house.sql("UPDATE withdrawal SET state = 'PENDING_APPROVAL'")
    await house.step()
    paid = await house.row(row)
    assert (paid.state, paid.refusal_code) == ("COMPLETED", "")
    after = await house.balance()
    assert (after.total, after.in_use) == (before.total - row.amount - (paid.fee or 0), 0)
    assert await house.on_chain(CUSTOMER.address) == SOL


async def test_what_comes_back_signed_from_the_queue_too(house: House) -> None:
    await house.ready()
    row = await house.create(amount=SOL)
    (answer,) = await house.gateway.ask([await forced(house, row)])
    assert answer.HasField("signed")
    await house.sql("UPDATE withdrawal SET waiting_for = 'FUNDS', retry_at = '9999-01-01'")
    await introduce.introduce(house.parts)
    assert (await house.row(row)).state == "SIGNED"
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_what_was_signed_long_ago_is_taken_from_the_chain(house: House) -> None:
    """The signer keeps the bytes for some weeks only."""
    await house.ready()
    row = await house.create(amount=SOL)
    (answer,) = await house.gateway.ask([await forced(house, row)])
    await house.sql("UPDATE withdrawal SET state = 'PENDING_APPROVAL'")
    house.journal.db.execute("DELETE FROM message")
    await house.step()
    lost = await house.row(row)
    assert (lost.state, lost.waiting_for) == ("PENDING_APPROVAL", "NODE")
    await house.parts.node.send(answer.signed.transaction)
    house.chain.advance(40)
    await house.step()
    paid = await house.row(row)
    assert (paid.state, paid.transaction_id) == ("COMPLETED", answer.signed.transaction_id)
    assert await house.on_chain(CUSTOMER.address) == SOL


async def test_they_go_in_frames_of_a_bounded_size(house: House) -> None:
    await house.ready()
    for _ in range(BATCH + 3):
        await house.create(amount=LARGE)
    for expected in (BATCH, BATCH + 3):
        assert await introduce.introduce(house.parts)
        assert len(house.gateway.shown) == expected
    assert not await introduce.introduce(house.parts)


async def test_cooling_counts_while_people_think(house: House) -> None:
    await house.ready(STRANGER)
    await house.govern(
        ('cooling_period = "0 hours"', 'cooling_period = "4 hours"'),
    )
    expires = house.clock.now() + 20 * HOUR
    row = await house.create(amount=LARGE, expires=expires)
    await house.step()
    house.clock.ahead_ms += 5 * HOUR
    for person in ("alice", "carol"):
        await house.decide(row, person, expires=expires)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_removed_destination_ends_what_waits_for_people(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.step()
    first = make_book(CUSTOMER)
    await house.book(after(first, add=make_book(STRANGER).add, remove=first.add))
    await house.step()
    ended = await house.row(row)
    assert (ended.state, ended.refusal_code) == ("BLOCKED", "DESTINATION_NOT_ALLOWED")


async def test_signing_shows_it_so_nothing_is_shown_twice(house: House) -> None:
    await house.ready()
    row = await house.create()
    await signing.claim(house.parts)
    assert await house.sql("SELECT introduce_at FROM withdrawal") == [(None,)]
    house.gateway.refuse = [Code.WINDOW_EXCEEDED]
    await signing.ask(house.parts)
    assert (await house.row(row)).waiting_for == "WINDOW"
    assert not await introduce.introduce(house.parts)
