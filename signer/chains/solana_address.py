"""Solana's text forms (base58) and the destinations that nobody can hold a key for.

Invariants: standard library only; an address is accepted only in the one spelling that its 32 bytes
encode to; judging a destination needs no look at the chain. What only the chain knows (any other
program, mint or token account) custody asks a node; the signer's answer stands without it.
"""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
_SHORTEST, _LONGEST = 32, 44  # characters: 32 bytes of zero, 32 bytes of 0xff
# Native programs, sysvars, the incinerator and the mint of wrapped SOL are words padded with ones,
# future ones too; of the addresses of real key pairs one in 10^12 has eight ones in a row.
_RUNTIME_PADDING = "1" * 8
_NOT_A_WALLET = {
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "the token program",
    "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb": "the Token-2022 program",
    "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL": "the associated token account program",
    "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr": "the memo program",
    "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo": "the first memo program",
    "metaqbxxUerdq28cj1RbAWkYQm3ybzjb6a8bt518x1s": "the token metadata program",
    "9pan9bMn5HatX4EJdBwg9VgCa7Uz5HL8N1m5D3NdXejP": "the mint of wrapped SOL under Token-2022",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v": "the mint of USDC",
    "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU": "the mint of USDC on devnet",
    "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB": "the mint of USDT",
    "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo": "the mint of PYUSD",
    "mSoLzYCxHdYgdzU16g5QSh3i5K3z3KZK7ytfqcJm7So": "the mint of mSOL",
    "J1toso1uCk3RLmjorhTtrVwY9HJ7X8V9yYac6Y7kGCPn": "the mint of JitoSOL",
}


def decode_address(text: str) -> bytes:
    """The 32 bytes of a base58 address; ValueError unless `text` is their one spelling."""
    if not _SHORTEST <= len(text) <= _LONGEST:
        raise ValueError(f"a Solana address has 32 to 44 characters, this one has {len(text)}")
    number = 0
    for character in text:
        if character not in _DIGITS:
            raise ValueError(f"{character!r} does not occur in base58: copy the address again")
        number = number * 58 + _DIGITS[character]
    raw = number.to_bytes(33, "big")[1:]  # 44 characters can exceed 32 bytes
    if _base58(raw) != text:
        raise ValueError("the address does not stand for exactly 32 bytes: copy it again")
    return raw


def encode_address(raw: bytes) -> str:
    """Base58 of an account's key (32 bytes)."""
    if len(raw) != 32:  # noqa: PLR2004 (the length of every key on Solana)
        raise ValueError(f"an account's key has 32 bytes, not {len(raw)}")
    return _base58(raw)


def transaction_id(signature: bytes) -> str:
    """The name of a transaction on the chain: base58 of its first signature (64 bytes)."""
    if len(signature) != 64:  # noqa: PLR2004 (RFC 8032, section 5.1.6)
        raise ValueError(f"a signature has 64 bytes, not {len(signature)}")
    return _base58(signature)


def refuse_destination(address: str, source: str) -> str | None:
    """Words if `address` can never be paid from the wallet `source`, else None."""
    try:
        decode_address(address)
    except ValueError as error:
        return f"the destination is no address: {error}"
    if address == source:
        return "the destination is the paying wallet itself"
    if _RUNTIME_PADDING in address:
        return "the destination belongs to the Solana runtime (program, sysvar, incinerator, mint)"
    if address in _NOT_A_WALLET:
        return f"the destination is {_NOT_A_WALLET[address]}, not a wallet"
    return None


def _base58(raw: bytes) -> str:
    """Each leading zero byte is one "1"; the rest is the number in base 58, highest first."""
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + digits
