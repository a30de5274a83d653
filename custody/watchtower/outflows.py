"""Whether a transaction that a node shows is the wallet's own doing. Pure: bytes in, verdict out.

Every signature of a transaction on a chain is valid. One that is not, or bytes under another id,
prove only that the node lies.
"""

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from solders.message import Message, MessageV0, MessageV1, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import SanitizeError, VersionedTransaction


class LyingNodeError(Exception):
    """What the node shows cannot be on the chain; the message says why."""


def signer_place(transaction: bytes, transaction_id: str, address: str) -> int | None:
    """Return at which place the wallet at `address` signed it, None if it did not.

    Raises LyingNodeError for bytes that are not the transaction of that id.
    """
    tx = _decoded(transaction)
    if str(tx.signatures[0]) != transaction_id:
        raise LyingNodeError(f"it shows another transaction than {transaction_id}")
    if not all(tx.verify_with_results()):
        raise LyingNodeError(f"a signature of {transaction_id} does not verify")
    wallet, message = Pubkey.from_string(address), tx.message
    signers = message.account_keys[: message.header.num_required_signatures]
    if wallet not in signers:
        return None
    place = signers.index(wallet)
    try:
        signed = bytes(to_bytes_versioned(message))
        VerifyKey(bytes(wallet)).verify(signed, bytes(tx.signatures[place]))
    except CryptoError:
        raise LyingNodeError(f"the wallet's signature of {transaction_id} is none") from None
    return place


def _decoded(transaction: bytes) -> VersionedTransaction:
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
