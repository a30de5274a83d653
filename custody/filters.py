"""The filters of lists: what a request chooses, and the mark that its page tokens carry."""

from collections.abc import Callable
from dataclasses import dataclass

from custody.domain.look_alikes import ends
from custody.domain.states import State, Waiting
from kura.custody.v1 import custody_pb2 as wire
from policies import fields
from policies.codes import Code, Refusal

WAITING = frozenset({*Waiting, "APPROVALS"})
LOOK_ALIKES_MAX = 1_000
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


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """`ends`: as custody.domain.look_alikes makes them, none for all; `tag`: "" without any."""

    network: str
    ends: tuple[str, ...]
    tag: str


def look_alikes(request: wire.ListBookEntriesRequest) -> LookAlikes | Refusal:
    """Return which entries of the address book a request asks for."""
    if len(request.look_alike_of) > LOOK_ALIKES_MAX:
        return _wrong("look_alike_of", f"must be at most {LOOK_ALIKES_MAX} addresses")
    if not all(_fits(fields.address, address) for address in request.look_alike_of):
        return _wrong("look_alike_of", "must be addresses")
    network = request.network
    if bool(network) != bool(request.look_alike_of) or (
        network and not _fits(fields.network, network)
    ):
        return _wrong("network", "must be that of look_alike_of, and go with them")
    asked = tuple(sorted({ends(address) for address in request.look_alike_of}))
    return LookAlikes(network, asked, repr((network, asked)) if asked else "")


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
