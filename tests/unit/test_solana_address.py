"""Base58 against Solana's own SDK, and the destinations that nobody owns."""

import random

import pytest
from solders.pubkey import Pubkey
from solders.signature import Signature

from signer.chains import solana_address
from signer.chains.solana_address import (
    decode_address,
    encode_address,
    refuse_destination,
    transaction_id,
)

WALLET = "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM"


def test_addresses_and_ids_equal_the_sdk() -> None:
    rng = random.Random(2018_01_26)
    keys = [rng.randbytes(32) for _ in range(2_000)]
    for raw in [*keys, b"\xff" * 32, *(bytes(n) + rng.randbytes(32 - n) for n in range(33))]:
        text = str(Pubkey(raw))
        assert encode_address(raw) == text
        assert decode_address(text) == raw
        signature = raw + rng.randbytes(32)
        assert transaction_id(signature) == str(Signature(signature))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" * 31,
        "1" * 33,
        "1" + WALLET,
        WALLET[:-1],
        " " + WALLET,
        WALLET.replace("4", "0"),
        WALLET.replace("4", "l"),
        WALLET.replace("4", "٤"),
        "z" * 44,
        "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFH",  # 2^256 in base58: one too large
        "1JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxF",
    ],
)
def test_other_spellings_of_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"copy|characters"):
        decode_address(text)


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("11111111111111111111111111111111", "runtime"),
        ("Vote111111111111111111111111111111111111111", "runtime"),
        ("Stake11111111111111111111111111111111111111", "runtime"),
        ("BPFLoaderUpgradeab1e11111111111111111111111", "runtime"),
        ("ComputeBudget111111111111111111111111111111", "runtime"),
        ("AddressLookupTab1e1111111111111111111111111", "runtime"),
        ("Secp256r1SigVerify1111111111111111111111111", "runtime"),
        ("SysvarC1ock11111111111111111111111111111111", "runtime"),
        ("SysvarRecentB1ockHashes11111111111111111111", "runtime"),
        ("1nc1nerator11111111111111111111111111111111", "runtime"),
        ("So11111111111111111111111111111111111111112", "runtime"),
        ("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "token program"),
        ("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "USDC"),
        ("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", "USDT"),
        (WALLET, "paying wallet itself"),
        (WALLET[:-1], "no address"),
    ],
)
def test_destinations_that_nobody_owns_are_refused(destination: str, words: str) -> None:
    assert words in str(refuse_destination(destination, WALLET))


def test_the_table_holds_addresses_and_wallets_pass() -> None:
    assert all(decode_address(text) for text in solana_address._NOT_A_WALLET)
    rng = random.Random(2018_01_26)
    for _ in range(2_000):
        assert refuse_destination(encode_address(rng.randbytes(32)), WALLET) is None
