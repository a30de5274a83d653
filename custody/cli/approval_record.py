"""What an officer sees before deciding: only what this machine verified."""

from collections.abc import Iterator, Sequence

from custody.cli.output import amount_words, clipped, print_record, quoted, spoken, utc
from custody.cli.trust import Asked, Decision, Verified
from policies.policy import DestinationClass, Policy

_PLACE = {
    DestinationClass.ADDRESS_BOOK: "to the address book",
    DestinationClass.OWN_WALLET: "to our own wallets",
    DestinationClass.ATTESTED: "to destinations that a service attests",
    DestinationClass.ANY: "to any destination",
}

_REASON_MAX = 72  # why a decision is INVALID can quote whoever sent it


def print_verified(verified: Verified, policy: Policy) -> None:
    """Print a withdrawal to decide on, its address and digest whole and on lines of their own."""
    print_record(verified_rows(verified, policy))


def verified_rows(verified: Verified, policy: Policy) -> Sequence[tuple[str, str]]:
    """Return a withdrawal to decide on as labelled values."""
    intent = verified.intent
    amount = amount_words(policy, str(intent.amount), intent.asset)
    return (
        ("requester", f"{intent.requester}, its signature verified here"),
        ("request id", intent.request_id),
        ("wallet", intent.wallet),
        ("network", intent.network),
        ("asset", intent.asset),
        ("amount", amount),
        ("in base units", f"{intent.amount:,}"),
        ("to", intent.destination.address),
        ("memo", quoted(intent.destination.memo, "(no memo)")),
        ("created", utc(intent.created)),
        ("expires", utc(intent.expires)),
        *(row for asked in verified.asked for row in _asked_rows(asked, policy, intent.asset)),
        *(("decision", _decision_words(item)) for item in verified.decisions),
        ("digest", verified.digest),
        ("in words", spoken(verified.digest)),
    )


def _asked_rows(asked: Asked, policy: Policy, asset: str) -> Iterator[tuple[str, str]]:
    reach = amount_words(policy, str(asked.up_to), asset)
    place = _PLACE[asked.destination]
    yield "rule", f"{asked.rule} ({place}, up to {reach}) asks {_all(asked.asks)}"
    yield "still needs", _all(asked.missing)


def _all(asks: tuple[str, ...]) -> str:
    return " and ".join(asks) or "nobody"


def _decision_words(item: Decision) -> str:
    if item.approval is None:
        return f"{item.state}: {clipped(item.words, _REASON_MAX)}"
    return f"{item.state}: {item.words}, until {utc(item.approval.expires)}"
