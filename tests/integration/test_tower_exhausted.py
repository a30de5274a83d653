"""What hostile parts around the watchtower can keep it from seeing, and for how long."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.chains.errors import NodeError
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from custody.watchtower import nodes
from custody.watchtower.service import ITEMS_MAX, Service
from kura.watchtower.v1 import watchtower_pb2 as wire
from tests.devnet_wallet import SOL
from tests.factories import make_intent, make_receipt, policy_file, travelling
from tests.tower_rig import AUDIT, TowerRig, only, passing, slow_slots, stranger, until

CALLS_AT_ONCE, CALLS_PER_SECOND = 32, 200  # custody.limits, of one identity
FAR_SLOT = 2**62


@pytest.fixture
def ledger() -> Iterator[Chain]:
    with Chain(None) as made, passing(made):
        yield made


@pytest.fixture
def rig(tmp_path: Path, ledger: Chain) -> Iterator[TowerRig]:
    with serve(ledger) as url:
        yield TowerRig(tmp_path, ledger, [url])


@pytest.fixture
def two(tmp_path: Path, ledger: Chain) -> Iterator[TowerRig]:
    with serve(ledger) as url, serve(ledger) as other:
        yield TowerRig(tmp_path, ledger, [url, other])


def suspects_of(rig: TowerRig) -> list[str]:
    return [name for (name,) in rig.database.rows("SELECT transaction_id FROM suspects")]


def receipts_flood() -> tuple[Any, Any]:
    (data,) = travelling(make_receipt(make_intent()))
    return Service.SubmitReceipts, wire.SubmitReceiptsRequest(receipts=[data] * ITEMS_MAX)


def versions_flood() -> tuple[Any, Any]:
    tag = policy_file().split(b"\n")[0]
    tables = b"".join(b"[a.b%d.c.d.e.f.g.h.i]\n" % number for number in range(9_000))
    file = tag + b"\n" + tables
    return Service.CreatePolicyVersion, wire.CreatePolicyVersionRequest(file=file)


@pytest.mark.parametrize("flood_of", [receipts_flood, versions_flood])
async def test_a_flood_of_calls_does_not_blind_it(
    rig: TowerRig, flood_of: Callable[[], tuple[Any, Any]]
) -> None:
    """A stolen server's certificate asks as much as its limits allow."""
    submit, request = flood_of()
    answered = 0
    async with rig.running():
        await rig.well()
        service = Service(rig.parts, rig.tower, rig.parts.alarm)  # type: ignore[arg-type]

        async def flood() -> None:
            nonlocal answered
            while True:
                await submit.__wrapped__(service, request)
                answered += 1
                await asyncio.sleep(CALLS_AT_ONCE / CALLS_PER_SECOND)

        floods = [asyncio.create_task(flood()) for _ in range(CALLS_AT_ONCE)]
        try:
            stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
            await until(lambda: suspects_of(rig) == [stolen])
            assert answered <= 5 * CALLS_PER_SECOND  # 5 s of a flood, however slow the machine is
        finally:
            for task in floods:
                task.cancel()


async def test_a_theft_is_found_while_strangers_dust_is_looked_at(rig: TowerRig) -> None:
    """Whoever sends to the wallet makes the watchtower look; that must not hide what comes next."""
    dust = 400
    for number in range(dust):
        rig.call("requestAirdrop", [str(rig.wallet.address), SOL + number])
    rig.ledger.advance(2)

    class Slow:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        async def shown(self, name: str) -> Any:
            await asyncio.sleep(0.2)
            return await self._inner.shown(name)

    node = rig.tower._nodes.each[0]
    node.ask = Slow(node.ask)  # type: ignore[assignment]
    async with rig.running():
        await until(lambda: looked_at(rig))
        stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
        await until(lambda: suspects_of(rig) == [stolen])
        assert looked_at(rig) < dust / 2
        assert rig.tower.problem(AUDIT)


def looked_at(rig: TowerRig) -> int:
    return sum(item["method"] == "getTransaction" for item in rig.between.asked)


async def test_a_node_that_fails_now_and_then_lets_it_catch_up(rig: TowerRig) -> None:
    """As one does that allows so many questions a second; what was looked at is not asked again."""
    dust = 60
    for number in range(dust):
        rig.call("requestAirdrop", [str(rig.wallet.address), SOL + number])
    rig.ledger.advance(2)
    node, asked = rig.tower._nodes.each[0], 0
    inner = node.ask.shown

    async def failing(name: str) -> Any:
        nonlocal asked
        asked += 1
        if asked % 20 == 0:
            raise NodeError("too many questions")
        return await inner(name)

    node.ask.shown = failing  # type: ignore[method-assign, assignment]
    async with rig.running():
        await rig.well()
    assert asked < 2 * dust


async def test_a_slot_that_a_node_made_up_blinds_it_for_no_longer_than_the_lie(
    rig: TowerRig,
) -> None:
    async with rig.running():
        await rig.well()
        rig.between.alter = only(
            "getSignaturesForAddress", lambda page: [item | {"slot": FAR_SLOT} for item in page]
        )
        rig.call("requestAirdrop", [str(rig.wallet.address), SOL])
        await rig.seen()
        rig.between.alter = None
        stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
        await until(lambda: suspects_of(rig) == [stolen])


async def test_a_node_that_once_named_a_far_slot_counts_again(
    rig: TowerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "STILL_SECONDS_MAX", 2.0)
    async with rig.running():
        await rig.well()
        node = rig.tower._nodes.each[0]
        rig.between.alter = only("getSlot", lambda _: FAR_SLOT)
        await until(lambda: node.slot == FAR_SLOT)
        rig.between.alter = None
        await until(lambda: rig.tower.problem(AUDIT))
        await rig.well()


async def test_one_node_alone_does_not_say_that_a_nonce_was_held(two: TowerRig) -> None:
    """Custody named a blockhash, and one node pretends that it was the account's value."""
    wallet, account = two.wallet, two.open_nonce()
    real, lies = bytes(wallet.nonce(account)), 0

    def pretend(result: Any) -> Any:
        nonlocal lies
        lies += 1
        value = [item and item | {"data": with_value(item["data"][0])} for item in result["value"]]
        return result | {"value": value}

    def with_value(data: str) -> list[str]:
        raw = base64.b64decode(data).replace(real, blockhash)
        return [base64.b64encode(raw).decode(), "base64"]

    with slow_slots():
        tx = two.sign(wallet.advance(account), wallet.pay(stranger()))
        blockhash, name = bytes(tx.message.recent_blockhash), str(tx.signatures[0])
        two.between.alter = only("getMultipleAccounts", pretend)
        two.give(two.receipt(tx, nonce_account=str(account), nonce_value=blockhash.hex()))
        async with two.running():
            await two.well()
            await until(lambda: lies > 2)
            two.between.alter = None
            settler = next(iter(two.tower._watches.values())).settler
            for _ in range(4):
                await two.seen()
                await settler.settle()
            assert two.state(name) == "SENT"
            two.send(tx)  # it lands all the same
            await until(lambda: two.state(name) == "FINAL")


async def test_a_slot_that_a_node_made_up_keeps_nothing_from_being_final(rig: TowerRig) -> None:
    """Else it counts beyond recall for ever, and only who edits the database frees the wallet."""
    async with rig.running():
        await rig.well()
        rig.between.alter = only(
            "getSignaturesForAddress", lambda page: [item | {"slot": FAR_SLOT} for item in page]
        )
        name = rig.lawful(rig.wallet.pay(stranger()))
        await until(lambda: rig.state(name) == "SEEN")
        rig.between.alter = None
        await until(lambda: rig.state(name) == "FINAL")


async def test_what_a_node_forgot_for_a_moment_is_final_all_the_same(rig: TowerRig) -> None:
    """No list shows it a second time: the cursor is past it."""
    async with rig.running():
        await rig.well()
        rig.between.alter = only(
            "getSignatureStatuses",
            lambda result: result | {"value": [None] * len(result["value"])},
        )
        name = rig.lawful(rig.wallet.pay(stranger()))
        await until(lambda: rig.state(name) == "SEEN")
        await until(lambda: rig.state(name) == "SENT")
        rig.between.alter = None
        await until(lambda: rig.state(name) == "FINAL")
