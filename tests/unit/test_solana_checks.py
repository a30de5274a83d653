"""Custody's SDK check accepts what the signer's builder makes, and nothing beside it."""

from collections.abc import Callable
from typing import Any

import pytest
from solders import system_program as system
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey

from custody.chains.errors import SignerMismatchError
from custody.chains.solana_checks import (
    check_nonce_advance,
    check_nonce_open,
    check_transfer,
    nonce_address,
)
from signer.chains import solana
from signer.chains.solana_address import transaction_id

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
KEY = Keypair.from_seed(bytes(range(32)))
WALLET = KEY.pubkey()
NONCE = Pubkey.from_string(nonce_address(str(WALLET), 7))
DESTINATION = Pubkey(b"\x08" * 32)
STRANGER = Pubkey(b"\x09" * 32)
VALUE = b"\x07" * 32
FEE = solana.Fee(600_000, 1_000)
ASKED: dict[str, Any] = {
    "source": str(WALLET),
    "nonce_account": str(NONCE),
    "nonce_value": VALUE,
    "destination": str(DESTINATION),
    "amount": 1_000_000,
    "memo": "蔵 42",
    "maximum_fee": FEE.total(),
}


def signed(message: bytes, key: Keypair = KEY) -> bytes:
    return solana.transaction(message, bytes(key.sign_message(message)))


def transfer() -> bytes:
    return signed(
        solana.transfer_message(
            source=bytes(WALLET),
            nonce_account=bytes(NONCE),
            nonce_value=VALUE,
            destination=bytes(DESTINATION),
            lamports=ASKED["amount"],
            memo=ASKED["memo"],
            fee=FEE,
        )
    )


def advance(nonce: Pubkey = NONCE) -> Instruction:
    return system.advance_nonce_account({"nonce_pubkey": nonce, "authorized_pubkey": WALLET})


def pay(lamports: int, source: Pubkey = WALLET, destination: Pubkey = DESTINATION) -> Instruction:
    return system.transfer({"from_pubkey": source, "to_pubkey": destination, "lamports": lamports})


LIMIT, PRICE = set_compute_unit_limit(600_000), set_compute_unit_price(1_000)
NOTE = Instruction(MEMO, ASKED["memo"].encode(), [])
STEPS = [advance(), LIMIT, PRICE, pay(1_000_000), NOTE]


def by_sdk(steps: list[Instruction], recent: bytes = VALUE, key: Keypair = KEY) -> bytes:
    message = Message.new_with_blockhash(steps, key.pubkey(), Hash.from_bytes(recent))
    return signed(bytes(message), key)


def without(place: int) -> list[Instruction]:
    return STEPS[:place] + STEPS[place + 1 :]


def changed(place: int, step: Instruction) -> list[Instruction]:
    return [*STEPS[:place], step, *STEPS[place + 1 :]]


def test_the_signers_transfer_is_accepted_under_its_id() -> None:
    transaction = transfer()
    assert check_transfer(transaction, **ASKED) == transaction_id(transaction[1:65])
    assert transaction == by_sdk(STEPS)
    assert check_transfer(by_sdk(STEPS[:-1]), **(ASKED | {"memo": ""}))


def test_every_single_flipped_bit_is_refused() -> None:
    transaction = transfer()
    for place in range(len(transaction)):
        for bit in range(8):
            flipped = bytearray(transaction)
            flipped[place] ^= 1 << bit
            with pytest.raises(SignerMismatchError):
                check_transfer(bytes(flipped), **ASKED)


def assert_every_resigned_flip_is_refused(
    message: bytes, check: Callable[..., str], asked: dict[str, Any]
) -> None:
    """Flips every bit and signs the result; only a fee below the maximum may pass."""
    fee = {
        message.index(data) + place
        for data in (bytes(LIMIT.data), bytes(PRICE.data))
        for place in range(1, len(data))
    }
    for place in range(len(message)):
        for bit in range(8):
            flipped = bytearray(message)
            flipped[place] ^= 1 << bit
            if place in fee and flipped[place] < message[place]:
                check(signed(bytes(flipped)), **asked)
                continue
            with pytest.raises(SignerMismatchError):
                check(signed(bytes(flipped)), **asked)


def test_every_flipped_bit_is_refused_even_when_the_wallets_key_signs_it() -> None:
    assert_every_resigned_flip_is_refused(transfer()[65:], check_transfer, ASKED)


@pytest.mark.parametrize("extra", [b"\0", b"\x01", bytes(64), b"trailing"])
def test_trailing_and_missing_bytes_are_refused(extra: bytes) -> None:
    transaction = transfer()
    for other in (transaction + extra, transaction[: -len(extra)], extra, b""):
        with pytest.raises(SignerMismatchError, match="encoding"):
            check_transfer(other, **ASKED)


@pytest.mark.parametrize(
    ("field", "steps"),
    [
        ("amount", changed(3, pay(1_000_001))),
        ("destination", changed(3, pay(1_000_000, destination=STRANGER))),
        ("nonce account", changed(0, advance(STRANGER))),
        ("memo", changed(4, Instruction(MEMO, b"43", []))),
        ("program of the memo instruction", changed(4, Instruction(STRANGER, NOTE.data, []))),
        (
            "accounts of the memo instruction",
            changed(4, Instruction(MEMO, NOTE.data, [AccountMeta(STRANGER, False, False)])),
        ),
        ("fee", changed(2, set_compute_unit_price(1_001))),
        ("fee", changed(1, set_compute_unit_limit(600_001))),
        ("compute unit limit", changed(1, PRICE)),
        ("compute unit price", changed(2, LIMIT)),
        ("compute unit limit", without(0)),
        ("compute unit price", without(2)),
        ("number of instructions", without(4)),
        ("number of instructions", [*STEPS, pay(1, destination=STRANGER)]),
        ("number of instructions", [*STEPS, NOTE]),
        ("compute unit limit", [advance(), pay(1, destination=STRANGER), *STEPS[1:]]),
        ("compute unit limit", []),
        (
            "nonce advance",
            changed(
                0,
                Instruction(system.ID, b"\x05\0\0\0", advance().accounts),
            ),
        ),
    ],
)
def test_a_differing_field_is_named(field: str, steps: list[Instruction]) -> None:
    with pytest.raises(SignerMismatchError) as caught:
        check_transfer(by_sdk(steps), **ASKED)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "transaction"),
    [
        ("nonce value or blockhash", lambda: by_sdk(STEPS, recent=b"\x0a" * 32)),
        ("fee payer", lambda: signed(transfer()[65:].replace(bytes(WALLET), bytes(STRANGER)))),
        ("signature", lambda: signed(transfer()[65:], Keypair())),
        ("signature", lambda: solana.transaction(transfer()[65:], bytes(64))),
        ("number of signatures", lambda: b"\x02" + transfer()[1:65] + transfer()[1:]),
        ("message", lambda: signed(b"\x01\x00\x03" + transfer()[68:])),
    ],
)
def test_a_differing_frame_is_named(field: str, transaction: Callable[[], bytes]) -> None:
    with pytest.raises(SignerMismatchError) as caught:
        check_transfer(transaction(), **ASKED)
    assert caught.value.field == field


def test_nonce_open_is_checked() -> None:
    asked: dict[str, Any] = {"wallet": str(WALLET), "index": 7, "blockhash": VALUE, "rent": 1447680}
    message = solana.nonce_open_message(
        wallet=bytes(WALLET), index=7, blockhash=VALUE, rent=1447680, fee=FEE
    )
    asked["maximum_fee"] = FEE.total()
    assert nonce_address(str(WALLET), 7) == str(Pubkey(solana.nonce_address(bytes(WALLET), 7)))
    assert check_nonce_open(signed(message), **asked)
    wrong: dict[str, dict[str, Any]] = {
        "nonce account": {"index": 8},
        "nonce value or blockhash": {"blockhash": bytes(32)},
        "nonce account's creation": {"rent": 1447681},
        "fee": {"maximum_fee": FEE.total() - 1},
        "fee payer": {"wallet": str(STRANGER)},
    }
    for field, other in wrong.items():
        with pytest.raises(SignerMismatchError) as caught:
            check_nonce_open(signed(message), **(asked | other))
        assert caught.value.field == field
    assert_every_resigned_flip_is_refused(message, check_nonce_open, asked)


def test_nonce_advance_is_checked() -> None:
    asked: dict[str, Any] = {"wallet": str(WALLET), "nonce_account": str(NONCE)}
    asked |= {"nonce_value": VALUE, "maximum_fee": FEE.total()}
    message = solana.nonce_advance_message(
        wallet=bytes(WALLET), nonce_account=bytes(NONCE), nonce_value=VALUE, fee=FEE
    )
    assert check_nonce_advance(signed(message), **asked)
    with pytest.raises(SignerMismatchError, match="number of instructions"):
        check_nonce_advance(transfer(), **asked)
    with pytest.raises(SignerMismatchError, match="nonce account"):
        check_nonce_advance(signed(message), **(asked | {"nonce_account": str(STRANGER)}))
