"""Lost replies, dead processes, lying wires: what is paid is paid once, what waits goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from custody.flows import broadcast, nonce_pool, receipts, sign
from custody.store.database import Connection, Database
from custody.store.withdrawals import Row
from signer.hsm import Token
from signer.requests import Requests
from tests.factories import CUSTOMER, HOUR
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.mischief import Crash, LocalGateway, NodeLine, crash_in

house = houses.house


async def completed(house: House, *rows: Row) -> None:
    """Each is paid, once: on the chain, in the books, by one transaction."""
    await house.step()
    assert [(await house.row(row)).state for row in rows] == ["COMPLETED"] * len(rows)
    paid = sum(row.amount for row in rows)
    assert await house.on_chain(CUSTOMER.address) == paid
    balance = await house.balance()
    assert (balance.total, balance.in_use) == (await house.on_chain(house.wallet), 0)


async def test_a_lost_reply_is_asked_for_again_and_is_the_same(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.replies_lost = 2
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("SIGNING", "SIGNER")
    await completed(house, row)
    first, *again = house.gateway.asked
    assert again == [first, first]


async def test_a_reply_lost_until_the_intent_expired_is_paid_all_the_same(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.replies_lost = 1
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    house.clock.ahead_ms = 2 * HOUR
    await completed(house, row)


async def test_it_waits_for_a_signer_that_is_not_there(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.unreachable = True
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("SIGNING", "SIGNER")
    house.gateway.unreachable = False
    await completed(house, row)


async def test_it_waits_for_a_node_that_is_not_there_before_and_after_sending(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.node_line.cut = True
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("BROADCASTING", "NODE")
    house.node_line.cut = False
    await broadcast.send(house.parts)
    await house.sql("UPDATE withdrawal SET retry_at = now()")
    await broadcast.send(house.parts)
    house.node_line.cut = True
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("CONFIRMING", "NODE")
    house.node_line.cut = False
    await completed(house, row)


async def test_a_lost_answer_to_sending_is_sent_again(house: House) -> None:
    await house.ready()
    row = await house.create()
    sent = house.node_line.calls.count("sendTransaction")
    house.node_line.answers_lost = ["sendTransaction"]
    await completed(house, row)
    assert house.node_line.calls.count("sendTransaction") == sent + 2


async def test_a_node_that_forgets_is_sent_the_same_again(house: House) -> None:
    await house.ready()
    row = await house.create()
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    await receipts.hand_over(house.parts)
    await broadcast.start(house.parts)
    await broadcast.send(house.parts)
    sent = house.node_line.calls.count("sendTransaction")
    house.node_line.results["getSignatureStatuses"] = [None]
    await house.step()
    assert (await house.row(row)).state == "CONFIRMING"
    assert house.node_line.calls.count("sendTransaction") > sent
    house.node_line.results.clear()
    await completed(house, row)


async def test_a_crash_after_any_effect_pays_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ready()
    rows, crashed, effects = [], True, 0
    while crashed:
        rows.append(await house.create())
        effects += 1
        with monkeypatch.context() as patch:
            crash_after(effects, patch)
            crashed = await house.dies(pay_one(house))
        await completed(house, *rows)
    assert effects > 14, "the crashes no longer fall between all the steps"


@pytest.mark.parametrize(
    ("where", "effect"),
    [
        (Requests, "see"),
        (Requests, "reserve"),
        (Token, "sign"),
        (Requests, "record"),
    ],
)
async def test_a_signer_that_dies_at_its_work_signs_one_message(
    house: House, monkeypatch: pytest.MonkeyPatch, where: type, effect: str
) -> None:
    await house.ready()
    row = await house.create()
    await sign.claim(house.parts)
    with monkeypatch.context() as patch:
        crash_in(where, effect, patch)
        assert await house.dies(sign.ask(house.parts))
    await completed(house, row)


async def pay_one(house: House) -> None:
    for step in (sign.claim, sign.ask, receipts.hand_over, broadcast.start, broadcast.send):
        await step(house.parts)
    house.chain.advance(4)
    for step in (broadcast.confirm, nonce_pool.keep_pool):
        await step(house.parts)


def crash_after(effects: int, patch: pytest.MonkeyPatch) -> None:
    """Raise Crash once that many commits, replies and answers have happened, all together."""
    left = iter(range(effects - 1, -1, -1))

    def happened() -> None:
        if next(left, None) == 0:
            raise Crash

    commit, reply, answer = Database.transaction, LocalGateway.ask, NodeLine.handle_async_request

    @asynccontextmanager
    async def transaction(self: Database) -> AsyncIterator[Connection]:
        async with commit(self) as connection:
            yield connection
        happened()

    async def ask(self: LocalGateway, jobs: Any, traces: Any = ()) -> Any:
        results = await reply(self, jobs, traces)
        happened()
        return results

    async def handle(self: NodeLine, request: httpx.Request) -> httpx.Response:
        response = await answer(self, request)
        happened()
        return response

    patch.setattr(Database, "transaction", transaction)
    patch.setattr(LocalGateway, "ask", ask)
    patch.setattr(NodeLine, "handle_async_request", handle)
