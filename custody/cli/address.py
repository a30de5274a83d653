"""What an address must look like on its network, so that a slip is told before anybody signs.

Pure. The signer judges by itself when it pays; this is for the people who write the address book.
"""

_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BYTES = 32


def refuse_address(network: str, address: str) -> str | None:
    """Return why `address` cannot be one of `network`; None when it can, or nobody here knows."""
    if network.partition(":")[0] != "solana":
        return None
    if strange := sorted(set(address) - set(_DIGITS)):
        return f"{strange[0]!r} does not occur in a Solana address: copy it again"
    number = 0
    for character in address:
        number = number * len(_DIGITS) + _DIGITS.index(character)
    zeros = len(address) - len(address.lstrip(_DIGITS[0]))
    if zeros + (number.bit_length() + 7) // 8 != _BYTES:
        return "a Solana address stands for exactly 32 bytes, this does not: copy it again"
    return None
