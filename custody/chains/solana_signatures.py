"""Which signatures the chain takes: those that libsodium takes, and from SIMD-0376 on some more.

Its check is 8SB = 8R + 8hA, of any points (ZIP-215). Without the 8, as libsodium checks, an R or a
key with a part of small order fails, which whoever holds the key can make: a theft would look like
a lie of the node. So it would with another signer of small order, for whom anybody signs. The
signer has its own (`signer.chains.solana_theft`), since neither imports the other; it is asked of
its own key alone.
"""

import hashlib

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

_ORDER = 2**252 + 27742317777372353535851937790883648493  # of the base point: RFC 8032, 5.1
_POINT = 32  # bytes
_NEUTRAL = bytes((1, *bytes(31)))


def is_valid(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the chain may take this signature (64 bytes) of a 32-byte key."""
    point, scalar = signature[:_POINT], signature[_POINT:]
    if int.from_bytes(scalar, "little") >= _ORDER:
        return False
    hashed = crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + key + message).digest())
    try:
        # libsodium multiplies neither by 0 nor what is neutral.
        left = crypto_scalarmult_ed25519_base_noclamp(scalar) if any(scalar) else _NEUTRAL
        right = _times_8(key)
        if right != _NEUTRAL:
            right = crypto_scalarmult_ed25519_noclamp(hashed, right)
        return _times_8(left) == crypto_core_ed25519_add(_times_8(point), right)
    except CryptoError:  # no point
        return False


def _times_8(point: bytes) -> bytes:
    for _ in range(3):
        point = crypto_core_ed25519_add(point, point)
    return point
