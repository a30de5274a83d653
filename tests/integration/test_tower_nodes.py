"""Nodes that lie, hide, stand still, are away or of another network: they pause, and no more."""

import base64
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from solders.transaction import VersionedTransaction

from custody.chains.errors import NodeError
from custody.chains.solana_history import PAGE, HistoryNode
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from custody.watchtower import chain as towers
from custody.watchtower import nodes
from custody.watchtower.nodes import Node
from custody.watchtower.outflows import LyingNodeError, signer_place
from tests.devnet_wallet import SOL
from tests.factories import HOT_ADDRESS
from tests.tower_rig import AUDIT, TowerRig, only, passing, stranger, until

FAR = 2**62


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


def flipped(result: Any) -> Any:
    raw = bytearray(base64.b64decode(result["transaction"][0]))
    raw[-1] ^= 1
    return result | {"transaction": [base64.b64encode(raw).decode(), "base64"]}


def disowned(result: Any) -> str:
    """Return the transaction with a stranger in the wallet's place, under the same id."""
    raw = bytearray(base64.b64decode(result["transaction"][0]))
    raw[69:101] = bytes(stranger())  # 1 + 64 bytes of signature, 3 of header, 1 of length
    return base64.b64encode(raw).decode()


def suspects_of(rig: TowerRig) -> list[str]:
    return [name for (name,) in rig.database.rows("SELECT transaction_id FROM suspects")]


@contextmanager
def soon_told() -> Iterator[None]:
    """What a slow machine lets a node be late with, before and after, is no alarm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(towers, "TELL_SECONDS", 0.3)
        yield


@pytest.mark.parametrize("lie", ["altered", "disowned", "another", "none", "no transaction"])
async def test_a_lying_node_pauses_and_proves_nothing(rig: TowerRig, lie: str) -> None:
    other = base64.b64encode(bytes(rig.sign(rig.wallet.pay(stranger())))).decode()
    told = {
        "altered": flipped,
        "another": lambda result: result | {"transaction": [other, "base64"]},
        "disowned": lambda result: result | {"transaction": [disowned(result), "base64"]},
        "none": lambda _: None,
        "no transaction": lambda result: result | {"transaction": ["AAAA", "base64"]},
    }
    async with rig.running():
        await rig.well()
        rig.between.alter = only("getTransaction", told[lie])
        stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
        await until(lambda: re.match("node [^ ]+: ", rig.tower.problem(AUDIT)) is not None)
        with soon_told():
            await until(rig.kinds)
        assert rig.kinds() == ["NODE"]
        assert suspects_of(rig) == []
        rig.between.alter = None  # honest again: nothing was missed
        await until(lambda: suspects_of(rig) == [stolen])


async def test_what_is_asked_once_leaves_no_problem_behind(rig: TowerRig) -> None:
    """Nobody may ask again, and a node that answers all the rest would never count again."""
    async with rig.running() as tower:
        await rig.well()
        rig.between.alter = only("getMultipleAccounts", lambda _: {"no": "answer"})
        with pytest.raises(NodeError):
            await tower.nonce_values(rig.policy, AUDIT)
        assert tower.problem(AUDIT) == ""


async def test_one_of_two_nodes_can_hide_nothing(two: TowerRig) -> None:
    async with two.running():
        await two.well()
        two.between.alter = only("getSignaturesForAddress", lambda _: [])
        stolen = two.send(two.sign(two.wallet.pay(stranger())))
        await until(lambda: suspects_of(two) == [stolen])


async def test_final_needs_both_nodes(two: TowerRig) -> None:
    def unsure(result: Any) -> Any:
        value = [item and item | {"confirmationStatus": "confirmed"} for item in result["value"]]
        return result | {"value": value}

    async with two.running():
        await two.well()
        two.between.alter = only("getSignatureStatuses", unsure)
        name = two.lawful(two.wallet.pay(stranger()))
        await until(lambda: two.state(name) == "SEEN")
        two.ledger.advance(6)
        await asked_often(two, "getSignatureStatuses")
        assert two.state(name) == "SEEN"
        two.between.alter = None
        await until(lambda: two.state(name) == "FINAL")


async def test_death_needs_both_nodes(two: TowerRig) -> None:
    def known(result: Any) -> Any:
        told = {"slot": 1, "err": None, "confirmationStatus": "finalized"}
        return result | {"value": [told for _ in result["value"]]}

    wallet, account = two.wallet, two.open_nonce()
    value = wallet.nonce(account)
    killed = two.sign(wallet.advance(account), wallet.pay(stranger()), blockhash=value)
    name = str(killed.signatures[0])
    two.give(two.receipt(killed, nonce_account=str(account), nonce_value=bytes(value).hex()))
    async with two.running():
        await two.well()
        held = "SELECT held FROM signed WHERE transaction_id = ?"
        await until(lambda: two.database.rows(held, name)[0][0] > 0)
        two.between.alter = only("getSignatureStatuses", known)
        two.lawful(wallet.advance(account), blockhash=value)
        await asked_often(two, "getSignatureStatuses")
        assert two.state(name) == "SENT"
        two.between.alter = None
        await until(lambda: two.state(name) == "DEAD")


async def test_a_far_slot_of_one_node_keeps_nobody_alive(two: TowerRig) -> None:
    """It was noted, and what is killed ended only once the chain had come so far."""
    wallet, account = two.wallet, two.open_nonce()
    value = wallet.nonce(account)
    killed = two.sign(wallet.advance(account), wallet.pay(stranger()), blockhash=value)
    blockhash = two.receipt(two.sign(wallet.pay(stranger())), intent="")
    names = [str(killed.signatures[0]), blockhash.transaction_id]
    nonce = {"nonce_account": str(account), "nonce_value": bytes(value).hex()}

    def lie(asked: dict[str, Any], told: Any) -> Any:
        match asked["method"]:
            case "getBlockHeight":
                return FAR
            case "getMultipleAccounts":
                return told | {"context": {"slot": FAR}}
            case _:
                return told

    two.between.alter = lie
    two.give(two.receipt(killed, **nonce), blockhash)
    async with two.running():
        await asked_often(two, "getMultipleAccounts")
        two.between.alter = None
        await two.well()
        held = "SELECT held, height FROM signed WHERE transaction_id = ?"
        await until(lambda: min(two.database.rows(held, names[0])[0]) > 0)
        two.lawful(wallet.advance(account), blockhash=value, intent="", **nonce)
        two.ledger.advance(350)
        await until(lambda: {two.state(name) for name in names} == {"DEAD"})


async def test_a_node_that_forgets_history_does_not_make_dead(rig: TowerRig) -> None:
    """Nobody knows if the value was the account's, so that only all history tells."""
    receipt = rig.receipt(rig.sign(rig.wallet.pay(stranger())), intent="")
    name = receipt.transaction_id
    rig.give(receipt)
    async with rig.running():
        await rig.well()
        rig.between.alter = only("getFirstAvailableBlock", lambda _: 7)
        height = "SELECT height FROM signed WHERE transaction_id = ?"
        await until(lambda: rig.database.rows(height, name)[0][0] > 0)
        rig.ledger.advance(350)
        await asked_often(rig, "getFirstAvailableBlock")
        assert rig.state(name) == "SENT"
        rig.between.alter = None
        await until(lambda: rig.state(name) == "DEAD")


async def test_our_own_advance_makes_dead_whatever_is_forgotten(rig: TowerRig) -> None:
    wallet, account = rig.wallet, rig.open_nonce()
    value = wallet.nonce(account)
    nonce = {"nonce_account": str(account), "nonce_value": bytes(value).hex()}
    killed = rig.sign(wallet.advance(account), wallet.pay(stranger()), blockhash=value)
    name = str(killed.signatures[0])
    rig.give(rig.receipt(killed, **nonce))
    async with rig.running():
        await rig.well()
        rig.between.alter = only("getFirstAvailableBlock", lambda _: 7)
        held = "SELECT held FROM signed WHERE transaction_id = ?"
        await until(lambda: rig.database.rows(held, name)[0][0] > 0)
        rig.lawful(wallet.advance(account), blockhash=value, intent="", **nonce)
        await until(lambda: rig.state(name) == "DEAD")


async def asked_often(rig: TowerRig, method: str) -> None:
    def count() -> int:
        return sum(asked["method"] == method for asked in rig.between.asked)

    before = count()
    await until(lambda: count() >= before + 4)


async def test_a_node_that_is_away_pauses_until_it_is_back(two: TowerRig) -> None:
    async with two.running():
        await two.well()
        two.between.away = True
        await until(lambda: "unreachable" in two.tower.problem(AUDIT))
        with soon_told():
            await until(two.kinds)
        name = two.lawful(two.wallet.pay(stranger()))
        await until(lambda: two.state(name) == "SEEN")  # by the other one
        two.between.away = False
        await two.well()
        await until(lambda: two.state(name) == "FINAL")
        await two.well()
        assert [node.problem for node in two.tower.nodes()] == ["", ""]
        assert two.kinds() == ["NODE"]


async def test_a_node_that_comes_and_goes_is_told_once(
    rig: TowerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time would be an alarm every few seconds: nobody looks at them any more."""
    monkeypatch.setattr(towers, "TELL_SECONDS", 0.0)
    async with rig.running():
        for _ in range(3):
            await rig.well()
            rig.between.away = True
            await until(lambda: rig.tower._since)
            rig.between.away = False
            await until(lambda: not rig.tower._since)
        assert rig.kinds() == ["NODE"]
        monkeypatch.setattr(towers, "QUIET_SECONDS", 0.0)
        rig.between.away = True
        await until(lambda: len(rig.alarms) > 1)


async def test_a_node_that_does_not_know_the_cursor_is_not_read_twice(rig: TowerRig) -> None:
    def forgetful(asked: dict[str, Any], result: Any) -> Any:
        if asked["method"] != "getSignaturesForAddress":
            return result
        address, options = asked["params"]
        return rig.call(asked["method"], [address, options | {"until": "1" * 64}])

    for _ in range(3):
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), SOL])
    async with rig.running():
        await rig.well()
        await rig.seen()
        rig.ledger.advance(2)
        name = rig.lawful(rig.wallet.pay(stranger()))
        await rig.seen()
        rig.between.alter, rig.between.asked[:] = forgetful, []
        stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
        await until(lambda: suspects_of(rig) == [stolen])
        shown = [asked for asked in rig.between.asked if asked["method"] == "getTransaction"]
        assert [asked["params"][0] for asked in shown] == [stolen]
        assert rig.state(name) in {"SEEN", "FINAL"}


async def test_what_a_node_threw_away_before_it_was_looked_at_is_not_taken_for_empty(
    rig: TowerRig,
) -> None:
    async with rig.running():
        await rig.well()
        rig.ledger.advance(100)
    rig.open()
    rig.between.alter = only("getSlot", lambda _: 1)  # a lie of one look
    async with rig.running():
        await until(lambda: any(f.looks for w in rig.tower._watches.values() for f in w.followers))
    query = "SELECT slot FROM looked"
    with closing(sqlite3.connect(rig.path / "tower.sqlite3")) as file:
        assert file.execute(query).fetchone()[0] > 1
    rig.open()
    stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
    rig.ledger.advance(1_000)
    first = rig.call("getSlot", [{"commitment": "finalized"}])

    def prune(asked: dict[str, Any], result: Any) -> Any:
        match asked["method"]:
            case "getFirstAvailableBlock":
                return first
            case "getSignaturesForAddress":
                return [item for item in result if item["slot"] >= first]
            case _:
                return result

    rig.between.alter = prune
    async with rig.running():
        await until(lambda: f"nothing before slot {first}" in rig.tower.problem(AUDIT))
        now = rig.send(rig.sign(rig.wallet.pay(stranger())))
        await until(lambda: suspects_of(rig) == [now])  # it pauses, and is not blind
        assert f"nothing before slot {first}" in rig.tower.problem(AUDIT)
        rig.between.alter = None  # another one is asked, which keeps it
        await until(lambda: {*suspects_of(rig)} == {stolen, now})


async def test_long_memos_do_not_blind_it(rig: TowerRig) -> None:
    """Anybody can pay little with long memos, so that no answer of a whole page can be read."""

    def padded(result: Any) -> Any:
        return [item | {"memo": "\x01" * 1_000} for item in result]

    names = [rig.lawful(rig.wallet.pay(stranger(), 1_000_000 + n)) for n in range(PAGE)]
    stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
    rig.ledger.advance(2)
    rig.between.alter = only("getSignaturesForAddress", padded)
    async with rig.running():
        await until(lambda: suspects_of(rig) == [stolen])
        await until(lambda: rig.state(names[0]) == "FINAL")


async def test_a_node_of_another_network_does_not_count(rig: TowerRig) -> None:
    async with rig.running():
        await rig.well()
    with Chain(None) as foreign, serve(foreign) as url, passing(foreign):
        rig.urls = [url]
        rig.open()
        async with rig.running():
            await until(lambda: "another network" in rig.tower.problem(AUDIT))


def test_bytes_behind_a_transaction_are_a_lie(rig: TowerRig) -> None:
    tx = rig.sign(rig.wallet.pay(stranger()))
    name = str(tx.signatures[0])
    assert signer_place(bytes(tx), name, HOT_ADDRESS) == 0
    assert signer_place(bytes(tx), name, str(stranger())) is None
    for raw in (bytes(tx) + b"\0", bytes(tx)[:-1], b""):
        with pytest.raises(LyingNodeError):
            signer_place(raw, name, HOT_ADDRESS)
    unsigned = VersionedTransaction.populate(tx.message, [tx.signatures[0], tx.signatures[0]])
    with pytest.raises(LyingNodeError):
        signer_place(bytes(unsigned), name, HOT_ADDRESS)
    rig.database.close()


class Clocks:
    def __init__(self) -> None:
        self.steady, self.wall = 100.0, 1_800_000_000_000


@pytest.fixture
async def still() -> AsyncIterator[tuple[Node, Clocks, dict[str, Any]]]:
    """A node whose slot and block time the test says, and the clocks it is compared with."""
    clocks, says = Clocks(), {"slot": 7, "seconds": 1_800_000_000}

    class Fixed(HistoryNode):
        async def genesis_hash(self) -> str:
            return "a" * 32

        async def slot(self, commitment: str = "finalized") -> int:
            if says["slot"] is None:
                raise NodeError("no answer")
            return int(says["slot"])

        async def block_time(self, commitment: str = "finalized") -> datetime:
            return datetime.fromtimestamp(says["seconds"], UTC)

    node = Node("n", Fixed("http://n"), lambda: clocks.wall, lambda: clocks.steady)
    yield node, clocks, says
    await node.ask.close()


async def test_a_node_that_stands_still_does_not_count(
    still: tuple[Node, Clocks, dict[str, Any]],
) -> None:
    node, clocks, says = still
    assert "has not answered" in node.problem()
    await node.check()
    clocks.steady += nodes.STILL_SECONDS_MAX
    assert node.problem() == ""
    clocks.steady += 0.1
    assert "stands at slot 7" in node.problem()
    says["slot"] = 6  # going back is not going on
    await node.check()
    assert node.problem()
    says["slot"] = 8
    await node.check()
    assert node.problem() == ""


async def test_a_node_that_is_behind_does_not_count(
    still: tuple[Node, Clocks, dict[str, Any]],
) -> None:
    node, clocks, says = still
    clocks.wall += 30_000
    await node.check()
    assert node.problem() == ""
    says["slot"] = 8
    clocks.wall += 1_000
    await node.check()
    assert "31 s old" in node.problem()
    says["slot"] = None
    with pytest.raises(NodeError):
        await node.check()
    assert "no answer" in node.problem()
