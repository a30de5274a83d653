"""Whether a transaction that a node shows is the wallet's own doing. Pure: bytes in, verdict out.

Every signature of a transaction on a chain is valid. One that is not, or bytes under another id,
prove only that the node lies.
"""

from solders.message import Message, MessageV0, MessageV1, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import SanitizeError, VersionedTransaction

from custody.chains.solana_signatures import is_valid

BYTES_MAX = 4096  # of a transaction: version 1, SIMD-0385; the others have 1232


class LyingNodeError(Exception):
    """What the node shows cannot be on the chain; the message says why."""


def signer_place(transaction: bytes, transaction_id: str, address: str) -> int | None:
    """Return at which place the wallet at `address` signed it, None if it did not.

    Raises LyingNodeError for bytes that are not the transaction of that id.
    """
    tx = _decoded(transaction)
    if str(tx.signatures[0]) != transaction_id:
        raise LyingNodeError(f"it shows another transaction than {transaction_id}")
    wallet, message = Pubkey.from_string(address), tx.message
    signers = message.account_keys[: message.header.num_required_signatures]
    signed = bytes(to_bytes_versioned(message))
    for signer, signature in zip(signers, tx.signatures, strict=True):
        if not is_valid(bytes(signer), signed, bytes(signature)):
            raise LyingNodeError(f"a signature of {transaction_id} does not verify")
    return signers.index(wallet) if wallet in signers else None


def _decoded(transaction: bytes) -> VersionedTransaction:
    if len(transaction) > BYTES_MAX:
        raise LyingNodeError(f"it shows {len(transaction)} bytes, longer than any transaction")
    try:
        tx = VersionedTransaction.from_bytes(transaction)
        tx.sanitize()
    except (ValueError, SanitizeError) as error:
        raise LyingNodeError(f"it shows bytes that are no transaction: {error}") from None
    if bytes(tx) != transaction:
        raise LyingNodeError("it shows bytes behind a transaction's end")
    if not isinstance(tx.message, Message | MessageV0 | MessageV1):
        raise LyingNodeError("it shows a transaction of a version that was not asked for")
    return tx
