"""Receipts: many in one signature, each to be checked on its own.

The audit key signs size and root of a Merkle tree (RFC 6962, section 2.1, SHA-256) over the
receipts of one frame. A receipt travels with its place in the tree and its path, as canonical
JSON: the receipt's exact text, `index`, `size`, `path` (hashes in hex, lowest first) and
`signature` (hex).
"""

import hashlib
from collections.abc import Callable, Collection, Sequence

from policies import canonical
from policies.fields import decimal, digest, text_like
from policies.statements import Batch, Receipt, Signed, decode, encode, verify

RECEIPT_BYTES_MAX = 16 * 1024
_SIZE_MAX = 2**20
_signature = text_like(r"[0-9a-f]{128}", "64 bytes, 128 lower-case hex digits")
_FIELDS = frozenset({"receipt", "index", "size", "path", "signature"})


class ReceiptError(ValueError):
    """The bytes are no receipt of this signer; the message says why."""


def make_receipts(
    audit_key: str, receipts: Sequence[Receipt], sign: Callable[[bytes], bytes]
) -> list[bytes]:
    """Return each receipt as it travels; `sign` is called once, for all of them."""
    if not receipts:
        return []
    statements = [encode(receipt) for receipt in receipts]
    levels = [[_leaf(statement) for statement in statements]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = [_node(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)]
        levels.append(pairs + below[len(pairs) * 2 :])
    root = levels[-1][0].hex()
    signature = sign(encode(Batch(key=audit_key, size=len(statements), root=root)))
    return [
        _travelling(statement, index, levels, signature)
        for index, statement in enumerate(statements)
    ]


def open_receipt(audit_keys: Collection[str], data: bytes) -> Receipt:
    """Return the receipt when one of these audit keys signed it; ReceiptError otherwise."""
    try:
        statement, index, size, path, signature = _parse(data)
        receipt = decode(Receipt, statement)
    except ValueError as error:
        raise ReceiptError(f"is no receipt: {error}") from error
    if receipt.key not in audit_keys:
        raise ReceiptError("is another signer's: its audit key is not known")
    root = _root(_leaf(statement), index, size, path)
    batch = encode(Batch(key=receipt.key, size=size, root=root.hex()))
    if not verify(receipt.key, Signed(batch, signature)):
        raise ReceiptError("the audit key's signature does not match")
    return receipt


def statement_of(data: bytes) -> bytes:
    """Return the exact bytes of the receipt statement, unverified; ReceiptError when malformed."""
    try:
        return _parse(data)[0]
    except ValueError as error:
        raise ReceiptError(f"is no receipt: {error}") from error


def _travelling(
    statement: bytes, index: int, levels: Sequence[Sequence[bytes]], signature: bytes
) -> bytes:
    path: list[canonical.Value] = []
    at = index
    for level in levels[:-1]:
        if (sibling := at ^ 1) < len(level):
            path.append(level[sibling].hex())
        at //= 2
    return canonical.encode(
        {
            "receipt": statement.decode(),
            "index": str(index),
            "size": str(len(levels[0])),
            "path": path,
            "signature": signature.hex(),
        }
    )


def _parse(data: bytes) -> tuple[bytes, int, int, list[bytes], bytes]:
    value = canonical.decode(data, RECEIPT_BYTES_MAX)
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise ValueError("it has other fields")
    path, text = value["path"], value["receipt"]
    if not isinstance(path, list) or not isinstance(text, str):
        raise ValueError("a field is of another form")
    index, size = decimal(value["index"], _SIZE_MAX), decimal(value["size"], _SIZE_MAX)
    hashes = [bytes.fromhex(digest(item)) for item in path]
    return text.encode(), index, size, hashes, bytes.fromhex(_signature(value["signature"]))


def _root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.3.2: the root that this leaf and path lead to."""
    if not index < size:
        raise ReceiptError("its place is outside the tree")
    node, last, rest = leaf, size - 1, list(path)
    while last:
        if index & 1 or index < last:
            if not rest:
                raise ReceiptError("its path is too short")
            sibling = rest.pop(0)
            node = _node(sibling, node) if index & 1 else _node(node, sibling)
        index, last = index >> 1, last >> 1
    if rest:
        raise ReceiptError("its path is too long")
    return node


def _leaf(statement: bytes) -> bytes:
    return hashlib.sha256(b"\0" + statement).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
