"""The devnet's chain against a real one: each correction of the runtime has a test of its name."""

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nacl.bindings as sodium
import pytest
from solders.clock import Clock
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.sysvar import CLOCK
from solders.transaction import VersionedTransaction

from custody.dev.devnet.auction import Auction
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.ledger import _OF_ADDRESS, DataInUseError
from custody.dev.devnet.params import RpcError
from custody.dev.devnet.rpc import call
from custody.dev.devnet.slots import FINALIZED_AFTER, MAX_AGE
from tests.devnet_wallet import BASE64, SOL, Wallet, encoded, nonce_after

FEE = 5000
STRANGER = Pubkey(bytes(range(32)))


@pytest.fixture
def wall() -> list[float]:
    return [1_800_000_000.7]


@pytest.fixture
def chain(tmp_path: Path, wall: list[float]) -> Iterator[Chain]:
    with Chain(tmp_path, lambda: wall[0]) as chain:
        yield chain


@pytest.fixture
def wallet(chain: Chain) -> Wallet:
    return wallet_on(chain)


def wallet_on(chain: Chain) -> Wallet:
    return Wallet(lambda method, params: call(chain, method, params))


def refusal(wallet: Wallet, tx: VersionedTransaction) -> Any:
    """The `err` with which the preflight refuses the transaction."""
    with pytest.raises(RpcError) as caught:
        wallet.send(tx)
    assert caught.value.code == -32002
    assert isinstance(caught.value.data, dict)
    return caught.value.data["err"]


def overdraft(wallet: Wallet) -> Instruction:
    return wallet.pay(STRANGER, 1000 * SOL)


OVERDRAWN = {"Custom": 1}
NOT_YET = {"Custom": 7}  # SystemError::NonceBlockhashNotExpired


def test_clock_has_the_slot_and_the_wall_time(
    chain: Chain, wallet: Wallet, wall: list[float]
) -> None:
    wall[0] += 100
    chain.advance()
    answer = wallet.call("getAccountInfo", [str(CLOCK), BASE64 | {"commitment": "processed"}])
    data = base64.b64decode(answer["value"]["data"][0])
    clock = Clock.from_bytes(data)
    assert (clock.slot, clock.unix_timestamp) == (chain.slots.newest, 1_800_000_100)
    wall[0] -= 1000  # a wall clock set back must not take the chain with it
    chain.advance()
    assert chain.slots.time == 1_800_000_100


def test_blockhashes_of_the_last_150_slots_are_valid_and_no_older(
    chain: Chain, wallet: Wallet
) -> None:
    early, late = (wallet.sign(wallet.pay(STRANGER, n * SOL)) for n in (1, 2))
    chain.advance(MAX_AGE)
    assert wallet.status(wallet.send(early))["err"] is None
    chain.advance()
    assert refusal(wallet, late) == "BlockhashNotFound"
    assert wallet.status(wallet.send(late, preflight=False)) is None
    assert wallet.balance(STRANGER) == SOL


def test_foreign_blockhash_is_refused(wallet: Wallet) -> None:
    tx = wallet.sign(wallet.pay(STRANGER), blockhash=Hash(bytes(range(32))))
    assert refusal(wallet, tx) == "BlockhashNotFound"


def test_failed_transaction_lands_with_its_error_and_pays_the_fee(wallet: Wallet) -> None:
    signature = wallet.send(wallet.sign(overdraft(wallet)), preflight=False)
    assert wallet.status(signature)["err"] == {"InstructionError": [0, OVERDRAWN]}
    assert wallet.balance() == 10 * SOL - FEE
    assert wallet.balance(STRANGER) == 0


def test_transaction_whose_program_does_not_load_lands_and_pays_the_fee(wallet: Wallet) -> None:
    tx = wallet.sign(Instruction(STRANGER, b"", []))
    signature = wallet.send(tx, preflight=False)
    assert wallet.status(signature)["err"] in (
        "ProgramAccountNotFound",
        "InvalidProgramForExecution",
    )
    assert wallet.balance() == 10 * SOL - FEE


@pytest.mark.parametrize(
    ("left", "err"),
    [
        (0, "AccountNotFound"),
        (SOL // 10, "InsufficientFundsForFee"),
        (SOL, {"InsufficientFundsForRent": {"account_index": 0}}),
    ],
)
def test_transaction_that_cannot_pay_its_fee_does_not_land(
    chain: Chain, left: int, err: object
) -> None:
    poor = wallet_on(chain)
    poor.send(poor.sign(poor.pay(STRANGER, 10 * SOL - FEE - left)))
    budget = set_compute_unit_limit(1000), set_compute_unit_price(10**12 - 10**7)  # 0.99999 SOL
    tx = poor.sign(*budget, poor.pay(STRANGER, 1))
    assert refusal(poor, tx) == err
    assert poor.status(poor.send(tx, preflight=False)) is None
    assert poor.balance() == left


def test_next_nonce_comes_from_the_newest_blockhash(chain: Chain, wallet: Wallet) -> None:
    nonce = wallet.open_nonce()
    assert wallet.nonce(nonce) == nonce_after(wallet.newest())
    chain.advance()
    tx = wallet.sign(wallet.advance(nonce), wallet.pay(STRANGER), blockhash=wallet.nonce(nonce))
    chain.advance(2 * MAX_AGE)
    wallet.send(tx)
    assert wallet.balance(STRANGER) == SOL
    assert wallet.nonce(nonce) == nonce_after(wallet.newest())


def test_failed_durable_nonce_transaction_advances_the_nonce_and_pays(
    chain: Chain, wallet: Wallet
) -> None:
    nonce = wallet.open_nonce()
    chain.advance()
    before, value = wallet.balance(), wallet.nonce(nonce)
    tx = wallet.sign(wallet.advance(nonce), overdraft(wallet), blockhash=value)
    signature = wallet.send(tx, preflight=False)
    assert wallet.status(signature)["err"] == {"InstructionError": [1, OVERDRAWN]}
    assert wallet.balance() == before - FEE
    assert wallet.nonce(nonce) == nonce_after(wallet.newest())
    chain.advance()
    again = wallet.sign(wallet.advance(nonce), wallet.pay(STRANGER), blockhash=value)
    assert refusal(wallet, again) == "BlockhashNotFound"


def test_nonce_does_not_advance_twice_within_one_blockhash(chain: Chain, wallet: Wallet) -> None:
    nonce = wallet.open_nonce()
    durable = wallet.sign(wallet.advance(nonce), blockhash=wallet.nonce(nonce))
    assert refusal(wallet, durable) == "BlockhashNotFound"
    ordinary = wallet.sign(wallet.advance(nonce))
    assert refusal(wallet, ordinary) == {"InstructionError": [0, NOT_YET]}
    chain.advance()
    twice = wallet.sign(wallet.advance(nonce), wallet.advance(nonce))
    assert refusal(wallet, twice) == {"InstructionError": [1, NOT_YET]}
    wallet.send(durable)
    assert wallet.nonce(nonce) == nonce_after(wallet.newest())


def test_recent_blockhash_is_tried_before_a_durable_nonce(chain: Chain, wallet: Wallet) -> None:
    nonce = wallet.open_nonce()
    chain.advance()
    value = wallet.nonce(nonce)
    tx = wallet.sign(wallet.advance(nonce), overdraft(wallet))
    assert wallet.status(wallet.send(tx, preflight=False))["err"] is not None
    assert wallet.nonce(nonce) == value  # let in by its blockhash, so its failure undid the advance


@pytest.mark.parametrize("flaw", ["unsigned", "second", "closed"])
def test_durable_nonce_needs_its_authority_first_place_and_account(
    chain: Chain, wallet: Wallet, flaw: str
) -> None:
    nonce = wallet.open_nonce()
    chain.advance()
    other = wallet_on(chain)
    advance = other.advance(nonce) if flaw == "unsigned" else other.advance(nonce, wallet.address)
    instructions = [advance, other.pay(STRANGER)]
    if flaw == "second":
        instructions.reverse()
    target = STRANGER if flaw == "closed" else nonce
    if flaw == "closed":
        instructions[0] = other.advance(target, wallet.address)
    by = () if flaw == "unsigned" else (wallet.key,)
    tx = other.sign(*instructions, blockhash=wallet.nonce(nonce), by=by)
    assert refusal(other, tx) == "BlockhashNotFound"


def test_identical_transaction_sent_again_is_answered_and_runs_once(
    chain: Chain, wallet: Wallet
) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    first = wallet.send(tx)
    assert [wallet.send(tx), wallet.send(tx, preflight=False)] == [first, first]
    chain.advance()
    assert wallet.send(tx) == first
    simulated = wallet.call(
        "simulateTransaction", [encoded(tx), BASE64 | {"commitment": "processed"}]
    )
    assert simulated["value"]["err"] == "AlreadyProcessed"
    assert wallet.balance(STRANGER) == SOL


def test_replay_under_another_valid_signature_is_already_processed(wallet: Wallet) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    wallet.send(tx)
    other = VersionedTransaction.populate(tx.message, [resigned(wallet.key, bytes(tx.message))])
    assert other.verify_with_results() == [True]
    assert other != tx
    assert refusal(wallet, other) == "AlreadyProcessed"
    wallet.send(other, preflight=False)
    assert wallet.balance(STRANGER) == SOL


def resigned(key: Keypair, message: bytes) -> Signature:
    """A valid signature whose nonce is not the derived one of RFC 8032, 5.1.6."""
    digest = bytearray(sodium.crypto_hash_sha512(key.secret())[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    secret = sodium.crypto_core_ed25519_scalar_reduce(bytes(digest) + bytes(32))
    r = sodium.crypto_core_ed25519_scalar_reduce(sodium.crypto_hash_sha512(b"other" + message))
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(r)
    hashed = sodium.crypto_hash_sha512(point + bytes(key.pubkey()) + message)
    challenge = sodium.crypto_core_ed25519_scalar_reduce(hashed)
    product = sodium.crypto_core_ed25519_scalar_mul(challenge, secret)
    return Signature.from_bytes(point + sodium.crypto_core_ed25519_scalar_add(r, product))


def test_forged_signature_is_refused_and_never_lands(wallet: Wallet) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    forged = VersionedTransaction.populate(tx.message, [Keypair().sign_message(b"")])
    with pytest.raises(RpcError) as caught:
        wallet.send(forged)
    assert caught.value.code == -32003
    assert wallet.status(wallet.send(forged, preflight=False)) is None
    assert wallet.balance(STRANGER) == 0


def test_memo_program_runs(chain: Chain, wallet: Wallet) -> None:
    memo = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
    signature = wallet.send(wallet.sign(Instruction(memo, "蔵 42".encode(), [])))
    chain.advance(FINALIZED_AFTER)
    listed = wallet.call("getSignaturesForAddress", [str(memo)])
    assert (listed[0]["signature"], listed[0]["memo"]) == (signature, "[6] 蔵 42")


def test_restart_keeps_accounts_transactions_blockhashes_and_the_slot(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain:
        wallet, genesis = wallet_on(chain), chain.genesis
        nonce = wallet.open_nonce()
        chain.advance()
        tx = wallet.sign(wallet.pay(STRANGER))
        later = wallet.sign(wallet.pay(STRANGER, 2 * SOL))
        signature, slot = wallet.send(tx), chain.slots.newest
        value, balance = wallet.nonce(nonce), wallet.balance()
    with Chain(tmp_path) as chain:
        wallet.call = lambda method, params: call(chain, method, params)
        assert (chain.genesis, chain.slots.newest) == (genesis, slot + FINALIZED_AFTER)
        assert wallet.status(signature)["confirmationStatus"] == "finalized"
        assert (wallet.nonce(nonce), wallet.balance()) == (value, balance)
        assert wallet.send(tx) == signature
        wallet.send(later)
        assert wallet.balance(STRANGER) == 3 * SOL
        chain.submit(tx)
        assert wallet.balance(STRANGER) == 3 * SOL


def test_data_in_use_is_refused(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(DataInUseError, match="another --data"):
        Chain(tmp_path)


def test_error_while_storing_undoes_the_transaction(chain: Chain, wallet: Wallet) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    chain.ledger._db.execute("PRAGMA query_only=ON")
    with pytest.raises(RpcError, match="nothing was changed"):
        wallet.send(tx)
    with pytest.raises(sqlite3.OperationalError):
        chain.advance()
    chain.ledger._db.execute("PRAGMA query_only=OFF")
    assert (wallet.balance(), wallet.balance(STRANGER)) == (10 * SOL, 0)
    wallet.send(tx)
    assert wallet.balance(STRANGER) == SOL


def test_auction_runs_the_dearest_first_at_the_end_of_the_slot() -> None:
    with Chain(None, auction=Auction()) as chain:
        wallet = wallet_on(chain)
        chain.advance()
        bids = [0, 2_000_000, 1_000_000, 2_000_000]
        sent = [
            wallet.send(
                wallet.sign(
                    set_compute_unit_limit(1_000),
                    set_compute_unit_price(bid),
                    wallet.pay(STRANGER, 4 * SOL + number),
                )
            )
            for number, bid in enumerate(bids)
        ]
        assert [wallet.status(signature) for signature in sent] == [None] * 4
        assert wallet.balance() == 10 * SOL
        chain.advance()
        assert [wallet.status(signature)["err"] is None for signature in sent] == [
            False,
            True,
            False,
            True,
        ]
        assert wallet.status(sent[1])["slot"] == chain.slots.newest - 1
        chain.advance()
        assert wallet.balance(STRANGER) == 8 * SOL + 4  # nothing runs twice


def test_page_of_an_address_reads_no_more_than_the_page(chain: Chain) -> None:
    values = (b"", 1, 1, 1, 1)
    plan = str(chain.ledger._db.execute("EXPLAIN QUERY PLAN " + _OF_ADDRESS, values).fetchall())
    assert "SEARCH addresses USING PRIMARY KEY" in plan
    assert "TEMP B-TREE" not in plan


def test_memory_does_not_grow_with_history(chain: Chain, wallet: Wallet) -> None:
    for _ in range(3):
        wallet.send(wallet.sign(wallet.pay(STRANGER)))
        wallet.send(wallet.sign(wallet.pay(STRANGER, 2 * SOL)))
        assert len(chain._versions._of[STRANGER]) == 2  # before the slot and in it
        chain.advance(MAX_AGE)
    assert (chain._versions._of, chain._versions._touched) == ({}, {})
    assert len(chain.slots._made) == len(chain.slots._hashes) == len(chain.ledger.slots())
