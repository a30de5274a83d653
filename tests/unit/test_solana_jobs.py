"""Within which bounds custody may choose chain parameters, and that nothing else is its choice."""

from typing import Any

import pytest
from solders import system_program
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey

from custody.chains.solana_checks import check_nonce_open, check_transfer, nonce_address
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import Destination, Intent
from signer.chains import solana
from signer.chains.solana_jobs import (
    NONCE_RENT_MAX,
    NONCE_RENT_MIN,
    build_nonce_advance,
    build_nonce_open,
    build_transfer,
    fee_of,
    refuse_payment,
)
from tests.factories import HOT_ADDRESS, STRANGER, key, make_intent, make_policy

WALLET = make_policy().wallets["hot-sol"]
MAXIMUM_FEE = 1_000_000  # lamports, the policy's 0.001 SOL
DEAREST = {"unit_limit": 1_000_000, "unit_price": 995_000}  # with 5,000 for the signature
VALUE = b"\x07" * 32


def transfer(
    nonce_index: int = 3, nonce_value: bytes = VALUE, intent: Intent | None = None, **budget: Any
) -> bytes | Refusal:
    parameters = wire.SolanaParameters(
        nonce_index=nonce_index, nonce_value=nonce_value, budget=make_budget(**budget)
    )
    built = build_transfer(WALLET, intent or make_intent(), wire.Transfer(solana=parameters))
    if isinstance(built, Refusal):
        return built
    assert (built.nonce_index, built.nonce_value) == (nonce_index, nonce_value)
    return signed(built.message)


def nonce_open(
    index: int = 3, blockhash: bytes = VALUE, rent: int = 1_447_680, **budget: Any
) -> bytes | Refusal:
    job = wire.NonceOpen(
        wallet="hot-sol", index=index, blockhash=blockhash, rent=rent, budget=make_budget(**budget)
    )
    built = build_nonce_open(WALLET, job)
    if isinstance(built, Refusal):
        return built
    message, cost = built
    assert cost == job.rent + fee_of(
        WALLET, wire.Transfer(solana=wire.SolanaParameters(budget=job.budget))
    )
    return signed(message)


def nonce_advance(index: int = 3, value: bytes = VALUE, **budget: Any) -> bytes | Refusal:
    job = wire.NonceAdvance(
        wallet="hot-sol", index=index, nonce_value=value, budget=make_budget(**budget)
    )
    built = build_nonce_advance(WALLET, job)
    if isinstance(built, Refusal):
        return built
    message, cost = built
    parameters = wire.SolanaParameters(budget=job.budget)
    assert cost == fee_of(WALLET, wire.Transfer(solana=parameters))
    return message


def make_budget(unit_limit: int = 1000, unit_price: int = 0) -> wire.ComputeBudget:
    return wire.ComputeBudget(unit_limit=unit_limit, unit_price=unit_price)


def signed(message: bytes) -> bytes:
    return solana.transaction(message, key("hot-sol").sign(message).signature)


def refused(built: bytes | Refusal, code: Code, words: str) -> None:
    assert isinstance(built, Refusal)
    assert built.code is code
    assert words in built.message


@pytest.mark.parametrize("budget", [{}, DEAREST])
@pytest.mark.parametrize("memo", ["", "蔵 7"])
def test_a_transfer_pays_what_the_intent_says(memo: str, budget: dict[str, Any]) -> None:
    destination = Destination(STRANGER.address, memo)
    built = transfer(intent=make_intent(destination=destination, amount=7), **budget)
    assert isinstance(built, bytes)
    check_transfer(
        built,
        source=HOT_ADDRESS,
        nonce_account=nonce_address(HOT_ADDRESS, 3),
        nonce_value=VALUE,
        destination=STRANGER.address,
        amount=7,
        memo=memo,
        maximum_fee=MAXIMUM_FEE,
    )


@pytest.mark.parametrize("budget", [{}, DEAREST])
@pytest.mark.parametrize("rent", [NONCE_RENT_MIN, NONCE_RENT_MAX])
def test_a_nonce_is_opened_for_the_wallet_itself(rent: int, budget: dict[str, Any]) -> None:
    built = nonce_open(rent=rent, **budget)
    assert isinstance(built, bytes)
    check_nonce_open(
        built, wallet=HOT_ADDRESS, index=3, blockhash=VALUE, rent=rent, maximum_fee=MAXIMUM_FEE
    )


@pytest.mark.parametrize("budget", [{}, DEAREST])
@pytest.mark.parametrize("index", [0, 3, 4, 63])
def test_a_nonce_is_advanced_and_nothing_else(index: int, budget: dict[str, Any]) -> None:
    """The pool holds 4 now; what was signed while it was larger must die too."""
    wallet, made = Pubkey.from_string(HOT_ADDRESS), make_budget(**budget)
    nonce = Pubkey.from_string(nonce_address(HOT_ADDRESS, index))
    steps = [
        system_program.advance_nonce_account({"nonce_pubkey": nonce, "authorized_pubkey": wallet}),
        set_compute_unit_limit(made.unit_limit),
        set_compute_unit_price(made.unit_price),
    ]
    by_sdk = bytes(Message.new_with_blockhash(steps, wallet, Hash.from_bytes(VALUE)))
    assert nonce_advance(index, **budget) == by_sdk


@pytest.mark.parametrize("build", [transfer, nonce_open, nonce_advance])
def test_a_fee_above_the_policy_is_refused(build: Any) -> None:
    for budget in (
        DEAREST | {"unit_price": 995_001},
        {"unit_limit": 1, "unit_price": 995_000_000_001},  # a part of a lamport more
        {"unit_limit": 1_400_000, "unit_price": 2**62},
    ):
        refused(build(**budget), Code.FEE_EXCEEDED, "base units is above 1000000")
    assert build(**DEAREST | {"unit_price": 995_001}).rule == "wallets.hot-sol.maximum_fee"


@pytest.mark.parametrize("build", [transfer, nonce_open, nonce_advance])
@pytest.mark.parametrize(
    "budget",
    [
        {"unit_limit": 0},
        {"unit_limit": 1_400_001},
        {"unit_limit": 1_400_000, "unit_price": 2**64 - 1},
    ],
)
def test_a_budget_that_the_chain_does_not_have_is_refused(
    build: Any, budget: dict[str, Any]
) -> None:
    refused(build(**budget), Code.CHAIN_PARAMETERS_INVALID, "not within")


@pytest.mark.parametrize("index", [4, 5, 2**32 - 61])
def test_a_nonce_outside_the_pool_is_refused(index: int) -> None:
    words = f"nonce index {index} "
    refused(transfer(nonce_index=index), Code.CHAIN_PARAMETERS_INVALID, words)
    refused(nonce_open(index=index), Code.CHAIN_PARAMETERS_INVALID, words)
    refused(nonce_advance(index=index + 60), Code.CHAIN_PARAMETERS_INVALID, f"index {index + 60} ")


@pytest.mark.parametrize("value", [b"", b"\x07", VALUE[1:], VALUE + b"\x07", VALUE * 2])
def test_a_hash_of_another_length_is_refused(value: bytes) -> None:
    words = "outside the wallet's pool"
    refused(transfer(nonce_value=value), Code.CHAIN_PARAMETERS_INVALID, words)
    refused(nonce_open(blockhash=value), Code.CHAIN_PARAMETERS_INVALID, words)
    words = "outside every wallet's pool"
    refused(nonce_advance(value=value), Code.CHAIN_PARAMETERS_INVALID, words)


@pytest.mark.parametrize("rent", [0, NONCE_RENT_MIN - 1, NONCE_RENT_MAX + 1, 2**63, 2**64 - 1])
def test_a_rent_out_of_bounds_is_refused(rent: int) -> None:
    refused(nonce_open(rent=rent), Code.CHAIN_PARAMETERS_INVALID, f"rent of {rent} lamports")


def test_parameters_left_out_are_refused() -> None:
    """Absence is no zero: neither a free transaction nor nonce 0 of the pool."""
    code = Code.CHAIN_PARAMETERS_INVALID
    for job, words in (
        (wire.Transfer(), "not those of solana:devnet"),
        (wire.Transfer(solana=wire.SolanaParameters(nonce_value=VALUE)), "compute unit limit"),
    ):
        built = build_transfer(WALLET, make_intent(), job)
        assert isinstance(built, Refusal)
        assert built.code is code
        assert words in built.message
    opening = build_nonce_open(WALLET, wire.NonceOpen(blockhash=VALUE, rent=1))
    assert isinstance(opening, Refusal)
    assert opening.code is code
    advancing = build_nonce_advance(WALLET, wire.NonceAdvance(nonce_value=VALUE))
    assert isinstance(advancing, Refusal)
    assert advancing.code is code


def test_parameters_of_another_chain_are_refused() -> None:
    intent = make_intent(network="stellar:testnet")
    words = "not those of stellar:testnet"
    refused(transfer(intent=intent), Code.CHAIN_PARAMETERS_INVALID, words)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (HOT_ADDRESS, "the paying wallet itself"),
        ("11111111111111111111111111111111", "the Solana runtime"),
        ("SysvarRent111111111111111111111111111111111", "the Solana runtime"),
        ("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "the token program"),
        ("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "the mint of USDC"),
        (STRANGER.address[:-1], "no address"),
        (STRANGER.address[:-1] + "0", "no address"),
        (STRANGER.address.lower(), "no address"),
    ],
)
def test_a_destination_that_cannot_be_paid_is_refused(address: str, words: str) -> None:
    refusal = refuse_payment(WALLET, make_intent(destination=Destination(address, "")), 0)
    assert refusal
    assert (refusal.code, refusal.field) == (Code.DESTINATION_INVALID, "destination.address")
    assert words in refusal.message


def test_an_own_nonce_account_is_never_paid_from_itself() -> None:
    """Only the builder sees it: the address depends on the index that custody names."""
    own = make_intent(destination=Destination(nonce_address(HOT_ADDRESS, 3), ""))
    refused(transfer(intent=own), Code.DESTINATION_INVALID, "must differ")
