"""What the signer's receipts must say before anybody keeps them or relies on them. Pure."""

from collections.abc import Collection, Mapping

from policies.receipts import ReceiptError, open_receipt
from policies.statements import Intent, Receipt

ENDED, SIGNED = "ended", "signed"


def require(  # noqa: PLR0913 - what a receipt is about
    receipt: bytes | None,
    audit_keys: Collection[str],
    outcome: str,
    intent: Intent,
    *,
    digest: str,
    transaction_id: str = "",
) -> Receipt:
    """Return the receipt of this intent with this outcome; ReceiptError says what it is instead.

    `digest` is the intent's; `transaction_id` of what was signed, "" for any.
    """
    if not receipt:
        raise ReceiptError("there is none")
    said = open_receipt(audit_keys, receipt)
    expected = {
        "outcome": outcome,
        "requester": intent.requester,
        "request_id": intent.request_id,
        "intent": digest,
        "transaction_id": transaction_id or said.transaction_id,
    }
    return _same(said, expected)


def require_upkeep(
    receipt: bytes | None, audit_keys: Collection[str], wallet: str, transaction_id: str
) -> Receipt:
    """Return the receipt of this transaction, which no intent asked for; ReceiptError otherwise."""
    if not receipt:
        raise ReceiptError("there is none")
    said = open_receipt(audit_keys, receipt)
    expected = {
        "outcome": SIGNED,
        "wallet": wallet,
        "intent": "",
        "transaction_id": transaction_id,
    }
    return _same(said, expected)


def _same(said: Receipt, expected: Mapping[str, str]) -> Receipt:
    for field, value in expected.items():
        if getattr(said, field) != value:
            words = f"its {field} is {getattr(said, field) or 'none'}, not {value or 'none'}"
            raise ReceiptError(words)
    return said
