"""Transactions and messages as bytes: what the devnet takes, refused with words otherwise.

solders drops trailing bytes silently, so what does not encode to the same bytes again is refused.
"""

from solders.message import Message, MessageV0, from_bytes_versioned, to_bytes_versioned
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

# The payload of one packet (Agave: PACKET_DATA_SIZE); a real node takes no longer transaction.
MAX_BYTES = 1232

Body = Message | MessageV0


class WireError(ValueError):
    """Not a transaction or message of this chain; the text says why."""


def decode(raw: bytes) -> VersionedTransaction:
    if len(raw) > MAX_BYTES:
        raise WireError(f"transaction too large: {len(raw)} bytes (max: {MAX_BYTES})")
    try:
        tx = VersionedTransaction.from_bytes(raw)
        tx.sanitize()
    except (ValueError, SanitizeError) as error:
        raise WireError(f"failed to deserialize transaction: {error}") from error
    if bytes(tx) != raw:
        raise WireError("failed to deserialize transaction: bytes after its end")
    body(tx)
    return tx


def decode_message(raw: bytes) -> Body:
    try:
        message = from_bytes_versioned(raw)
    except ValueError as error:
        raise WireError(f"failed to deserialize message: {error}") from error
    if bytes(to_bytes_versioned(message)) != raw:
        raise WireError("failed to deserialize message: bytes after its end")
    signatures = [Signature.default()] * message.header.num_required_signatures
    return body(decode(bytes(VersionedTransaction.populate(message, signatures))))


def body(tx: VersionedTransaction) -> Body:
    """The message, of a kind that this chain runs: legacy, or version 0 without lookup tables."""
    message = tx.message
    if not isinstance(message, Message | MessageV0):
        raise WireError("the devnet takes legacy and version 0 transactions, no later version")
    if isinstance(message, MessageV0) and message.address_table_lookups:
        raise WireError(
            "the devnet has no address lookup tables: name every account in the message"
        )
    return message
