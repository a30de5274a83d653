"""Bytes of a transaction that prove that a wallet's key signed it, against Solana's own SDK."""

import hashlib
import os
import random
import sys
from collections.abc import Sequence

import pytest
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from policies.codes import Code, Refusal
from signer.chains import solana
from signer.chains.solana import Fee
from signer.chains.solana_theft import Proof, open_theft

RECENT = b"\x07" * 32
WALLET, OTHER = Keypair.from_seed(b"\x01" * 32), Keypair.from_seed(b"\x02" * 32)
KEY = bytes(WALLET.pubkey())
THIEF = Pubkey(b"\x09" * 32)
ORDER = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = (  # the neutral one first
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


@pytest.fixture
def rng() -> random.Random:
    seed = os.environ.get("KURA_TEST_SEED") or str(random.SystemRandom().getrandbits(64))
    sys.stderr.write(f"KURA_TEST_SEED={seed}\n")  # pytest shows it when the test fails
    return random.Random(seed)


def theft(*signers: Keypair, version: int | None = None, payees: int = 1) -> bytes:
    """The signers' transaction that takes from each of them; the first one pays the fee."""
    steps = [
        transfer(
            TransferParams(
                from_pubkey=signer.pubkey(), to_pubkey=Pubkey(bytes((9, number)) * 16), lamports=5
            )
        )
        for signer in signers
        for number in range(payees)
    ]
    payer, recent = signers[0].pubkey(), Hash.from_bytes(RECENT)
    if version == 0:
        message: Message | MessageV0 = MessageV0.try_compile(payer, steps, [], recent)
    else:
        message = Message.new_with_blockhash(steps, payer, recent)
    return bytes(VersionedTransaction(message, list(signers)))


LAWFUL = {
    "legacy": theft(WALLET),
    "version 0": theft(WALLET, version=0),
    "payer of two": theft(WALLET, OTHER),
    "second of two": theft(OTHER, WALLET),
    "second of two, version 0": theft(OTHER, WALLET, version=0),
    "long": theft(WALLET, payees=20),
}


def unproven(transaction: bytes, words: str = "", key: bytes = KEY) -> None:
    opened = open_theft(key, transaction)
    assert isinstance(opened, Refusal), transaction.hex()
    assert opened.code is Code.THEFT_UNPROVEN
    assert words in opened.message, opened.message


@pytest.mark.parametrize("transaction", LAWFUL.values(), ids=LAWFUL)
def test_a_signature_of_the_wallet_is_the_proof(transaction: bytes) -> None:
    sdk = VersionedTransaction.from_bytes(transaction)
    place = sdk.message.account_keys.index(WALLET.pubkey())
    proof = open_theft(KEY, transaction)
    assert proof == Proof(bytes(sdk.signatures[place]), RECENT)


def test_the_nonce_value_is_what_stands_for_the_blockhash() -> None:
    message = solana.transfer_message(
        source=KEY,
        nonce_account=solana.nonce_address(KEY, 3),
        nonce_value=b"\x33" * 32,
        destination=bytes(THIEF),
        lamports=5,
        memo="mine",
        fee=Fee(1000, 0),
    )
    signature = bytes(WALLET.sign_message(message))
    proof = open_theft(KEY, solana.transaction(message, signature))
    assert proof == Proof(signature, b"\x33" * 32)


@pytest.mark.parametrize("version", [None, 0])
def test_a_wallet_that_only_appears_has_signed_nothing(version: int | None) -> None:
    paid = TransferParams(from_pubkey=OTHER.pubkey(), to_pubkey=WALLET.pubkey(), lamports=5)
    steps, payer, recent = [transfer(paid)], OTHER.pubkey(), Hash.from_bytes(RECENT)
    message = (
        Message.new_with_blockhash(steps, payer, recent)
        if version is None
        else MessageV0.try_compile(payer, steps, [], recent)
    )
    transaction = bytes(VersionedTransaction(message, [OTHER]))
    unproven(transaction, "none of the transaction's signers")
    assert isinstance(open_theft(bytes(OTHER.pubkey()), transaction), Proof)


def test_another_keys_signature_in_the_wallets_place_is_no_proof() -> None:
    message = LAWFUL["legacy"][65:]
    unproven(b"\x01" + bytes(OTHER.sign_message(message)) + message, "not of the wallet's key")
    unproven(b"\x01" + bytes(64) + message, "not of the wallet's key")


def test_only_the_wallets_own_place_counts() -> None:
    """Its signature over this very message, but where the other signer's belongs."""
    transaction = LAWFUL["second of two"]
    swapped = transaction[:1] + transaction[65:129] + transaction[1:65] + transaction[129:]
    unproven(swapped, "not of the wallet's key")


def test_a_key_of_low_order_proves_nothing() -> None:
    """Under the key of the neutral element a signature by nobody verifies without its check."""
    neutral = b"\x01" + bytes(31)
    message = bytes((1, 0, 0, 1)) + neutral + RECENT + b"\x00"
    unproven(b"\x01" + neutral + bytes(32) + message, "not of the wallet's key", neutral)


@pytest.mark.parametrize("transaction", LAWFUL.values(), ids=LAWFUL)
def test_a_transaction_of_another_length_is_no_proof(
    transaction: bytes, rng: random.Random
) -> None:
    for length in range(len(transaction)):
        unproven(transaction[:length])
        unproven(transaction[length + 1 :])
        unproven(transaction[:length] + rng.randbytes(1) + transaction[length:])
        unproven(transaction[:length] + transaction[length + 1 :])
    for padding in (*range(1, 1300 - len(transaction)), 8192):
        unproven(transaction + rng.choice((bytes(padding), rng.randbytes(padding))))


@pytest.mark.parametrize("transaction", LAWFUL.values(), ids=LAWFUL)
def test_every_flipped_byte_counts(transaction: bytes, rng: random.Random) -> None:
    """But those of the other signers' signatures, which are no business of the wallet's."""
    sdk = VersionedTransaction.from_bytes(transaction)
    place = sdk.message.account_keys.index(WALLET.pubkey())
    own = range(1 + 64 * place, 65 + 64 * place)
    others = {*range(1, 1 + 64 * len(sdk.signatures))} - {*own}
    for at in range(len(transaction)):
        for flip in (1 << rng.randrange(8), rng.randrange(1, 256)):
            changed = bytearray(transaction)
            changed[at] ^= flip
            if at not in others:
                unproven(bytes(changed))


def test_bytes_by_chance_are_no_proof(rng: random.Random) -> None:
    """Random bytes, and lawful ones with pieces exchanged, doubled and overwritten.

    What is found is a signature that the wallet did give, over all that is no signature.
    """
    pieces = list(LAWFUL.values())
    given = {bytes(WALLET.sign_message(piece[1 + 64 * piece[0] :])) for piece in pieces}
    for _ in range(20_000):
        base = rng.choice(pieces)
        begin, end = sorted(rng.choices(range(len(base) + 1), k=2))
        other = rng.choice((rng.randbytes(rng.randint(0, 80)), rng.choice(pieces)[begin:end]))
        made = rng.choice((other, base[:begin] + other + base[end:], base[:end] + base[begin:]))
        opened = open_theft(KEY, made)
        if isinstance(opened, Proof):
            assert opened.signature in given
            assert bytes(WALLET.sign_message(made[1 + 64 * made[0] :])) == opened.signature


def spelled(*number: int) -> bytes:
    """A transaction signed by the wallet whose message spells its number of accounts this way."""
    message = LAWFUL["legacy"][65:]
    return signed(message[:3] + bytes(number) + message[4:])


def signed(message: bytes, number: Sequence[int] = (1,)) -> bytes:
    return bytes(number) + bytes(WALLET.sign_message(message)) + message


def test_numbers_have_one_spelling() -> None:
    """All are lawful signatures of the wallet, over messages that no chain takes."""
    message = LAWFUL["legacy"][65:]
    assert isinstance(open_theft(KEY, signed(message)), Proof)
    assert isinstance(open_theft(KEY, spelled(3)), Proof)
    for number in ((0x82, 0), (0x82, 0x80, 0), (0x82, 0x80, 0x80), (0x82, 0x80, 4)):
        unproven(signed(message, number), "another spelling")
        unproven(signed(message, (0x81, *number[1:])))  # which is how version 1 begins
    for digits in ((0x83, 0), (0x83, 0x80, 0), (0x83, 0x80, 0x80), (0x83, 0x80, 0x80, 0)):
        unproven(spelled(*digits), "another spelling")
    unproven(spelled(0x83, 1), "it ends before")
    unproven(spelled(0xFF, 0xFF, 3), "it ends before")
    unproven(spelled(0xFF, 0xFF, 4), "another spelling")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x81" + LAWFUL["legacy"][65:], "version 1 of messages is not known"),
        (b"\xff" + LAWFUL["legacy"][65:], "version 127 of messages is not known"),
        (b"\x80\x80" + LAWFUL["legacy"][66:], "do not belong together"),
        (b"\x02" + LAWFUL["legacy"][66:], "do not belong together"),
        (b"\x00" + LAWFUL["legacy"][66:], "do not belong together"),
        (bytes((1, 0, 1, 2)) + KEY * 2 + RECENT + b"\x00", "do not belong together"),
        (bytes((1, 0, 0, 0)) + KEY + RECENT + b"\x00", "do not belong together"),
        (b"", "it ends before byte 66"),
    ],
)
def test_a_message_that_no_chain_takes_is_no_proof(message: bytes, words: str) -> None:
    unproven(signed(message), words)


def test_the_longest_transaction_is_read_and_none_longer() -> None:
    """A signature over a longer message proves nothing, because no chain can show it."""
    message = LAWFUL["legacy"][65:]
    for extra, proves in ((1232 - 65 - len(message), True), (1233 - 65 - len(message), False)):
        opened = open_theft(KEY, signed(message + bytes(extra)))
        assert isinstance(opened, Proof) is proves


# --- version 1 (SIMD-0385): the signatures stand behind the message


def theft_1(*signers: Keypair, recent: bytes = RECENT, payees: int = 1) -> bytes:
    """The signers' transaction of version 1, with a tip, as a thief in a hurry makes it."""
    steps = [
        transfer(
            TransferParams(
                from_pubkey=signer.pubkey(),
                to_pubkey=Pubkey(bytes((9, number)) * 16),
                lamports=10**6,
            )
        )
        for signer in signers
        for number in range(payees)
    ]
    config = TransactionConfig(priority_fee=7, compute_unit_limit=50_000)
    message = MessageV1.try_compile(signers[0].pubkey(), steps, Hash.from_bytes(recent), config)
    return bytes(VersionedTransaction(message, list(signers)))


LAWFUL_1 = {
    "payer": theft_1(WALLET),
    "payer of two": theft_1(WALLET, OTHER),
    "second of two": theft_1(OTHER, WALLET),
    "longer than any before": theft_1(WALLET, payees=40),
}


@pytest.mark.parametrize("transaction", LAWFUL_1.values(), ids=LAWFUL_1)
def test_a_theft_of_version_1_is_proven(transaction: bytes) -> None:
    sdk = VersionedTransaction.from_bytes(transaction)
    place = sdk.message.account_keys.index(WALLET.pubkey())
    assert open_theft(KEY, transaction) == Proof(bytes(sdk.signatures[place]), RECENT)


def test_what_the_runtime_lets_a_thief_take_in_version_1_is_proven() -> None:
    chain = LiteSVM()
    chain.airdrop(WALLET.pubkey(), 10**10)
    transaction = theft_1(WALLET, recent=bytes(chain.latest_blockhash()), payees=40)
    chain.send_transaction(VersionedTransaction.from_bytes(transaction))
    assert (chain.get_balance(WALLET.pubkey()) or 0) < 10**10, "the money is gone"
    assert isinstance(open_theft(KEY, transaction), Proof)


@pytest.mark.parametrize("transaction", LAWFUL_1.values(), ids=LAWFUL_1)
def test_nothing_else_of_version_1_proves_anything(transaction: bytes, rng: random.Random) -> None:
    sdk = VersionedTransaction.from_bytes(transaction)
    place, count = sdk.message.account_keys.index(WALLET.pubkey()), len(sdk.signatures)
    begin = len(transaction) - 64 * count
    own = range(begin + 64 * place, begin + 64 * place + 64)
    for at in range(len(transaction)):
        changed = bytearray(transaction)
        changed[at] ^= 1 << rng.randrange(8)
        if at < begin or at in own:
            unproven(bytes(changed))
        unproven(transaction[:at])
        unproven(transaction[:at] + rng.randbytes(1) + transaction[at:])
    unproven(transaction + bytes(4097 - len(transaction)), "more than 4096")
    unproven(bytes((0x81, 255)) + transaction[2:])
    unproven(bytes((0x81, 0)) + transaction[2:])


def sign_with(torsion: bytes, message: bytes) -> bytes:
    """Sign as who holds the key can: with this point of small order in R (SIMD-0376)."""
    digest = hashlib.sha512(b"\x01" * 32).digest()
    secret = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
    random_scalar = crypto_core_ed25519_scalar_reduce(digest)
    point = crypto_core_ed25519_add(crypto_scalarmult_ed25519_base_noclamp(random_scalar), torsion)
    hashed = crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + KEY + message).digest())
    scalar = int.from_bytes(random_scalar, "little") + int.from_bytes(hashed, "little") * secret
    return point + (scalar % ORDER).to_bytes(32, "little")


def test_a_signature_that_only_the_cofactored_check_takes_is_the_wallets() -> None:
    message = LAWFUL["legacy"][65:]
    for torsion in SMALL_ORDER:
        signature = sign_with(bytes.fromhex(torsion), message)
        assert open_theft(KEY, b"\x01" + signature + message) == Proof(signature, RECENT), torsion
        unproven(b"\x01" + signature + message[:-1] + b"\x06", "not of the wallet's key")
    assert len({sign_with(bytes.fromhex(torsion), message)[:32] for torsion in SMALL_ORDER}) == 8


def test_a_strangers_variant_of_a_lawful_signature_is_no_theft() -> None:
    """The journal knows a signature by its bytes: another spelling would not be found there."""
    signature, message = LAWFUL["legacy"][1:65], LAWFUL["legacy"][65:]
    point, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    for other in (scalar + ORDER, scalar + 2 * ORDER, scalar + 2**255, ORDER - scalar, 0):
        varied = point + other.to_bytes(32, "little")
        unproven(b"\x01" + varied + message, "not of the wallet's key")
    for torsion in SMALL_ORDER[1:]:
        varied = crypto_core_ed25519_add(point, bytes.fromhex(torsion)) + signature[32:]
        unproven(b"\x01" + varied + message, "not of the wallet's key")
    for no_point in (bytes(32), b"\x02" + bytes(31), b"\xff" * 32):
        unproven(b"\x01" + no_point + signature[32:] + message, "not of the wallet's key")
