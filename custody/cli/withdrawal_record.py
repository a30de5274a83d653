"""One withdrawal on the screen: what was asked, as it was signed, and what came of it."""

from collections.abc import Iterator

from custody.cli.output import amount_words, print_record, quoted, utc
from custody.cli.trust import read_intent
from custody.client import State, state_of
from kura.custody.v1 import custody_pb2 as wire
from policies.policy import Policy


def print_withdrawal(asked: str, shown: wire.Withdrawal, policy: Policy) -> None:
    """Print the withdrawal called `asked`; UntrustedError when its signed bytes say otherwise."""
    intent = read_intent(asked, shown)
    amount = amount_words(policy, str(intent.amount), intent.asset)
    print_record(
        (
            ("name", shown.name),
            ("state", state_words(shown)),
            ("requester", intent.requester),
            ("request id", intent.request_id),
            ("wallet", f"{intent.wallet} on {intent.network}"),
            ("amount", f"{amount} = {intent.amount} base units"),
            ("to", intent.destination.address),
            ("memo", quoted(intent.destination.memo, "(no memo)")),
            ("created", utc(intent.created)),
            ("expires", utc(intent.expires)),
            *_outcome(shown, policy),
        )
    )


def state_words(shown: wire.Withdrawal) -> str:
    """Return the state that custody says, in words when it is one of a newer custody."""
    return known_state(shown) or f"a state that this version does not know ({shown.state})"


def known_state(shown: wire.Withdrawal) -> State | None:
    """Return the state that custody says, None for one that this version does not know."""
    try:
        return state_of(shown)
    except ValueError:
        return None


def _outcome(shown: wire.Withdrawal, policy: Policy) -> Iterator[tuple[str, str]]:
    if known_state(shown) is State.ENDING and shown.waiting_for != "OPERATOR":  # that has no end
        yield "not ended", "it may still turn out paid: pay nothing back before its end"
    if shown.waiting_for:
        yield "waits for", shown.waiting_for
    if shown.HasField("earliest_time"):
        label = "waits since" if shown.waiting_for == "APPROVALS" else "tried again"
        yield label, utc(shown.earliest_time.ToMilliseconds())
    if shown.approvals_missing:
        yield "still needs", " and ".join(shown.approvals_missing)
    if shown.transaction_id:
        yield "transaction", shown.transaction_id
    if shown.fee:
        yield "fee", amount_words(policy, shown.fee, shown.asset)
    if shown.HasField("refusal"):
        yield "refused by", f"{shown.refusal.by}: {shown.refusal.code}"
        yield "because", shown.refusal.message
        yield "next", shown.refusal.next
