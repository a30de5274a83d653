"""ListWithdrawals' filters: what a request chooses, and the mark that its page tokens carry."""

from collections.abc import Callable
from dataclasses import dataclass

from custody.domain.states import State, Waiting
from kura.custody.v1 import custody_pb2 as wire
from policies import fields
from policies.codes import Code, Refusal

WAITING = frozenset({*Waiting, "APPROVALS"})
_WALLET = "wallets/"


@dataclass(frozen=True, slots=True)
class Chosen:
    """`states`: one of them, none for all; `equal`: columns, "" for any; `tag`: "" without any."""

    states: tuple[str, ...]
    equal: dict[str, str]
    tag: str


def chosen(request: wire.ListWithdrawalsRequest, requester: str) -> Chosen | Refusal:
    """Return what a request asks for; `requester` sees its own only, "" all."""
    states = tuple(sorted({_state(number) for number in request.states}))
    wallet = request.wallet.removeprefix(_WALLET)
    if not {*states} <= set(State):
        return _wrong("states", f"must be states that there are: {', '.join(State)}")
    if request.wallet and (wallet == request.wallet or not _fits(fields.name, wallet)):
        return _wrong("wallet", f"must be {_WALLET} and a name of the policy")
    if request.waiting_for not in WAITING:
        return _wrong("waiting_for", f"must be one of {', '.join(sorted(WAITING - {''}))}")
    if request.request_id and not _fits(fields.request_id, request.request_id):
        return _wrong("request_id", "is none that a withdrawal can have")
    if request.requester and not _fits(fields.name, request.requester):
        return _wrong("requester", "must be a name of the policy")
    if requester and request.requester not in {"", requester}:
        return _wrong("requester", f"{requester} sees its own withdrawals only")
    equal = {
        "requester": request.requester,
        "request_id": request.request_id,
        "wallet": wallet,
        "waiting_for": request.waiting_for,
    }
    tag = repr((states, equal)) if states or any(equal.values()) else ""
    return Chosen(states, {**equal, "requester": requester or request.requester}, tag)


def _state(number: int) -> str:
    if number not in wire.WithdrawalState.values():
        return ""
    return wire.WithdrawalState.Name(number).removeprefix("WITHDRAWAL_STATE_")


def _fits(parse: Callable[[object], str], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _wrong(field: str, words: str) -> Refusal:
    return Refusal(Code.ARGUMENT_INVALID, words, field=field)
