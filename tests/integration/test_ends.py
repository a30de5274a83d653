"""ENDING and funds: what is called ended cannot be paid; what comes in is for who waits."""

from datetime import timedelta
from typing import LiteralString

from custody.flows import end, sign, waits
from custody.flows.signature import statement
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from tests.factories import CUSTOMER, HOUR, SOL
from tests.integration import house as houses
from tests.integration.house import House

house = houses.house
LARGE = 20 * SOL


async def forced(house: House, row: Row) -> wire.Job:
    """Return what a custody that was taken over asks the signer for."""
    query: LiteralString = "SELECT index, value FROM nonce WHERE value IS NOT NULL ORDER BY index"
    index, value = (await house.sql(query))[0]
    parameters = wire.SolanaParameters(
        nonce_index=index,
        nonce_value=value,
        budget=wire.ComputeBudget(unit_limit=2_000, unit_price=1_000),
    )
    return wire.Job(transfer=wire.Transfer(intent=statement(row.signed), solana=parameters))


async def test_a_cancelled_one_cannot_be_paid_by_a_custody_that_changes_its_mind(
    house: House,
) -> None:
    await house.ready()
    row = await house.create()
    await house.cancel(row)
    await house.step()
    assert (await house.row(row)).state == "CANCELLED"
    (again,) = await house.gateway.ask([await forced(house, row)])
    assert again.refusal.code == Code.REQUEST_ENDED


async def test_without_the_signer_nothing_ends(house: House) -> None:
    await house.ready()
    row = await house.create()
    await house.cancel(row)
    house.gateway.unreachable = True
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.ending, waiting.waiting_for) == ("ENDING", "CANCELLED", "SIGNER")
    house.gateway.unreachable = False
    await house.step()
    assert (await house.row(row)).state == "CANCELLED"


async def test_a_signer_that_has_just_started_ends_nothing_before_its_lease(house: House) -> None:
    """It comes in a moment, so the end is asked for again in a moment."""
    await house.ready()
    row = await house.create()
    await house.cancel(row)
    await house.stop()
    await house.start()
    house.tower.leasing = False
    await end.ask(house.parts)
    waiting = await house.row(row)
    assert (waiting.state, waiting.ending, waiting.waiting_for) == ("ENDING", "CANCELLED", "LEASE")
    assert waiting.retry_at - waiting.update_time == timedelta(seconds=waits.SECONDS)
    house.tower.leasing = True
    await house.step()
    assert (await house.row(row)).state == "CANCELLED"


async def test_an_expired_one_that_the_signer_had_signed_is_paid_and_booked(house: House) -> None:
    await house.ready()
    before = await house.balance()
    row = await house.create()
    (signed,) = await house.gateway.ask([await forced(house, row)])
    assert signed.WhichOneof("outcome") == "signed"
    house.clock.ahead_ms = 2 * HOUR
    await house.step()
    paid = await house.row(row)
    assert (paid.state, paid.ending, paid.refusal_code) == ("COMPLETED", "", "")
    after = await house.balance()
    assert (after.total, after.in_use) == (before.total - row.amount - (paid.fee or 0), 0)


async def test_after_a_recovery_nothing_of_before_ends(house: House) -> None:
    """The new journal cannot know what the lost one signed, whoever asked for it."""
    await house.ready()
    asked, unasked = await house.create(), await house.create(amount=LARGE)
    house.gateway.replies_lost = 1
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    assert (await house.row(asked)).state == "SIGNING"
    house.journal.created = house.clock.now() + HOUR  # as `signer recover` leaves it
    await house.cancel(unasked)
    await house.sql(
        "UPDATE withdrawal SET state = 'ENDING', ending = 'BLOCKED' WHERE digest = %s", asked.digest
    )
    await house.sql("UPDATE withdrawal SET retry_at = now()")
    house.journal.db.execute("DELETE FROM request")
    await end.ask(house.parts)
    for kept in (await house.row(asked), await house.row(unasked)):
        assert (kept.state, kept.waiting_for, kept.receipt) == ("ENDING", "OPERATOR", None)
    assert (await house.row(asked)).reserved > 0


async def test_what_was_reserved_stays_so_until_the_end_is_certain(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.refuse = [Code.CAP_EXCEEDED]
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    ending = await house.row(row)
    assert (ending.state, ending.ending, ending.refusal_code) == (
        "ENDING",
        "BLOCKED",
        "CAP_EXCEEDED",
    )
    assert (await house.balance()).in_use == ending.reserved > 0
    await end.ask(house.parts)
    blocked = await house.row(row)
    assert (blocked.state, blocked.refusal_code) == ("BLOCKED", "CAP_EXCEEDED")
    assert (await house.balance()).in_use == 0


async def test_what_comes_in_is_for_who_waits_longest_and_small_ones_use_the_rest(
    house: House,
) -> None:
    await house.ready(lamports=2 * SOL)
    large = await house.create(amount=LARGE)
    for person in ("alice", "carol"):
        await house.decide(large, person)
    await house.step()
    assert (await house.row(large)).waiting_for == "FUNDS"
    small = [await house.create(amount=SOL // 2) for _ in range(2)]
    await house.step()
    assert {(await house.row(row)).state for row in small} == {"COMPLETED"}
    house.pay(house.wallet, 10 * SOL)
    late = await house.create(amount=SOL)
    await house.step()
    assert (await house.row(large)).set_aside == 10 * SOL
    assert (await house.row(late)).waiting_for == "FUNDS"
    house.pay(house.wallet, 12 * SOL)
    await house.step()
    assert (await house.row(large)).state == "COMPLETED"
    assert (await house.row(late)).state == "COMPLETED"
    assert await house.on_chain(CUSTOMER.address) == LARGE + 2 * SOL


async def test_who_gives_up_waiting_frees_what_was_set_aside(house: House) -> None:
    await house.ready(lamports=SOL // 2)
    first = await house.create(amount=SOL)
    await house.step()
    house.pay(house.wallet, SOL // 10)
    second = await house.create(amount=SOL)
    await house.step()
    assert {(await house.row(row)).waiting_for for row in (first, second)} == {"FUNDS"}
    await house.cancel(first)
    await house.step()
    assert await house.sql("SELECT set_aside FROM balance") == [(0,)]
