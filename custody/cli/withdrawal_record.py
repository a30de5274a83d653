"""One withdrawal on the screen: what was asked, as it was signed, and what came of it."""

from collections.abc import Iterator

from custody.cli.output import amount_words, print_record, quoted, utc
from custody.cli.trust import read_intent
from custody.client import State, state_of
from kura.custody.v1 import custody_pb2 as wire
from policies.policy import Policy

_NOT_ENDED = "it may still turn out paid: pay nothing back before its end"
_WAITS = {
    "APPROVALS": "for officers to decide",
    "FUNDS": "for the wallet to hold enough",
    "WINDOW": "for room in the policy's windows",
    "HOURS": "for its rule's hours",
    "COOLING": "for its destination to cool",
    "DELAY": "for its tier's delay",
    "NONCE": "for one of the wallet's nonces",
    "RECALL": "for earlier transactions to become final",
    "POLICY": "for its wallet to be enabled",
    "LEASE": "for the watchtower's word: custody watchtower status",
    "FROZEN": "for a quorum to lift the freeze: custody freeze list",
    "NODE": "for the chain node",
    "SIGNER": "for the signer",
    "OPERATOR": "for people: custody status says why",
}


def print_withdrawal(asked: str, shown: wire.Withdrawal, policy: Policy) -> None:
    """Print the withdrawal called `asked`; UntrustedError when its signed bytes say otherwise.

    An end has to be certified: see custody.cli.session.
    """
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


def heading_words(shown: wire.Withdrawal) -> str:
    """Return the state, and of one that has not ended yet what it heads for."""
    words = state_words(shown)
    if known_state(shown) is not State.ENDING:
        return words
    end = wire.WithdrawalState.DESCRIPTOR.values_by_number.get(shown.ending)
    heads = f", heading for {end.name.removeprefix('WITHDRAWAL_STATE_')}" if end else ""
    return f"{words}{heads}: {_NOT_ENDED}"


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
        yield "not ended", _NOT_ENDED
    if (state := known_state(shown)) and state.ended:
        yield "receipt", "checked: it is of the wallet's own signer, for this end"
    if shown.waiting_for:
        words = _WAITS.get(shown.waiting_for)
        yield "waits for", f"{shown.waiting_for}, {words}" if words else shown.waiting_for
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
