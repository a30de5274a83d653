"""A digest as words that two people can compare by voice: six of BIP-39, 66 bits."""

from functools import cache

from mnemonic import Mnemonic

WORDS = 6


def digest_words(digest: str) -> tuple[str, ...]:
    """Return the first six English words of a hex SHA-256 digest; 11 bits each, in its order."""
    sentence: str = _english().to_mnemonic(bytes.fromhex(digest))
    return tuple(sentence.split()[:WORDS])


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")
