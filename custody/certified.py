"""An end is the signer's word, not custody's: its receipt is checked before anybody sees the end.

Whoever has taken custody over can show CANCELLED and still have the intent signed: only a tombstone
of the wallet's own signer makes a refund safe. Pure.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from custody.domain import receipts
from custody.domain.states import State
from kura.custody.v1 import custody_pb2 as wire
from policies.advice import NEXT
from policies.codes import Code
from policies.receipts import ReceiptError
from policies.statements import Intent, StatementError, decode, digest

AuditKeys = Mapping[str, Collection[str]]  # by wallet


class UncertifiedError(Exception):
    """Custody shows an end without its receipt, or not what was asked for: refund nothing."""

    code = Code.RECEIPT_INVALID

    def __init__(self, shown: wire.Withdrawal, state: State | None, reason: str) -> None:
        words = f"{self.code}: custody shows {shown.name[:128]} as {state or 'new'}, but {reason}"
        super().__init__(f"{words}; next: {NEXT[self.code]}")


def require_certified(shown: wire.Withdrawal, audit_keys: AuditKeys) -> None:
    """Raise UncertifiedError for an end without the receipt of the wallet's signer for it."""
    state = _state(shown.state)
    if state is None or not state.ended:
        return
    try:
        _require_receipt(shown, audit_keys, paid=state is State.COMPLETED)
    except StatementError as error:
        raise UncertifiedError(shown, state, f"its intent is none: {error}") from error
    except ReceiptError as error:
        raise UncertifiedError(shown, state, f"the signer's receipt: {error}") from error


def require_all_certified(
    answer: Any,
    names: Sequence[str],
    audit_keys: AuditKeys,
    of: Mapping[str, Collection[Any]] = MappingProxyType({}),
) -> None:
    """Do the same for every withdrawal in an answer; `names`: those that were asked for, if any.

    `of`: what each may have in these fields, nothing for anything. Whatever its state: who waits
    for the end of what was shown for another order pays the wrong one back.
    """
    for shown in _withdrawals(answer):
        require_certified(shown, audit_keys)
        _require_asked(shown, of)
    answers = answer if isinstance(answer, list) else [answer]
    for name, shown in zip(names, answers, strict=bool(names)):
        if isinstance(shown, wire.Withdrawal) and shown.name != name:
            raise UncertifiedError(shown, _state(shown.state), f"it was asked for {name}")
    if isinstance(answer, wire.WatchWithdrawalsResponse):
        told = _state(answer.state)
        if told and told.ended and answer.state != answer.withdrawal.state:
            reason = "the withdrawal beside it is in another state, and an end is for ever"
            raise UncertifiedError(answer.withdrawal, told, reason)


def _require_asked(shown: wire.Withdrawal, of: Mapping[str, Collection[Any]]) -> None:
    state = _state(shown.state)
    try:
        _require_same(shown, decode(Intent, shown.intent.statement))
    except (StatementError, ReceiptError) as error:
        raise UncertifiedError(shown, state, f"its intent: {error}") from error
    for field, asked in of.items():
        if asked and (said := getattr(shown, field)) not in asked:
            raise UncertifiedError(shown, state, f"{field} {said} is not what was asked for")


def _require_receipt(shown: wire.Withdrawal, audit_keys: AuditKeys, *, paid: bool) -> None:
    intent = decode(Intent, shown.intent.statement)
    _require_same(shown, intent)
    keys = audit_keys.get(intent.wallet, ())
    if not keys:
        words = f"cannot be checked: no audit key of {intent.wallet} is pinned"
        words += ": people pin policy_digest in their settings, a backend [audit_keys]"
        raise ReceiptError(words)
    if paid and not shown.transaction_id:
        raise ReceiptError("is of no transaction that custody shows")
    said = receipts.require(
        shown.receipt,
        keys,
        receipts.SIGNED if paid else receipts.ENDED,
        intent,
        digest=digest(shown.intent.statement),
        transaction_id=shown.transaction_id if paid else "",
    )
    blocked = _state(shown.state) is State.BLOCKED and shown.refusal.code == said.code
    if said.code and not blocked:
        words = "says that another intent with its request_id may be paid"
        raise ReceiptError(f"{words}: {said.code}")


def _withdrawals(answer: Any) -> Iterator[wire.Withdrawal]:
    match answer:
        case wire.Withdrawal():
            yield answer
        case wire.WatchWithdrawalsResponse() if answer.HasField("withdrawal"):
            yield answer.withdrawal
        case [*items] | ([*items], str()):
            for item in items:
                yield from _withdrawals(item)


def _state(number: int) -> State | None:
    """Return the state, None for one of a newer custody, which nobody takes for an end here."""
    name = wire.WithdrawalState.DESCRIPTOR.values_by_number.get(number)
    text = name.name.removeprefix("WITHDRAWAL_STATE_") if name else ""
    return State(text) if text in set(State) else None


def _require_same(shown: wire.Withdrawal, intent: Intent) -> None:
    """A receipt is of the intent's bytes: what is shown beside them must be what they say."""
    pairs = {
        "name": (shown.name, f"withdrawals/{digest(shown.intent.statement)}"),
        "requester": (shown.requester, intent.requester),
        "request_id": (shown.request_id, intent.request_id),
        "wallet": (shown.wallet, f"wallets/{intent.wallet}"),
        "asset": (shown.asset, intent.asset),
        "amount": (shown.amount, str(intent.amount)),
    }
    for field, (said, signed) in pairs.items():
        if said != signed:
            raise ReceiptError(f"is of another {field}: {signed}, not {said[:128]}")
