"""The pool of durable nonces: opened once, paid for to the lamport, never on a wrong message."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from custody.chains.solana import SolanaNode
from custody.chains.solana_checks import nonce_address
from custody.flows import housekeeping, nonce_pool, sign
from custody.flows.parts import Fee
from policies.statements import digest, encode
from signer.requests import Requests, Reservation
from tests.factories import CUSTOMER, SOL, make_book, make_intent
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.works import FEE

house = houses.house
FUNDS = 100 * SOL


async def opened(house: House) -> list[int]:
    rows = await house.sql("SELECT index FROM nonce WHERE value IS NOT NULL ORDER BY index")
    return [index for (index,) in rows]


async def books_are_the_chain(house: House) -> None:
    balance = await house.balance()
    assert (balance.total, balance.in_use) == (await house.on_chain(house.wallet), 0)


async def test_every_account_is_opened_once_and_booked(house: House) -> None:
    house.pay(house.wallet, FUNDS)
    await house.step()
    assert await opened(house) == [0, 1, 2, 3]
    cost = await house.parts.node.minimum_rent(80) + FEE.lamports
    entries = await house.sql("SELECT kind, amount FROM ledger_entry ORDER BY sequence")
    assert entries == [("inflow", FUNDS), *[("nonce", -cost)] * 4]
    await books_are_the_chain(house)
    sent = house.node_line.calls.count("sendTransaction")
    await house.step()
    assert house.node_line.calls.count("sendTransaction") == sent == 4


async def test_another_fee_in_the_settings_meanwhile_books_what_the_chain_took(
    house: House,
) -> None:
    house.pay(house.wallet, FUNDS)
    house.parts = replace(house.parts, fee=Fee(unit_limit=2_000, unit_price=400_000))
    for step in (housekeeping.read_status, housekeeping.book_inflows, nonce_pool.keep_pool):
        await step(house.parts)
    house.parts = replace(house.parts, fee=FEE)
    await house.step()
    assert await opened(house) == [0, 1, 2, 3]
    await books_are_the_chain(house)


async def test_an_address_that_a_stranger_paid_to_is_left_out(house: House) -> None:
    house.pay(nonce_address(house.wallet, 1), SOL)
    await house.ready()
    assert await opened(house) == [0, 2, 3]
    rows = [await house.create() for _ in range(4)]
    await house.step()
    assert {(await house.row(row)).state for row in rows} == {"COMPLETED"}
    await books_are_the_chain(house)


async def test_an_opening_that_is_not_what_was_asked_for_is_never_sent(house: House) -> None:
    house.gateway.tamper = lambda honest: honest[:-1] + bytes([honest[-1] ^ 1])
    house.pay(house.wallet, FUNDS)
    await house.step()
    assert await opened(house) == []
    assert "sendTransaction" not in house.node_line.calls
    assert await house.on_chain(house.wallet) == FUNDS
    house.gateway.tamper = bytes
    await house.step()
    assert await opened(house) == [0, 1, 2, 3]
    await books_are_the_chain(house)


async def test_an_opening_without_its_receipt_is_asked_for_again(house: House) -> None:
    """The watchtower takes no other: kept, it would never be sent, nor asked for again."""
    house.gateway.forge = lambda _: b"no receipt"
    house.pay(house.wallet, FUNDS)
    await house.step()
    assert await house.sql("SELECT opening_id FROM nonce WHERE opening_id IS NOT NULL") == []
    house.gateway.forge = bytes
    await house.step()
    assert await opened(house) == [0, 1, 2, 3]
    await books_are_the_chain(house)


async def test_an_opening_whose_blockhash_is_gone_is_made_anew(house: House) -> None:
    house.node_line.undelivered = ["sendTransaction"] * 8
    house.pay(house.wallet, FUNDS)
    await house.step()
    house.chain.advance(200)
    first = await house.sql("SELECT opening_id FROM nonce ORDER BY index")
    await house.step()
    assert await opened(house) == []
    assert await house.sql("SELECT opening_id FROM nonce ORDER BY index") == first  # too early
    await house.sql("UPDATE nonce SET opening_time = now() - interval '3 minutes'")
    await house.step()
    assert await opened(house) == [0, 1, 2, 3]
    await books_are_the_chain(house)


async def test_without_funds_nothing_is_opened_and_withdrawals_wait(house: House) -> None:
    house.pay(house.wallet, 4_000_000)  # enough for one account and the wallet's minimum
    await house.step()
    assert await opened(house) == [0]
    await house.book(make_book(CUSTOMER))
    await house.step()
    row = await house.create()
    await house.step()
    assert (await house.row(row)).waiting_for == "FUNDS"
    house.pay(house.wallet, SOL)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert await opened(house) == [0, 1, 2, 3]
    await books_are_the_chain(house)


@pytest.mark.parametrize("node", ["refuses it", "takes it and forgets it"])
async def test_a_value_that_the_node_lied_about_does_not_hold_its_account(
    house: House, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    await house.ready()
    await house.sql("UPDATE nonce SET value = %s WHERE index = 0", b"\7" * 32)
    honest = SolanaNode.send

    async def forgets(self: SolanaNode, transaction: bytes) -> None:
        if b"\7" * 32 not in transaction:
            await honest(self, transaction)

    if node == "takes it and forgets it":
        monkeypatch.setattr(SolanaNode, "send", forgets)
    lied = await house.create()
    await house.step()
    assert (await house.row(lied)).state in {"BROADCASTING", "CONFIRMING"}
    await house.sql("UPDATE withdrawal SET create_time = now() - interval '2 minutes'")
    rivals = [await house.create() for _ in range(4)]
    with capture_logs() as logs:
        await house.step()
    assert [entry["event"] for entry in logs].count("nonce lost") == 1
    assert {(await house.row(row)).state for row in rivals} == {"COMPLETED"}
    calls = house.node_line.calls.count("getAccountInfo")
    await house.step()
    assert house.node_line.calls.count("getAccountInfo") == calls, "it is looked at for ever"
    stuck = await house.row(lied)
    assert (await house.balance()).in_use == stuck.reserved > 0
    house.lost = frozenset({lied.digest})
    assert len(await house.sql("SELECT 1 FROM nonce WHERE holder IS NULL")) == 4


async def burn(house: House, index: int) -> tuple[int, bytes]:
    """Have the signer put a value into a message of which custody knows nothing."""
    ((value,),) = await house.sql("SELECT value FROM nonce WHERE index = %s", index)
    intent = make_intent(request_id=f"gone-{index}")
    reservation = Reservation(
        intent=intent,
        digest=digest(encode(intent)),
        message=b"gone",
        nonce_index=index,
        nonce_value=bytes(value),
        counters=(),
        cost=0,
    )
    Requests(house.journal).reserve(reservation, house.gateway.guard._clock.now())
    return index, bytes(value)


async def test_a_burnt_value_is_not_offered_again(house: House) -> None:
    await house.ready()
    burnt = [await burn(house, 0), await burn(house, 1)]
    rows = [await house.create() for _ in range(3)]
    for _ in range(3):  # each time at another withdrawal's cost, if it is offered again
        await house.sql("UPDATE withdrawal SET retry_at = now()")
        await sign.claim(house.parts)
        await sign.ask(house.parts)
        await nonce_pool.keep_pool(house.parts)
    offered = [(job.solana.nonce_index, job.solana.nonce_value) for job in house.gateway.asked]
    assert [offered.count(nonce) for nonce in burnt] == [1, 1]
    await house.step()
    assert {(await house.row(row)).state for row in rows} == {"COMPLETED"}
    await books_are_the_chain(house)


async def test_where_every_value_is_burnt_it_waits_for_a_nonce(house: House) -> None:
    await house.ready()
    for index in range(4):
        await burn(house, index)
    row = await house.create()
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for, waiting.reserved) == ("QUEUED", "NONCE", 0)
    asked = len(house.gateway.asked)
    await house.step()
    assert len(house.gateway.asked) == asked == 4
    house.journal.db.execute("UPDATE request SET nonce = NULL")  # all stand for other values now
    await house.sql("UPDATE nonce SET spent = %s WHERE index = 2", b"\1" * 32)  # it has moved on
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
