"""An end without its own receipt is never shown, whatever else custody shows beside it."""

from collections.abc import Callable
from typing import Any

import pytest

from custody.certified import UncertifiedError, require_all_certified, require_certified
from custody.domain.states import State
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from tests.factories import key, make_intent, make_receipt, public, sign, travelling
from tests.memory_custody import ended, shown

INTENT = make_intent()
SIGNED = sign(key("exchange"), INTENT)
KEYS = {"hot-sol": {public("audit")}}
ENDS = [state for state in State if state.ended]


def number(state: State) -> Any:
    return wire.WithdrawalState.Value(f"WITHDRAWAL_STATE_{state}")


def at_end(state: State = State.CANCELLED) -> wire.Withdrawal:
    made = shown(SIGNED)
    ended(made, number(state))
    return made


@pytest.mark.parametrize("state", ENDS)
def test_an_end_with_its_receipt_is_shown(state: State) -> None:
    require_certified(at_end(state), KEYS)


@pytest.mark.parametrize("state", ENDS)
def test_an_end_without_a_receipt_is_not(state: State) -> None:
    made = at_end(state)
    made.receipt = b""
    with pytest.raises(UncertifiedError, match=r"RECEIPT_INVALID.*refund nothing"):
        require_certified(made, KEYS)


@pytest.mark.parametrize("state", [state for state in State if not state.ended])
def test_what_has_not_ended_needs_none(state: State) -> None:
    require_certified(shown(SIGNED, state=number(state)), {})


OTHERS: dict[str, Callable[[], bytes]] = {
    "of another intent": lambda: travelling(
        make_receipt(make_intent(amount=INTENT.amount + 1), outcome="ended")
    )[0],
    "of another request": lambda: _receipt(request_id="w-2"),
    "of another requester": lambda: _receipt(requester="partner"),
    "of a signature": lambda: _receipt(outcome="signed"),
    "of a refusal": lambda: _receipt(outcome="refused", code="NO_RULE"),
    "of another signer": lambda: travelling(
        make_receipt(INTENT, outcome="ended", key=public("mallory")), signer="mallory"
    )[0],
    "in another's name": lambda: travelling(
        make_receipt(INTENT, outcome="ended"), signer="mallory"
    )[0],
    "no receipt": lambda: b"{}",
    "cut off": lambda: _receipt()[:-1],
}


def _receipt(**changes: Any) -> bytes:
    return travelling(make_receipt(INTENT, **{"outcome": "ended"} | changes))[0]


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_receipt_is_none(other: Callable[[], bytes]) -> None:
    made = at_end()
    made.receipt = other()
    with pytest.raises(UncertifiedError):
        require_certified(made, KEYS)


@pytest.mark.parametrize("code", [Code.REQUEST_ID_REUSED, Code.REQUESTER_UNKNOWN])
def test_an_end_beside_which_another_intent_may_be_paid_is_shown_as_nothing_else(
    code: Code,
) -> None:
    """Who takes this for a cancelled order pays the customer twice."""
    for state in ENDS:
        made = at_end(state)
        made.receipt = _receipt(code=code)
        for shown_code in ("", Code.NO_RULE, code):
            made.refusal.code = shown_code
            if (state, shown_code) == (State.BLOCKED, code):
                require_certified(made, KEYS)
                continue
            with pytest.raises(UncertifiedError):
                require_certified(made, KEYS)


def test_a_tombstone_is_no_payment_and_a_payment_names_its_transaction() -> None:
    paid = at_end(State.COMPLETED)
    for name in ("", "2" * 64):
        paid.transaction_id = name
        with pytest.raises(UncertifiedError):
            require_certified(paid, KEYS)
    paid.transaction_id, paid.receipt = "1" * 64, _receipt()
    with pytest.raises(UncertifiedError, match="outcome"):
        require_certified(paid, KEYS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "withdrawals/" + "ab" * 32),
        ("requester", "partner"),
        ("request_id", "w-2"),
        ("wallet", "wallets/hot-two"),
        ("asset", "EURC"),
        ("amount", "900000000"),
    ],
)
def test_what_is_shown_beside_the_intent_is_what_it_says(field: str, value: str) -> None:
    made = at_end()
    setattr(made, field, value)
    with pytest.raises(UncertifiedError, match=field):
        require_certified(made, KEYS)


def test_each_wallet_has_a_signer_of_its_own() -> None:
    for keys in ({}, {"cold-sol": {public("audit")}}, {"hot-sol": {public("audit of cold-sol")}}):
        with pytest.raises(UncertifiedError):
            require_certified(at_end(), keys)


def test_an_intent_that_is_none_is_not_shown_as_ended() -> None:
    made = at_end()
    made.intent.statement = b"{}"
    with pytest.raises(UncertifiedError, match="intent"):
        require_certified(made, KEYS)


def test_every_withdrawal_of_an_answer_is_looked_at() -> None:
    bare = at_end()
    bare.receipt = b""
    for answer in (bare, [at_end(), bare], ([at_end(), bare], "token")):
        with pytest.raises(UncertifiedError):
            require_all_certified(answer, (), KEYS)
    require_all_certified([at_end(), at_end()], (), KEYS)


def test_anothers_end_does_not_answer_for_the_one_that_was_asked_for() -> None:
    asked = "withdrawals/" + "ab" * 32
    for answer in (at_end(), [at_end()]):
        with pytest.raises(UncertifiedError, match=asked):
            require_all_certified(answer, [asked], KEYS)


def test_an_event_that_tells_an_end_comes_with_a_withdrawal_at_it() -> None:
    event = wire.WatchWithdrawalsResponse(
        state=number(State.CANCELLED), withdrawal=shown(SIGNED, state=number(State.ENDING))
    )
    with pytest.raises(UncertifiedError, match="CANCELLED"):
        require_all_certified(event, (), KEYS)
    event.withdrawal.CopyFrom(at_end())
    require_all_certified(event, (), KEYS)
