"""What can be asked of custody: each RPC as a value, for a client that waits and one that awaits.

An `Ask` is a method's name, its request, and the part of the response that is the answer.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from custody.domain.states import State
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import Signed, digest

PAGE_SIZE, PAGES_MAX = 200, 10_000
BOOK_PAGE_SIZE = 1_000
BATCH_MAX = 1_000
ATTEMPT_SECONDS, BATCH_SECONDS = 10.0, 60.0
T = TypeVar("T")


# What people ask about: whoever requested it.
_ANYBODYS: Mapping[str, Collection[Any]] = MappingProxyType({"requester": ()})


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One call. `seconds`: how long one attempt may take; `names`: of the withdrawals asked for.

    `of`: what each withdrawal of the answer may have in these fields, nothing for anything.
    """

    method: str
    request: Any
    answer: Callable[[Any], T]
    seconds: float = ATTEMPT_SECONDS
    names: Sequence[str] = ()
    of: Mapping[str, Collection[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A list. `request` takes page_size and page_token; `items` is the response's field.

    Without `items` the responses themselves are what is listed.
    """

    method: str
    request: Callable[..., Any]
    items: str = ""
    size: int = PAGE_SIZE
    of: Mapping[str, Collection[Any]] = field(default_factory=dict)

    def page(self, token: str) -> Ask[tuple[list[T], str]]:
        """Return the call for one page: its items and the next page's token, "" at the end."""
        request = self.request(page_size=self.size, page_token=token)
        answer = attrgetter(self.items, "next_page_token") if self.items else _alone
        return Ask(self.method, request, answer, of=self.of)


def submit(intent: Signed) -> Ask[wire.Withdrawal]:
    """Ask for a withdrawal."""
    request = wire.CreateWithdrawalRequest(intent=_statement(intent))
    return _withdrawal("CreateWithdrawal", request, _name(intent))


Result: TypeAlias = wire.Withdrawal | Refusal


def submit_batch(intents: Sequence[Signed]) -> Ask[list[Result]]:
    """Ask for many withdrawals; ValueError when there are none or too many."""
    if not 0 < len(intents) <= BATCH_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_MAX} intents, not {len(intents)}")
    items = [wire.CreateWithdrawalRequest(intent=_statement(intent)) for intent in intents]
    request = wire.BatchCreateWithdrawalsRequest(requests=items)
    names = [_name(intent) for intent in intents]
    return Ask(
        "BatchCreateWithdrawals", request, partial(_results, len(items)), BATCH_SECONDS, names
    )


def get_withdrawal(name: str) -> Ask[wire.Withdrawal]:
    """Ask for `withdrawals/{digest}`."""
    return _withdrawal("GetWithdrawal", wire.GetWithdrawalRequest(name=name), name)


def list_withdrawals(
    states: Collection[State] = (),
    wallet: str = "",
    waiting_for: str = "",
    request_id: str = "",
    requester: str = "",
) -> Pages[wire.Withdrawal]:
    """Ask for withdrawals; every filter that is given must fit."""
    place = f"wallets/{wallet.removeprefix('wallets/')}" if wallet else ""
    request = partial(
        wire.ListWithdrawalsRequest,
        states=[f"WITHDRAWAL_STATE_{state}" for state in states],
        wallet=place,
        waiting_for=waiting_for,
        request_id=request_id,
        requester=requester,
    )
    asked = {"wallet": place, "request_id": request_id, "requester": requester}
    of: dict[str, Collection[Any]] = {name: [value] for name, value in asked.items() if value}
    of["state"] = [wire.WithdrawalState.Value(f"WITHDRAWAL_STATE_{state}") for state in states]
    return Pages("ListWithdrawals", request, "withdrawals", of=of)


def watch_withdrawals(cursor: str, *, skip_past: bool) -> wire.WatchWithdrawalsRequest:
    """Return the request for every change after `cursor`."""
    return wire.WatchWithdrawalsRequest(cursor=cursor, skip_past=skip_past and not cursor)


def send_cancel(name: str, cancel: Signed) -> Ask[wire.Withdrawal]:
    """Ask to take a withdrawal back."""
    request = wire.CancelWithdrawalRequest(name=name, cancel=_statement(cancel))
    return _withdrawal("CancelWithdrawal", request, name)


def kill_withdrawal(name: str) -> Ask[wire.Withdrawal]:
    """Ask to use up the nonce of a signed withdrawal."""
    return _withdrawal("KillWithdrawal", wire.KillWithdrawalRequest(name=name), name, _ANYBODYS)


def send_approval(name: str, approval: Signed) -> Ask[wire.Withdrawal]:
    """Hand over an officer's decision."""
    request = wire.CreateApprovalRequest(parent=name, approval=_statement(approval))
    return _withdrawal("CreateApproval", request, name, _ANYBODYS)


def list_pending_approvals() -> Pages[wire.Withdrawal]:
    """Ask for what waits for officers."""
    request = wire.ListPendingApprovalsRequest
    return Pages("ListPendingApprovals", request, "withdrawals", of=_ANYBODYS)


def get_wallet(name: str) -> Ask[wire.Wallet]:
    """Ask for `wallets/{wallet}`."""
    return Ask("GetWallet", wire.GetWalletRequest(name=name), attrgetter("wallet"))


def list_wallets() -> Pages[wire.Wallet]:
    """Ask for the policy's wallets."""
    return Pages("ListWallets", wire.ListWalletsRequest, "wallets")


def list_balances() -> Pages[wire.Balance]:
    """Ask for custody's books."""
    return Pages("ListBalances", wire.ListBalancesRequest, "balances")


def get_policy() -> Ask[wire.GetPolicyResponse]:
    """Ask what is in force."""
    return Ask("GetPolicy", wire.GetPolicyRequest(), _whole)


def create_policy_version(policy: bytes, changes: Sequence[Signed]) -> Ask[wire.PolicyVersion]:
    """Hand over a policy version."""
    signed = [_statement(change) for change in changes]
    request = wire.CreatePolicyVersionRequest(policy=policy, changes=signed)
    return Ask("CreatePolicyVersion", request, attrgetter("policy_version"))


def get_policy_version(name: str) -> Ask[wire.PolicyVersion]:
    """Ask for `policyVersions/{digest}`."""
    request = wire.GetPolicyVersionRequest(name=name)
    return Ask("GetPolicyVersion", request, attrgetter("policy_version"))


def list_policy_versions() -> Pages[wire.PolicyVersion]:
    """Ask for the policy versions."""
    return Pages("ListPolicyVersions", wire.ListPolicyVersionsRequest, "policy_versions")


def create_veto(name: str, veto: Signed) -> Ask[wire.Veto]:
    """Hand over an officer's veto."""
    request = wire.CreateVetoRequest(parent=name, veto=_statement(veto))
    return Ask("CreateVeto", request, attrgetter("veto"))


def create_freeze(freeze: Signed) -> Ask[wire.Freeze]:
    """Hand over an officer's freeze."""
    request = wire.CreateFreezeRequest(freeze=_statement(freeze))
    return Ask("CreateFreeze", request, attrgetter("freeze"))


def lift_freezes(orders: Sequence[Signed]) -> Ask[wire.LiftFreezesResponse]:
    """Hand over what a quorum lifts."""
    request = wire.LiftFreezesRequest(orders=map(_statement, orders))
    return Ask("LiftFreezes", request, _whole)


def list_freezes() -> Ask[wire.ListFreezesResponse]:
    """Ask what is frozen."""
    return Ask("ListFreezes", wire.ListFreezesRequest(), _whole)


def create_book_version(
    book: bytes, changes: Sequence[Signed]
) -> Ask[wire.CreateBookVersionResponse]:
    """Hand over an address-book version."""
    signed = [_statement(change) for change in changes]
    request = wire.CreateBookVersionRequest(book=book, changes=signed)
    return Ask("CreateBookVersion", request, _whole)


def list_book_entries(
    network: str, look_alike_of: Sequence[str]
) -> Pages[wire.ListBookEntriesResponse]:
    """Ask for entries of the address book, page by page."""
    request = partial(wire.ListBookEntriesRequest, network=network, look_alike_of=look_alike_of)
    return Pages("ListBookEntries", request, size=BOOK_PAGE_SIZE)


def get_status() -> Ask[wire.GetStatusResponse]:
    """Ask how custody is doing."""
    return Ask("GetStatus", wire.GetStatusRequest(), _whole)


def list_audit_events(after: int) -> Pages[wire.AuditEvent]:
    """Ask for the audit log."""
    return Pages("ListAuditEvents", partial(wire.ListAuditEventsRequest, after=after), "events")


def _withdrawal(
    method: str, request: Any, name: str, of: Mapping[str, Collection[Any]] = MappingProxyType({})
) -> Ask[wire.Withdrawal]:
    return Ask(method, request, attrgetter("withdrawal"), names=(name,), of=of)


def _name(intent: Signed) -> str:
    return f"withdrawals/{digest(intent.statement)}"


def _alone(response: Any) -> tuple[list[Any], str]:
    return [response], response.next_page_token


def _whole(response: Any) -> Any:
    return response


def _results(asked: int, response: wire.BatchCreateWithdrawalsResponse) -> list[Result]:
    if len(response.results) != asked:
        raise ValueError(f"{asked} intents got {len(response.results)} answers: not custody")
    return [_result(item) for item in response.results]


def _result(item: wire.CreateWithdrawalResult) -> Result:
    if item.HasField("withdrawal"):
        return item.withdrawal
    said = item.refusal
    code = Code(said.code) if said.code in set(Code) else Code.FAULT
    message = said.message if code == said.code else f"{said.code}: {said.message}"
    return Refusal(code, message, said.rule, said.field)


def _statement(signed: Signed) -> wire.SignedStatement:
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)
