"""Lists by the page (AIP-158): every item once, and tokens that nobody made up."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest

from custody import api, views
from custody.identity import Role
from kura.custody.v1 import custody_pb2 as wire
from tests.factories import SOL
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import refused, served

house = houses.house
LISTS: dict[str, Callable[..., Any]] = {
    "ListWithdrawals": wire.ListWithdrawalsRequest,
    "ListPendingApprovals": wire.ListPendingApprovalsRequest,
    "ListWallets": wire.ListWalletsRequest,
    "ListBalances": wire.ListBalancesRequest,
}


@pytest.fixture
async def stub(house: House, tmp_path: Path) -> AsyncIterator[Any]:
    await house.ready()
    async with served(house.parts, tmp_path / "pki") as made, made.stub(Role.AUDITOR) as stub:
        yield stub


def token(position: bytes) -> str:
    return base64.urlsafe_b64encode(position).decode()


async def pages(method: Any, request: Callable[..., Any], size: int) -> list[list[str]]:
    """Return the names on each page, in the order they came."""
    found, at = [], ""
    while True:
        page = await method(request(page_size=size, page_token=at))
        found.append([item.name for item in page.withdrawals])
        at = page.next_page_token
        if not at:
            return found


async def test_a_long_page_asks_the_database_no_more_than_a_short_one(
    house: House, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        row = await house.create(amount=20 * SOL)
        await house.decide(row, "alice")
    execute, asked = psycopg.AsyncCursor.execute, list[object]()

    async def counted(self: Any, query: Any, *rest: Any, **options: Any) -> Any:
        asked.append(query)
        return await execute(self, query, *rest, **options)

    await stub.ListWithdrawals(wire.ListWithdrawalsRequest())  # the first call is a sign-in too
    monkeypatch.setattr(psycopg.AsyncCursor, "execute", counted)
    for method, request in (
        (stub.ListWithdrawals, wire.ListWithdrawalsRequest),
        (stub.ListPendingApprovals, wire.ListPendingApprovalsRequest),
    ):
        counts = []
        for size in (1, 6):
            asked.clear()
            page = await method(request(page_size=size))
            assert [len(item.approvals) for item in page.withdrawals] == [1] * size
            assert all(item.approvals_missing == ["1 of risk"] for item in page.withdrawals)
            counts.append(len(asked))
        assert counts[0] == counts[1] > 0


async def test_every_withdrawal_stands_on_one_page(house: House, stub: Any) -> None:
    rows = [await house.create(amount=20 * SOL) for _ in range(5)]
    names = [f"withdrawals/{row.digest}" for row in rows]
    for method, request, order in (
        (stub.ListWithdrawals, wire.ListWithdrawalsRequest, names[::-1]),
        (stub.ListPendingApprovals, wire.ListPendingApprovalsRequest, names),
    ):
        for size, sizes in ((2, [2, 2, 1]), (4, [4, 1]), (0, [5]), (1_000_000, [5]), (5, [5, 0])):
            found = await pages(method, request, size)
            assert [len(page) for page in found] == sizes
            assert [name for page in found for name in page] == order


async def test_what_is_new_does_not_shift_the_pages(house: House, stub: Any) -> None:
    rows = [await house.create() for _ in range(3)]
    first = await stub.ListWithdrawals(wire.ListWithdrawalsRequest(page_size=2))
    await house.create()
    request = wire.ListWithdrawalsRequest(page_size=2, page_token=first.next_page_token)
    (last,) = (await stub.ListWithdrawals(request)).withdrawals
    assert last.name == f"withdrawals/{rows[0].digest}"


async def test_others_get_their_turn_while_a_long_page_is_made(
    house: House, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        await house.create()
    monkeypatch.setattr(api, "ROWS_AT_ONCE", 2)
    original, turns, turn = views.withdrawal, list[int](), 0

    def noted(*arguments: Any) -> wire.Withdrawal:
        turns.append(turn)
        return original(*arguments)

    async def other() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(views, "withdrawal", noted)
    task = asyncio.create_task(other())
    await stub.ListWithdrawals(wire.ListWithdrawalsRequest())
    task.cancel()
    assert [turns.count(number) for number in sorted({*turns})] == [2, 2, 2]


async def test_sizes_and_tokens_that_are_none(stub: Any) -> None:
    good = {"ListWallets": b"a", "ListBalances": b"a"}
    for name, request in LISTS.items():
        method = getattr(stub, name)
        await method(request(page_token=token(good.get(name, b"12"))))
        wrong = [
            (request(page_size=-1), "page_size"),
            (request(page_size=-(2**31)), "page_size"),
            *(
                (request(page_token=bad), "page_token")
                for bad in (
                    "!!!!",
                    "x",
                    "MTI",
                    token(b"12") + "\n",
                    token(b"12") + "====",
                    "  " + token(b"12"),
                    token(b"\0"),
                    token(b"\xff"),
                    token(b"a b"),
                    token("\uff11".encode()),
                    token(b"9" * 40),
                    token(b"'; DROP TABLE withdrawal; --"),
                    "A" * 100_000,
                )
            ),
        ]
        for spoiled, field in wrong:
            status, refusal = await refused(method(spoiled))
            assert status is grpc.StatusCode.INVALID_ARGUMENT, (name, spoiled)
            assert refusal.field == field


async def test_numbered_lists_take_only_numbers(stub: Any) -> None:
    for name in ("ListWithdrawals", "ListPendingApprovals"):
        for position in (b"a", b"-1", b"1.5", b"9" * 20):
            call = getattr(stub, name)(LISTS[name](page_token=token(position)))
            status, _ = await refused(call)
            assert status is grpc.StatusCode.INVALID_ARGUMENT, position
