"""Two workers on one database: each payment once, each lamport of the books once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from custody.chains.solana import SolanaNode
from custody.domain.states import ImpossibleTransitionError
from custody.flows.parts import WorkerParts
from custody.store.database import Database
from custody.store.withdrawals import StaleStateError
from custody.worker import LINES, Step
from policies.codes import Code
from tests.factories import CUSTOMER, SOL, make_book
from tests.integration import house as houses
from tests.integration.house import House

house = houses.house
LOST_RACES = (StaleStateError, ImpossibleTransitionError)


@pytest.fixture
async def both(house: House) -> AsyncIterator[tuple[WorkerParts, WorkerParts]]:
    database, node = Database(house.dsn), SolanaNode(house.node_url)
    await database.open()
    yield house.parts, replace(house.parts, database=database, node=node)
    await node.close()
    await database.close()


async def race(house: House, both: tuple[WorkerParts, ...], rounds: int) -> None:
    """Both run every step at the same time."""
    for _ in range(rounds):
        await house.sql("UPDATE withdrawal SET retry_at = now()")
        for steps in LINES.values():
            for step in steps:
                await asyncio.gather(*(tried(step, parts) for parts in both))
        await house.check()
        house.chain.advance(4)


async def tried(step: Step, parts: WorkerParts) -> None:
    try:
        await step(parts)
    except LOST_RACES:
        return


async def test_two_workers_from_an_empty_database_to_the_last_payment(
    house: House, both: tuple[WorkerParts, WorkerParts]
) -> None:
    house.pay(house.wallet, 100 * SOL)
    await race(house, both, 4)
    await house.book(make_book(CUSTOMER))
    await race(house, both, 1)
    house.pay(house.wallet, SOL)
    rows = [await house.create() for _ in range(6)]
    house.gateway.refuse = [Code.NONCE_USED, Code.NONCE_USED]
    house.gateway.replies_lost = 1
    await race(house, both, 8)
    assert [(await house.row(row)).state for row in rows] == ["COMPLETED"] * 6
    assert await house.on_chain(CUSTOMER.address) == sum(row.amount for row in rows)
    balance = await house.balance()
    assert (balance.total, balance.in_use) == (await house.on_chain(house.wallet), 0)
