"""The signer's Solana builder against Solana's own SDK, and run by Solana's own runtime."""

import json
import os
import random
import sys
from pathlib import Path

import pytest
from solders import system_program as system
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey

from signer.chains import solana
from signer.chains.solana import Fee
from signer.chains.solana_address import (
    decode_address,
    encode_address,
    transaction_id,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "solana.json").read_text())
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
SPECIAL = [
    bytes(32),
    b"\xff" * 32,
    bytes(MEMO),
    bytes(Pubkey.from_string("ComputeBudget111111111111111111111111111111")),
    bytes(Pubkey.from_string("SysvarRecentB1ockHashes11111111111111111111")),
    bytes(Pubkey.from_string("SysvarRent111111111111111111111111111111111")),
]
WALLET = "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM"


@pytest.fixture
def rng() -> random.Random:
    seed = os.environ.get("KURA_TEST_SEED") or str(random.SystemRandom().getrandbits(64))
    sys.stderr.write(f"KURA_TEST_SEED={seed}\n")  # pytest shows it when the test fails
    return random.Random(seed)


def keys(rng: random.Random, count: int) -> list[bytes]:
    """Different keys, many sharing a long beginning with each other or with a program."""
    made: set[bytes] = set()
    while len(made) < count:
        kin = rng.choice([*SPECIAL, *made])
        key = kin[: rng.choice((0, 0, 1, 16, 31))]
        key += rng.randbytes(32 - len(key))
        if key not in SPECIAL:
            made.add(key)
    return rng.sample(sorted(made), count)


def some_fee(rng: random.Random) -> Fee:
    price = rng.choice((0, 1, 1000, rng.getrandbits(32), 6_000_000_000_000_000_000))
    return Fee(rng.choice((1, rng.randint(1, 1_400_000), 1_400_000)), price)


def some_memo(rng: random.Random) -> str:
    letters = rng.choice(("a", "é\x00", "蔵の鍵", "\U0001f511z", "\u0301\n"))
    text = "".join(rng.choices(letters, k=rng.choice((0, 1, rng.randint(2, 256), 256))))
    return text.encode()[: solana.MEMO_LIMIT].decode(errors="ignore")


def budget(fee: Fee) -> list[Instruction]:
    return [
        set_compute_unit_limit(fee.compute_unit_limit),
        set_compute_unit_price(fee.compute_unit_price),
    ]


def advance(nonce: bytes, authority: bytes) -> Instruction:
    return system.advance_nonce_account(
        {"nonce_pubkey": Pubkey(nonce), "authorized_pubkey": Pubkey(authority)}
    )


def by_sdk(steps: list[Instruction], payer: bytes, recent: bytes) -> bytes:
    return bytes(Message.new_with_blockhash(steps, Pubkey(payer), Hash.from_bytes(recent)))


def test_transfers_equal_the_sdk_byte_for_byte(rng: random.Random) -> None:
    for _ in range(20_000):
        source, nonce, destination = keys(rng, 3)
        value, memo, fee = rng.randbytes(32), some_memo(rng), some_fee(rng)
        lamports = rng.choice((1, rng.randint(1, 2**63 - 1), 2**63 - 1))
        built = solana.transfer_message(
            source=source,
            nonce_account=nonce,
            nonce_value=value,
            destination=destination,
            lamports=lamports,
            memo=memo,
            fee=fee,
        )
        transfer = system.transfer(
            {
                "from_pubkey": Pubkey(source),
                "to_pubkey": Pubkey(destination),
                "lamports": lamports,
            }
        )
        steps = [advance(nonce, source), *budget(fee), transfer]
        if memo:
            steps.append(Instruction(MEMO, memo.encode(), []))
        assert built == by_sdk(steps, source, value)


def test_nonce_messages_equal_the_sdk_byte_for_byte(rng: random.Random) -> None:
    for _ in range(1_500):
        wallet, nonce = keys(rng, 2)
        index = rng.choice((rng.randint(0, 99), rng.randint(0, 2**32 - 1), 2**32 - 1))
        fee, recent, rent = some_fee(rng), rng.randbytes(32), rng.randint(1, 2**63 - 1)
        payer, seed = Pubkey(wallet), solana.nonce_seed(index)
        account = Pubkey.create_with_seed(payer, seed, system.ID)
        assert solana.nonce_address(wallet, index) == bytes(account)
        create, initialize = system.create_nonce_account_with_seed(
            payer, account, payer, seed, payer, rent
        )
        assert solana.nonce_open_message(
            wallet=wallet, index=index, blockhash=recent, rent=rent, fee=fee
        ) == by_sdk([*budget(fee), create, initialize], wallet, recent)
        assert solana.nonce_advance_message(
            wallet=wallet, nonce_account=nonce, nonce_value=recent, fee=fee
        ) == by_sdk([advance(nonce, wallet), *budget(fee)], wallet, recent)


def transfer_with(**changed: object) -> bytes:
    fields: dict[str, object] = {
        "source": b"\x05" * 32,
        "nonce_account": b"\x06" * 32,
        "nonce_value": b"\x07" * 32,
        "destination": b"\x08" * 32,
        "lamports": 5,
        "memo": "",
        "fee": Fee(1000, 0),
    }
    return solana.transfer_message(**(fields | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lamports", 0),
        ("lamports", -1),
        ("lamports", 2**63),
        ("memo", "a" * 257),
        ("memo", "蔵" * 86),
        ("memo", "\ud800"),
        ("destination", b"\x05" * 32),
        ("destination", b"\x06" * 32),
        ("nonce_account", b"\x05" * 32),
        ("destination", b"\x08" * 31),
        ("source", b"\x08" * 33),
        ("nonce_account", b""),
        ("nonce_value", b"\x07" * 31),
        *(("destination", key) for key in SPECIAL if key != b"\xff" * 32),
        *(("source", key) for key in SPECIAL if key != b"\xff" * 32),
    ],
)
def test_a_transfer_outside_its_bounds_is_refused(field: str, value: object) -> None:
    assert transfer_with()
    with pytest.raises(ValueError, match=r"bytes|within|differ|surrogates"):
        transfer_with(**{field: value})


@pytest.mark.parametrize(
    ("limit", "price"), [(0, 0), (1_400_001, 0), (1, -1), (1, 2**64), (1_400_000, 2**63)]
)
def test_a_fee_outside_its_bounds_is_refused(limit: int, price: int) -> None:
    with pytest.raises(ValueError, match="within"):
        Fee(limit, price)


def test_rent_index_and_size_have_bounds() -> None:
    opening = {"wallet": b"\x05" * 32, "blockhash": b"\x07" * 32, "fee": Fee(1000, 0)}
    for index, rent in ((-1, 1), (2**32, 1), (0, 0), (0, 2**63)):
        with pytest.raises(ValueError, match="within"):
            solana.nonce_open_message(index=index, rent=rent, **opening)  # type: ignore[arg-type]
    assert len(solana.transaction(bytes(1232 - 65), bytes(64))) == 1232
    with pytest.raises(ValueError, match="1233"):
        solana.transaction(bytes(1232 - 64), bytes(64))
    with pytest.raises(ValueError, match="64 bytes"):
        solana.transaction(bytes(100), bytes(63))


def test_committed_vectors() -> None:
    transfers, openings = VECTORS["transfer"], VECTORS["nonce_open"]
    for vector in transfers:
        message = solana.transfer_message(
            source=decode_address(vector["source"]),
            nonce_account=decode_address(vector["nonce_account"]),
            nonce_value=bytes.fromhex(vector["nonce_value"]),
            destination=decode_address(vector["destination"]),
            lamports=int(vector["lamports"]),
            memo=vector["memo"],
            fee=Fee(*vector["fee"]),
        )
        assert message.hex() == vector["message"], vector["name"]
        signature = bytes.fromhex(vector["signature"])
        assert solana.transaction(message, signature).hex() == vector["transaction"]
        assert transaction_id(signature) == vector["transaction_id"]
        assert Fee(*vector["fee"]).total() == vector["fee_total"]
    for vector in openings:
        wallet = decode_address(vector["wallet"])
        assert encode_address(solana.nonce_address(wallet, vector["index"])) == vector["account"]
        message = solana.nonce_open_message(
            wallet=wallet,
            index=vector["index"],
            blockhash=bytes.fromhex(vector["blockhash"]),
            rent=int(vector["rent"]),
            fee=Fee(*vector["fee"]),
        )
        assert message.hex() == vector["message"], vector["name"]
    for vector in VECTORS["nonce_advance"]:
        message = solana.nonce_advance_message(
            wallet=decode_address(vector["wallet"]),
            nonce_account=decode_address(vector["nonce_account"]),
            nonce_value=bytes.fromhex(vector["nonce_value"]),
            fee=Fee(*vector["fee"]),
        )
        assert message.hex() == vector["message"], vector["name"]
