"""Refund and pay: custody shows an end, the exchange refunds, and custody has the intent signed.

The signer is the real one. Custody is the thief's: what the exchange's client sees is what it
shows, and what the signer hears is what it sends. Lawful ends and payments pass in the same runs.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.client import CustodyClient, State, UncertifiedError
from kura.custody.v1 import custody_pb2
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Intent
from tests.factories import SOL, key, sign
from tests.integration.guard.payments import intend, job_of
from tests.memory_custody import Lie, MemoryCustody, config_file, serve, shown
from tests.signing import SignerRig, enveloped

ENDS = [State.CANCELLED, State.REJECTED, State.EXPIRED, State.BLOCKED, State.FAILED]


class Exchange:
    """Pays a customer back for what has ended, as docs/integration.md says. `refunds`: by id."""

    def __init__(self, client: CustodyClient) -> None:
        self.client = client
        self.refunds: dict[str, int] = {}

    def settle(self, intent: Intent) -> State:
        """Wait for the end of a withdrawal and act on it."""
        name = shown(sign(key("exchange"), intent)).name
        ended = self.client.wait(name, timeout=timedelta(0))
        state = State(
            custody_pb2.WithdrawalState.Name(ended.state).removeprefix("WITHDRAWAL_STATE_")
        )
        if state is not State.COMPLETED:
            self.refunds[intent.request_id] = intent.amount
        return state


@pytest.fixture
def custody(monkeypatch: pytest.MonkeyPatch) -> MemoryCustody:
    return serve(monkeypatch, MemoryCustody())


@pytest.fixture
def exchange(custody: MemoryCustody, tmp_path: Path) -> Iterator[Exchange]:
    with CustodyClient.from_config(config_file(tmp_path, "exchange")) as client:
        yield Exchange(client)


def show(custody: MemoryCustody, intent: Intent, state: State, **more: Any) -> None:
    """Let custody show the withdrawal in this state."""
    made = shown(sign(key("exchange"), intent), state=f"WITHDRAWAL_STATE_{state}")
    custody.withdrawals[made.name] = made
    for field, value in more.items():
        setattr(made, field, value)


def end(intent: Intent) -> wire.Job:
    return wire.Job(end=wire.End(intent=enveloped(intent)))


def lawful(rig: SignerRig, custody: MemoryCustody, exchange: Exchange) -> None:
    """One is paid and one is taken back, as every day."""
    paid, ended = intend(rig), intend(rig)
    result = rig.ask(job_of(rig, paid))
    name = result.signed.transaction_id
    show(custody, paid, State.COMPLETED, receipt=result.receipt, transaction_id=name)
    show(custody, ended, State.CANCELLED, receipt=rig.ask(end(ended)).receipt)
    assert exchange.settle(paid) is State.COMPLETED
    assert exchange.settle(ended) is State.CANCELLED
    assert ended.request_id in exchange.refunds
    assert paid.request_id not in exchange.refunds


@pytest.mark.parametrize("state", ENDS)
def test_what_was_refunded_is_not_signed_although_the_intent_is_valid(
    rig: SignerRig, custody: MemoryCustody, exchange: Exchange, state: State
) -> None:
    large = intend(rig, 20 * SOL)
    show(custody, large, state, receipt=rig.ask(end(large)).receipt)
    assert exchange.settle(large) is state
    assert exchange.refunds == {large.request_id: large.amount}
    job = job_of(rig, large, "alice", "carol")
    assert rig.refused(job) is Code.REQUEST_ENDED
    rig.restart()
    assert rig.refused(job) is Code.REQUEST_ENDED
    lawful(rig, custody, exchange)


@pytest.mark.parametrize("state", ENDS)
def test_an_end_that_the_signer_did_not_swear_is_not_refunded(
    rig: SignerRig, custody: MemoryCustody, exchange: Exchange, state: State
) -> None:
    """Without END nothing hinders the signature: so the client shows no end."""
    intent = intend(rig)
    show(custody, intent, state)
    with pytest.raises(UncertifiedError, match="refund nothing"):
        exchange.settle(intent)
    assert rig.signed(job_of(rig, intent)).transaction
    assert exchange.refunds == {}
    lawful(rig, custody, exchange)


def test_no_other_receipt_of_the_same_signer_will_do(
    rig: SignerRig, custody: MemoryCustody, exchange: Exchange
) -> None:
    intent, other = intend(rig), intend(rig)
    tombstone = rig.ask(end(other)).receipt
    refusal = rig.ask(job_of(rig, intent, unit_price=10**9))
    assert refusal.refusal.code == Code.FEE_EXCEEDED
    paid = rig.ask(job_of(rig, intent))
    assert paid.HasField("signed")
    again = rig.ask(end(intent))  # too late: answered with the signature
    for receipt in (tombstone, refusal.receipt, paid.receipt, again.receipt):
        assert receipt
        show(custody, intent, State.CANCELLED, receipt=receipt)
        with pytest.raises(UncertifiedError):
            exchange.settle(intent)
    assert exchange.refunds == {}
    lawful(rig, custody, exchange)


def test_the_end_of_another_in_its_place_is_not_refunded(
    rig: SignerRig, custody: MemoryCustody, exchange: Exchange
) -> None:
    """Custody answers with a withdrawal that has truly ended, under the name that was asked for."""
    intent, other = intend(rig), intend(rig)
    receipt = rig.ask(end(other)).receipt
    show(custody, other, State.CANCELLED, receipt=receipt)
    (ended,) = custody.withdrawals.values()
    for renamed in (False, True):
        show(custody, intent, State.QUEUED)
        name = shown(sign(key("exchange"), intent)).name
        custody.withdrawals[name].CopyFrom(ended)
        if renamed:
            custody.withdrawals[name].name = name
        with pytest.raises(UncertifiedError):
            exchange.settle(intent)
    assert exchange.refunds == {}
    assert rig.signed(job_of(rig, intent)).transaction
    lawful(rig, custody, exchange)


def test_no_other_withdrawal_is_shown_for_the_one_that_was_asked_for(
    rig: SignerRig, custody: MemoryCustody, exchange: Exchange
) -> None:
    """Before either has ended: who waits by the name that was shown pays the wrong order back."""
    lawful(rig, custody, exchange)
    taken_back, paid = intend(rig), intend(rig)
    show(custody, taken_back, State.QUEUED)
    other = next(reversed(custody.withdrawals.values()))
    signed = sign(key("exchange"), paid)
    lies: list[Lie] = [
        lambda shown: shown.CopyFrom(other),
        lambda shown: setattr(shown, "name", other.name),
    ]
    for custody.lie in lies:
        with pytest.raises(UncertifiedError):
            exchange.client.submit(signed)
    custody.lie = lambda shown: setattr(shown, "request_id", paid.request_id)
    with pytest.raises(UncertifiedError):
        list(exchange.client.list_withdrawals(request_id=paid.request_id))
    custody.lie = lambda _: None
    with pytest.raises(UncertifiedError):
        list(exchange.client.list_withdrawals(request_id=paid.request_id))
    assert exchange.client.submit(signed).request_id == paid.request_id
