"""A theft on a real devnet, answered by the real signer with a real token."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from custody.chains.solana_history import HistoryNode
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from custody.watchtower import freezes, signers, suspects
from custody.watchtower import theft as theft_module
from custody.watchtower.follow import PAUSE_SECONDS
from custody.watchtower.parts import Link
from custody.watchtower.suspects import Verdict
from custody.watchtower.theft import Responder
from kura.signer.v1 import signer_pb2 as wire
from policies.freezes import WATCHTOWER
from policies.receipts import open_receipt
from policies.statements import Destination, Theft, decode
from signer.chains.solana import nonce_address
from tests.devnet_wallet import SOL
from tests.factories import (
    COLD_ADDRESS,
    CUSTOMER,
    HOUR,
    make_hello,
    make_intent,
    make_unfreeze,
    policy_file,
)
from tests.integration.guard.orders import unfreeze_job
from tests.integration.guard.versions import QUORUM
from tests.signing import STATUS, SignerRig, nonce_open, transfer
from tests.softhsm import SoftHsm
from tests.tower_rig import (
    AUDIT,
    JOURNAL,
    SECONDS_MAX,
    Signer,
    TowerRig,
    only,
    passing,
    stranger,
    until,
)

COLD = Pubkey.from_string(COLD_ADDRESS)
FEE = SOL // 100  # the policy's sweep fee
LAWFUL = 0.02  # seconds between two


class Rig(TowerRig):
    """With a signer, which can be away."""

    def __init__(
        self, softhsm: SoftHsm, path: Path, ledger: Chain, urls: list[str], **policy: object
    ) -> None:
        super().__init__(path, ledger, urls, **policy)
        self.host = SignerRig(softhsm, path / "journal", policy_file(**policy))
        self.connect()

    def connect(self) -> None:
        self.signer.answers = lambda theft: self.host.ask_unleased(wire.Job(alarm_sweep=theft))
        self.signer.others = self.host.ask_unleased

    def lift(self) -> None:
        """Let the signer say that its freezes were lifted."""
        with self.database.transaction() as db:
            db.execute("UPDATE signer SET epoch = 'e1'")
            freezes.compare(db, AUDIT, "e1", ())

    def swept(self) -> bool:
        """Tell whether the wallet is empty for good."""
        return bool(self.frozen()) and self.wallet.balance(commitment="confirmed") < 2 * FEE

    def frozen(self) -> list[str]:
        return [freeze.person for freeze in self.host.ask_unleased(STATUS).status.freezes]

    def status_is_confirmed(self, name: str) -> bool:
        status = self.wallet.status(name)
        return bool(status) and status["confirmationStatus"] != "processed"

    def verdict(self, name: str) -> str:
        query = "SELECT state FROM suspects WHERE transaction_id = ?"
        rows = self.database.rows(query, name)
        return str(rows[0][0]) if rows else ""

    def steal(self, lamports: int) -> str:
        return self.send(self.sign(self.wallet.pay(stranger(), lamports)))


def responder(rig: Rig) -> Responder:
    return next(iter(rig.tower._watches.values())).responder


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> dict[str, object]:
    return dict(getattr(request, "param", {}))


@pytest.fixture
def rig(tmp_path: Path, softhsm: SoftHsm, policy: dict[str, object]) -> Iterator[Rig]:
    with Chain(None) as ledger, serve(ledger) as url, passing(ledger):
        made = Rig(softhsm, tmp_path, ledger, [url], **policy)
        yield made
        made.host.stop()


@pytest.fixture
def two(tmp_path: Path, softhsm: SoftHsm) -> Iterator[Rig]:
    with Chain(None) as ledger, serve(ledger) as url, serve(ledger) as other, passing(ledger):
        made = Rig(softhsm, tmp_path, ledger, [url, other])
        yield made
        made.host.stop()


async def test_what_is_left_is_in_the_cold_wallet_within_two_seconds(rig: Rig) -> None:
    """Seconds are counted in looks, so that a machine that stands still is not blamed on it."""
    async with rig.running():
        await rig.well()
        stop = asyncio.create_task(lawful_withdrawals(rig))
        stolen = rig.steal(40 * SOL)
        await until(lambda: rig.status_is_confirmed(stolen))
        shown = rig.looks()
        await until(rig.frozen)
        assert (rig.looks() - shown) * PAUSE_SECONDS <= 1
        await until(lambda: rig.wallet.balance(COLD) > 0)
        assert (rig.looks() - shown) * PAUSE_SECONDS <= 2
        stop.cancel()
        await until(rig.swept)
        assert rig.frozen() == ["watchtower"]
        assert rig.kinds() == ["THEFT"]
        (alarm,) = rig.alarms
        assert (alarm.transaction_id, alarm.wallet) == (stolen, "hot-sol")
        assert alarm.amount == 40 * SOL + 5_000
        await until(lambda: rig.tower.problem(AUDIT) == "")  # leases go on, under freeze
        await rig.seen()
        rig.lift()
        await until(lambda: rig.verdict(stolen) == Verdict.SWEPT)


async def test_a_theft_is_told_before_it_is_settled(rig: Rig) -> None:
    """Killed in between, a watchtower that had settled it first would never tell anybody."""
    found, alarm = list[tuple[str, str]](), rig.parts.alarm

    def telling(kind: str, *words: str, transaction_id: str = "", **more: Any) -> None:
        found.append((kind, rig.verdict(transaction_id)))
        alarm(kind, *words, transaction_id=transaction_id, **more)

    rig.parts.alarm = telling
    open_pool(rig)
    lawful = withdraw(rig)
    async with rig.running():
        await until(lambda: rig.verdict(lawful) == Verdict.LAWFUL)
        rig.steal(SOL)
        await until(rig.swept)
        assert found == [("RECEIPT", Verdict.UNDECIDED), ("THEFT", Verdict.UNDECIDED)]


async def test_a_theft_right_after_a_lift_is_swept_to_the_end(rig: Rig) -> None:
    """The watchtower hears a moment later that the epoch is another."""
    async with rig.running():
        await rig.well()
        stolen = rig.steal(SOL)
        await until(rig.swept)
        rig.parts.links[AUDIT].hello = SimpleNamespace(epoch="e1")  # type: ignore[assignment]
        with rig.database.transaction() as db:
            freezes.compare(db, AUDIT, "e1", rig.host.ask_unleased(STATUS).status.freezes)
        rig.ledger.advance(160)
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), 10 * SOL])
        await until(lambda: rig.wallet.balance(COLD) > 108 * SOL)
        assert rig.verdict(stolen) == Verdict.THEFT


async def test_what_is_paid_in_is_swept_until_the_freeze_is_lifted(rig: Rig) -> None:
    async with rig.running():
        await rig.well()
        stolen = rig.steal(SOL)
        await until(rig.swept)
        rig.ledger.advance(160)  # until nothing signed so far can land
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), 10 * SOL])
        await until(lambda: rig.wallet.balance(COLD) > 108 * SOL)
        await until(rig.swept)
    rig.open()  # over a restart too, and a lift of meanwhile is no theft again
    rig.lift()
    async with rig.running():
        await until(lambda: rig.verdict(stolen) == Verdict.SWEPT)
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), 10 * SOL])
        asked = len(rig.signer.asked)
        await rig.seen()
        assert len(rig.signer.asked) == asked
        assert rig.kinds() == ["THEFT"]


async def test_a_lift_while_the_node_is_asked_is_not_undone(rig: Rig) -> None:
    """The signer, asked once more after it took the lift, would freeze for the same theft."""

    def lifted(result: Any) -> Any:
        rig.lift()
        return result

    async with rig.running():
        await rig.well()
        stolen = rig.steal(SOL)
        await until(rig.swept)
        asked = len(rig.signer.asked)
        rig.between.alter = only("getLatestBlockhash", lifted)
        rig.ledger.advance(160)  # until nothing signed so far can land
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), 10 * SOL])
        await until(lambda: rig.verdict(stolen) == Verdict.SWEPT)
        assert len(rig.signer.asked) == asked


async def test_a_lift_that_only_the_signer_knows_of_is_not_undone(rig: Rig) -> None:
    """It came through custody: the theft is claimed in the epoch before, which is over."""
    async with rig.running():
        await rig.well()
        rig.steal(SOL)
        await until(rig.swept)
        (freeze,) = rig.host.ask_unleased(STATUS).status.freezes
        orders = [make_unfreeze(p, freeze.digest, expires=rig.host.now + HOUR) for p in QUORUM]
        assert rig.host.ask_unleased(unfreeze_job(*orders)).HasField("applied")
        rig.ledger.advance(160)  # until nothing signed so far can land
        saved, asked = rig.wallet.balance(COLD), len(rig.signer.asked)
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), 10 * SOL])
        await until(lambda: len(rig.signer.asked) > asked + 1)
        assert rig.frozen() == []
        assert rig.wallet.balance(COLD) == saved
        assert rig.kinds() == ["THEFT"]
        rig.steal(SOL)  # a new one is claimed in the signer's epoch
        await until(rig.swept)


@pytest.mark.parametrize("how", ["seen", "stored", "another"])
async def test_an_answer_that_a_relay_kept_back_over_a_lift_sweeps_nothing(
    rig: Rig, how: str
) -> None:
    """What came in after the lift went to the cold wallet, and the others were frozen anew.

    A lift of another freeze leaves the theft's, and the sweep goes on.
    """
    theft = wire.Freeze(digest="ab" * 32, wallet="*", person=WATCHTOWER)

    def meanwhile(job: wire.Job) -> wire.Result:
        result = rig.host.ask_unleased(job)
        if job.HasField("status"):
            rig.signer.others = rig.host.ask_unleased
            with rig.database.transaction() as db:
                if how == "stored":
                    db.execute("DELETE FROM freeze")
                else:
                    db.execute("UPDATE signer SET epoch = 'e1'")
                    freezes.compare(db, AUDIT, "e1", [theft] if how == "another" else [])
        return result

    async with rig.running():
        await rig.well()
        with rig.database.transaction() as db:
            signers.note(db, make_hello(rig.policy, key=AUDIT, journal=JOURNAL, epoch=""))
            if how == "stored":
                freezes.compare(db, AUDIT, "", [theft])
        rig.signer.others = meanwhile
        stolen = rig.steal(SOL)
        if how == "another":
            await until(rig.swept)
            return
        await until(lambda: rig.verdict(stolen) == Verdict.SWEPT)
        assert not freezes.is_theft_proven(rig.parts, AUDIT)
        await rig.seen()
        assert len(rig.signer.asked) == 1
        assert rig.wallet.balance(COLD) == 0
        assert rig.kinds() == ["THEFT"]


async def test_once_lifted_no_rung_of_before_takes_what_comes_in(rig: Rig) -> None:
    async with rig.running():
        await rig.well()
        stolen = rig.steal(SOL)
        await until(rig.swept)
        ladder = responder(rig)._ladder
        assert ladder.under_way, "rungs that failed to land could land now"
        rig.lift()
        await until(lambda: rig.verdict(stolen) == Verdict.SWEPT)
        assert responder(rig)._ladder.under_way == []
        assert not [task for task in ladder._sending if not task.cancelling()]


async def test_a_silent_node_delays_nothing(two: Rig) -> None:
    """Whatever waited for its answer would wait for longer than the test."""
    silent = two.tower._nodes.each[0]
    silent.ask = HistoryNode(two.urls[0], timeout=10 * SECONDS_MAX, transport=two.between)
    async with two.running():
        await two.well()
        two.between.silent = True
        responder(two)._asked = 1  # its turn is next
        two.steal(SOL)
        await until(two.frozen)
        await until(lambda: two.wallet.balance(COLD) > 0)


async def test_a_node_that_lies_about_blockhashes_only_costs_time(two: Rig) -> None:
    """Whatever is signed on its word can never land; the other one's turn comes."""

    def lie(asked: dict[str, Any], result: Any) -> Any:
        if asked["method"] == "getLatestBlockhash":
            return result | {"value": result["value"] | {"blockhash": str(stranger())}}
        if asked["method"] == "isBlockhashValid":
            return result | {"value": True}
        return result

    async with two.running():
        await two.well()
        two.between.alter = lie
        responder(two)._asked = 1  # its turn is next
        two.steal(SOL)
        await until(two.frozen)
        assert two.wallet.balance(COLD) == 0
        await until(lambda: two.wallet.balance(COLD) > 98 * SOL)


async def lawful_withdrawals(rig: Rig) -> None:
    number = 0
    while True:
        number += 1
        rig.lawful(rig.wallet.pay(stranger(), 1_000_000 + number))
        await asyncio.sleep(LAWFUL)


async def test_a_withheld_receipt_ends_the_pause_and_is_told(rig: Rig) -> None:
    open_pool(rig)
    name = withdraw(rig)
    async with rig.running():
        await until(lambda: rig.verdict(name) == Verdict.LAWFUL)
        assert rig.kinds() == ["RECEIPT"]
        assert rig.frozen() == []
        await rig.well()
        await until(lambda: rig.state(name) == "FINAL")
        cost = rig.database.rows("SELECT resolved FROM totals")
        assert cost == [(SOL // 2 + 5_000,)]


async def test_a_receipt_that_comes_later_ends_the_pause_without_its_signer(rig: Rig) -> None:
    """One that is offline, as a cold wallet's, or away for good: every other one would wait."""
    open_pool(rig)
    rig.signer.answers = None
    name, receipt = withdrawn(rig)
    async with rig.running():
        await until(lambda: "UNEXPLAINED" in rig.kinds())
        assert rig.verdict(name) == Verdict.UNDECIDED
        rig.give(open_receipt({AUDIT}, receipt))
        await until(lambda: rig.verdict(name) == Verdict.LAWFUL)
        assert rig.kinds() == ["UNEXPLAINED", "RECEIPT"]
        await rig.well()
        await until(lambda: rig.state(name) == "FINAL")


async def test_what_took_the_most_is_asked_about_first_and_each_in_turn(rig: Rig) -> None:
    """Custody sends what it withheld by the hundred, so that a theft is asked about last."""
    refusal = wire.Refusal(code="THEFT_UNPROVEN", message="ask again")
    rig.signer.answers = lambda _: wire.Result(refusal=refusal)
    link = rig.parts.links.pop(AUDIT)
    async with rig.running():
        await rig.well()
        sent = [rig.steal(lamports) for lamports in (3 * SOL, SOL, 20 * SOL, 2 * SOL)]
        await until(lambda: len(suspects.open_suspects(rig.database)) == len(sent))
        rig.parts.links[AUDIT] = link
        await until(lambda: len(rig.signer.asked) >= 2 * len(sent))
    asked = [decode(Theft, job.theft.statement).transaction for job in rig.signer.asked]
    names = [
        str(VersionedTransaction.from_bytes(bytes.fromhex(item)).signatures[0]) for item in asked
    ]
    assert names[:8] == [sent[place] for place in (2, 0, 3, 1)] * 2


async def test_of_two_relays_one_that_answers_nothing_only_costs_time(rig: Rig) -> None:
    """The newer is the signer's link: whoever dialled again and again kept every theft unproven."""
    ports: list[Any] = [rig.signer, Signer()]
    older, newer = (Link(port, audit_key=AUDIT) for port in ports)
    rig.parts.relays = [older, newer]
    rig.parts.links[AUDIT] = newer
    async with rig.running():
        rig.steal(SOL)
        await until(rig.swept)


async def test_no_lease_while_the_signer_cannot_be_asked(rig: Rig) -> None:
    rig.signer.answers = None
    async with rig.running():
        await rig.well()
        stolen = rig.steal(SOL)
        await until(lambda: rig.kinds() == ["UNEXPLAINED"] * len(rig.alarms) and rig.alarms)
        assert stolen in rig.tower.problem(AUDIT)
    rig.open()  # and a restart forgets nothing
    async with rig.running():
        await until(lambda: stolen in rig.tower.problem(AUDIT))
        rig.connect()
        await until(rig.swept)
        assert rig.frozen() == ["watchtower"]
        assert rig.wallet.balance(COLD) > 98 * SOL


async def test_an_emptied_wallet_freezes_all_the_same(rig: Rig) -> None:
    async with rig.running():
        await rig.well()
        stolen = rig.steal(100 * SOL - 5_000)
        await until(lambda: rig.verdict(stolen) == Verdict.THEFT)
        assert rig.frozen() == ["watchtower"]
        await rig.seen()
        assert rig.wallet.balance(COLD) == 0
        assert len(rig.signer.asked) == 1


async def test_a_thief_who_goes_on_gets_less_than_the_cold_wallet(rig: Rig) -> None:
    """The thief takes 30 SOL more between the signer's answer and the sweep."""
    answer = rig.signer.answers
    assert answer is not None

    def race(theft: wire.AlarmSweep) -> wire.Result:
        result = answer(theft)
        if len(rig.signer.asked) == 1:
            rig.steal(30 * SOL)
        return result

    rig.signer.answers = race
    async with rig.running():
        await rig.well()
        rig.steal(SOL)
        await until(lambda: rig.wallet.balance(COLD) > 60 * SOL)
        await until(rig.swept)
        query = "SELECT state FROM suspects"
        await until(lambda: rig.database.rows(query) == [(Verdict.THEFT,)] * 2)


@pytest.mark.parametrize("policy", [{"sweep_count": 1}], indirect=True)
async def test_used_up_sweeps_are_told(rig: Rig) -> None:
    answer = rig.signer.answers
    assert answer is not None

    def race(theft: wire.AlarmSweep) -> wire.Result:
        result = answer(theft)
        if len(rig.signer.asked) == 1:
            rig.steal(30 * SOL)  # so that the one transaction fails
        return result

    rig.signer.answers = race
    async with rig.running():
        await rig.well()
        rig.steal(SOL)
        await until(lambda: any("used up" in alarm.message for alarm in rig.alarms))
        assert rig.wallet.balance(COLD) == 0
        assert rig.frozen() == ["watchtower"]
        query = "SELECT state FROM suspects"
        await until(lambda: rig.database.rows(query) == [(Verdict.THEFT,)] * 2)


async def test_used_up_is_no_last_word(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the relay's, and a policy version may raise the count."""
    monkeypatch.setattr(theft_module, "USED_UP_SECONDS", 0.5)
    answer = rig.signer.answers
    assert answer is not None
    async with rig.running():
        await rig.well()
        rig.steal(SOL)
        await until(rig.swept)
        refusal = wire.Refusal(code="LIMIT_EXCEEDED", message="used up")
        rig.signer.answers = lambda _: wire.Result(refusal=refusal)
        rig.ledger.advance(160)  # until nothing signed so far can land
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), 10 * SOL])
        await until(lambda: any("used up" in alarm.message for alarm in rig.alarms))
        await rig.seen()
        rig.signer.answers = answer
        await until(lambda: rig.wallet.balance(COLD) > 108 * SOL)
        assert rig.kinds() == ["THEFT"] * 2


async def test_a_relay_that_spoils_a_sweep_only_costs_time(rig: Rig) -> None:
    """What no node knows how to look for was looked for until the freeze was lifted."""
    answer, spoilt = rig.signer.answers, 0
    assert answer is not None

    def spoil(theft: wire.AlarmSweep) -> wire.Result:
        nonlocal spoilt
        result = answer(theft)
        if spoilt == 0:
            for signed in result.swept.transactions:
                signed.transaction, signed.transaction_id = b"none", "none"
        spoilt += result.HasField("swept")
        return result

    rig.signer.answers = spoil
    async with rig.running():
        await rig.well()
        rig.steal(SOL)
        await until(rig.frozen)
        await until(lambda: rig.wallet.balance(COLD) > 98 * SOL)
        assert spoilt > 1


async def test_a_receipt_that_no_signer_of_ours_gave_does_not_end_the_pause(rig: Rig) -> None:
    open_pool(rig)
    name = withdraw(rig)
    answer = rig.signer.answers
    assert answer is not None

    def forged(theft: wire.AlarmSweep) -> wire.Result:
        result = answer(theft)
        result.receipt = result.receipt.replace(b'"index"', b'"index" ')
        return result

    rig.signer.answers = forged
    async with rig.running():
        await until(lambda: "UNEXPLAINED" in rig.kinds())
        assert name in rig.tower.problem(AUDIT)
        assert rig.verdict(name) == Verdict.UNDECIDED


def open_pool(rig: Rig) -> None:
    """Have the signer open the first nonce account of its pool, and hand its receipt in."""
    blockhash = bytes(rig.wallet.newest())
    result = rig.host.ask(nonce_open(0, blockhash))
    assert result.WhichOneof("outcome") == "signed", result
    rig.give(open_receipt({AUDIT}, result.receipt))
    rig.send(VersionedTransaction.from_bytes(result.signed.transaction))
    rig.ledger.advance(5)


def withdraw(rig: Rig) -> str:
    """Have the signer sign a transfer and send it, and keep its receipt back."""
    return withdrawn(rig)[0]


def withdrawn(rig: Rig) -> tuple[str, bytes]:
    """Do so; return the transaction's id and the receipt."""
    account = Pubkey.from_bytes(nonce_address(bytes(rig.wallet.address), 0))
    value = bytes(rig.wallet.nonce(account))
    intent = make_intent(destination=Destination(CUSTOMER.address, ""))
    result = rig.host.ask(transfer(intent, nonce_value=value))
    assert result.WhichOneof("outcome") == "signed", result
    name = rig.send(VersionedTransaction.from_bytes(result.signed.transaction))
    return name, result.receipt


@pytest.mark.parametrize(
    "made_up",
    [
        wire.Result(swept=wire.Swept()),
        wire.Result(refusal=wire.Refusal(code="LIMIT_EXCEEDED", message="used up")),
    ],
    ids=["swept", "used up"],
)
async def test_a_relay_that_makes_up_a_theft_proves_none(rig: Rig, made_up: wire.Result) -> None:
    """Custody withholds the receipt of a lawful payment, and the relay says what it likes."""
    open_pool(rig)
    name = withdraw(rig)
    rig.signer.answers = lambda _: made_up
    async with rig.running():
        await until(lambda: "UNEXPLAINED" in rig.kinds())
        assert rig.verdict(name) == Verdict.UNDECIDED
        assert "THEFT" not in rig.kinds()
        rig.connect()
        await until(lambda: rig.verdict(name) == Verdict.LAWFUL)
        assert rig.frozen() == []
