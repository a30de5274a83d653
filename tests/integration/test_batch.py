"""BatchCreateWithdrawals and ListWithdrawals' filters, through the client."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody import asks
from custody.asks import BATCH_MAX
from custody.client import CustodyRefused, SigningKey, State, UncertifiedError, state_of
from custody.client_async import AsyncCustodyClient
from custody.flows.create import AT_ONCE
from custody.identity import Identity, Role
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from tests.factories import CUSTOMER, SOL, key
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import Served, refused, served

house = houses.house
PATIENCE = timedelta(minutes=4)


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    await house.ready()
    async with served(house.parts, tmp_path / "pki") as api:
        yield api


@pytest.fixture
async def custody(api: Served) -> AsyncIterator[AsyncCustodyClient]:
    tls = api.authority.issue(Identity(Role.REQUESTER, "exchange"))
    async with AsyncCustodyClient(api.target, tls, patience=PATIENCE) as custody:
        yield custody


async def test_each_is_answered_on_its_own_and_again_the_same(
    house: House, custody: AsyncCustodyClient
) -> None:
    good, large = house.intent(), house.intent(amount=2 * SOL)
    forged = replace(house.intent(), signature=bytes(64))
    await custody.submit(good)
    intents = [good, forged, large, good, house.intent(request_id="w-1", amount=SOL // 4)]
    results = await custody.submit_batch(intents)
    codes = [item.code if isinstance(item, Refusal) else item.state for item in results]
    assert codes == [
        wire.WITHDRAWAL_STATE_QUEUED,
        Code.SIGNATURE_INVALID,
        wire.WITHDRAWAL_STATE_PENDING_APPROVAL,
        wire.WITHDRAWAL_STATE_QUEUED,
        Code.REQUEST_ID_REUSED,
    ]
    assert results[0] == results[3]
    assert await custody.submit_batch(intents) == results
    assert len([item async for item in custody.list_withdrawals()]) == 2


async def single_ones(house: House, custody: AsyncCustodyClient) -> list[float]:
    """Return the seconds that each of some single withdrawals takes on this machine."""
    taken = []
    for _ in range(20):
        before = time.monotonic()
        await custody.submit(house.intent())
        taken.append(time.monotonic() - before)
    return taken


async def test_a_full_batch_asks_the_node_a_few_at_a_time_and_answers_in_time(
    house: House, custody: AsyncCustodyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, most, original = 0, 0, house.parts.node.destination_problem

    async def counted(address: str, amount: int) -> str | None:
        nonlocal asking, most
        asking, most = asking + 1, max(most, asking + 1)
        try:
            return await original(address, amount)
        finally:
            asking -= 1

    monkeypatch.setattr(house.parts.node, "destination_problem", counted)
    monkeypatch.setattr(asks, "BATCH_SECONDS", PATIENCE.total_seconds())  # however slow we are
    intents = [house.intent() for _ in range(BATCH_MAX)]
    singles = await single_ones(house, custody)
    before = time.monotonic()
    results = await custody.submit_batch(intents)
    seconds = time.monotonic() - before
    singles += await single_ones(house, custody)
    assert seconds < 4 * BATCH_MAX * mean(singles)  # BATCH_SECONDS hold more
    names = [item.name for item in results if isinstance(item, wire.Withdrawal)]
    assert len({*names}) == BATCH_MAX
    assert 1 < most <= AT_ONCE


async def test_a_batch_of_none_or_too_many_is_refused(
    house: House, api: Served, custody: AsyncCustodyClient
) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        await custody.submit_batch([])
    many = [wire.CreateWithdrawalRequest()] * (BATCH_MAX + 1)
    async with api.stub(Role.REQUESTER, "exchange") as stub:
        for items in ([], many):
            request = wire.BatchCreateWithdrawalsRequest(requests=items)
            _, refusal = await refused(stub.BatchCreateWithdrawals(request))
            assert (refusal.code, refusal.field) == (Code.ARGUMENT_INVALID, "requests")


async def test_filters_and_their_pages(
    house: House, api: Served, custody: AsyncCustodyClient
) -> None:
    small = [await house.create() for _ in range(3)]
    large = [await house.create(amount=2 * SOL) for _ in range(2)]
    await house.cancel(large[0])

    async def found(**filters: Any) -> list[str]:
        return [item.request_id async for item in custody.list_withdrawals(**filters)]

    ids = [row.request_id for row in (*small, *large)]
    assert await found() == ids[::-1]
    assert await found(states=[State.QUEUED]) == ids[2::-1]
    assert await found(states=[State.QUEUED, State.ENDING]) == ids[3::-1]
    assert await found(waiting_for="APPROVALS") == ids[4:]
    assert await found(wallet="hot-sol", request_id=ids[1]) == [ids[1]]
    assert await found(wallet="cold-sol") == []
    async with api.stub(Role.AUDITOR) as stub:
        states = [wire.WITHDRAWAL_STATE_QUEUED]
        request = wire.ListWithdrawalsRequest(page_size=2, states=states)
        first = await stub.ListWithdrawals(request)
        request.page_token = first.next_page_token
        last = await stub.ListWithdrawals(request)
        plain = await stub.ListWithdrawals(wire.ListWithdrawalsRequest(page_size=2))
        assert [item.request_id for item in last.withdrawals] == ids[:1]
        for other in (
            wire.ListWithdrawalsRequest(page_token=first.next_page_token),
            wire.ListWithdrawalsRequest(page_token=first.next_page_token, wallet="wallets/a"),
            wire.ListWithdrawalsRequest(page_token=plain.next_page_token, states=states),
        ):
            _, refusal = await refused(stub.ListWithdrawals(other))
            assert (refusal.code, refusal.field) == (Code.ARGUMENT_INVALID, "page_token")


@pytest.mark.parametrize(
    "filters",
    [
        {"states": [0]},
        {"states": [99]},
        {"wallet": "hot-sol"},
        {"wallet": "wallets/"},
        {"wallet": "wallets/\0"},
        {"waiting_for": "GODOT"},
        {"request_id": "a b"},
        {"requester": "other"},
        {"requester": "\0"},
    ],
    ids=str,
)
async def test_a_filter_that_is_none(api: Served, filters: dict[str, Any]) -> None:
    async with api.stub(Role.REQUESTER, "exchange") as stub:
        call = stub.ListWithdrawals(wire.ListWithdrawalsRequest(**filters))
        _, refusal = await refused(call)
    assert (refusal.code, refusal.field) == (Code.ARGUMENT_INVALID, next(iter(filters)))


async def test_the_asyncio_client_asks_once_waits_and_takes_back(house: House, api: Served) -> None:
    tls = api.authority.issue(Identity(Role.REQUESTER, "exchange"))
    private = Ed25519PrivateKey.from_private_bytes(bytes(key("exchange")))
    who = (api.target, tls, SigningKey(private), "exchange")
    keys = {"hot-sol": {house.audit_key}}
    async with AsyncCustodyClient(*who, audit_keys=keys) as custody:
        asked: dict[str, Any] = {
            "request_id": "order-1",
            "wallet": "hot-sol",
            "network": "solana:devnet",
            "asset": "SOL",
            "address": CUSTOMER.address,
            "amount": 2 * SOL,
        }
        first = await custody.create_withdrawal(**asked)
        assert await custody.create_withdrawal(**{**asked, "expires_in": timedelta(1)}) == first
        with pytest.raises(CustodyRefused) as caught:
            await custody.create_withdrawal(**{**asked, "amount": SOL})
        assert caught.value.refusal.code is Code.REQUEST_ID_REUSED
        assert state_of(await custody.wait(first.name, {State.PENDING_APPROVAL})) is not None
        assert state_of(await custody.cancel(first.name)) is State.ENDING
        with pytest.raises(TimeoutError):
            await custody.wait(first.name, timeout=timedelta(seconds=0.1))
        await house.step()
        assert state_of(await custody.wait(first.name)) is State.CANCELLED
    async with AsyncCustodyClient(*who) as unpinned:
        with pytest.raises(UncertifiedError):
            await unpinned.wait(first.name)
        with pytest.raises(UncertifiedError):
            _ = [item async for item in unpinned.list_withdrawals()]
