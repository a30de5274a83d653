"""The ladder of an alarm sweep, against Solana's own SDK and run by Solana's own runtime."""

import itertools
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from nacl.signing import SigningKey
from solders.compute_budget import (
    set_compute_unit_limit,
    set_compute_unit_price,
    set_loaded_accounts_data_size_limit,
)
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.slots import MAX_AGE
from policies.codes import Code, Refusal
from policies.policy import Wallet
from policies.statements import Theft
from signer.chains import solana
from signer.chains.solana_sweep import build_sweeps
from signer.chains.solana_theft import Proof, open_theft
from tests.factories import (
    COLD_ADDRESS,
    HOT_ADDRESS,
    SOL,
    key,
    make_policy,
    make_theft,
    public,
    wallet_text,
)

WALLET = make_policy().wallets["hot-sol"]
FEE = 10_000_000  # lamports, the policy's 0.01 SOL
LEAST_FEE = 5_000
RENT_EXEMPT = 890_880  # lamports that an account without data holds at least, unless it is empty
HOT, COLD = Pubkey.from_string(HOT_ADDRESS), Pubkey.from_string(COLD_ADDRESS)
THIEF = Keypair.from_seed(b"\x09" * 32)
RECENT = Hash.from_bytes(b"\x07" * 32)


@pytest.fixture
def rng() -> random.Random:
    seed = os.environ.get("KURA_TEST_SEED") or str(random.SystemRandom().getrandbits(64))
    sys.stderr.write(f"KURA_TEST_SEED={seed}\n")  # pytest shows it when the test fails
    return random.Random(seed)


class Robbery:
    """The hot wallet with 10 SOL on the devnet's chain, and its key in a thief's hands."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.key = Keypair.from_seed(bytes(key("hot-sol")))
        for address in (HOT, COLD, THIEF.pubkey()):
            self.put(address, 10 * SOL)

    def put(self, address: Pubkey, lamports: int) -> None:
        assert self.chain.submit(self.chain.airdrop(address, lamports)).err is None

    def balance(self, address: Pubkey = HOT) -> int:
        account = self.chain.account(address, self.chain.slots.newest)
        return account.lamports if account else 0

    def take(self, lamports: int, *, version: int | None = None) -> bytes:
        """The thief's transaction, landed; of version 0 it is also the thief's own, who pays."""
        paid = TransferParams(from_pubkey=HOT, to_pubkey=THIEF.pubkey(), lamports=lamports)
        recent = self.chain.slots.blockhash(self.chain.slots.newest)
        signers = [self.key] if version is None else [THIEF, self.key]
        message: Message | MessageV0 = (
            Message.new_with_blockhash([transfer(paid)], HOT, recent)
            if version is None
            else MessageV0.try_compile(THIEF.pubkey(), [transfer(paid)], [], recent)
        )
        return self.land(VersionedTransaction(message, signers))

    def land(self, tx: VersionedTransaction) -> bytes:
        done = self.chain.submit(tx)
        assert done.err is None, done
        return bytes(tx)

    def ladder(self, transaction: bytes, balance: int, wallet: Wallet = WALLET) -> list[bytes]:
        """What the signer sends when it is shown this theft: signed, in its order."""
        proof = open_theft(bytes(HOT), transaction)
        assert isinstance(proof, Proof)
        sweeps = build_sweeps(wallet, theft(balance, proof.blockhash))
        assert not isinstance(sweeps, Refusal)
        return [
            solana.transaction(message, key("hot-sol").sign(message).signature)
            for message, _ in sweeps
        ]

    def send(self, *ladder: bytes) -> list[bool]:
        """Which of them landed without an error; each that lands at all costs the fee."""
        landed = []
        for raw in ladder:
            done = self.chain.submit(VersionedTransaction.from_bytes(raw))
            assert done.fee == FEE or not done.landed
            landed.append(done.err is None)
        return landed


@pytest.fixture
def robbery() -> Iterator[Robbery]:
    with Chain(None) as chain:
        yield Robbery(chain)


def theft(balance: int, blockhash: bytes = bytes(RECENT)) -> Theft:
    return make_theft(b"\0", blockhash=blockhash.hex(), balance=balance)


def swept(balance: int, fee: int = FEE) -> tuple[bytes, ...]:
    assert WALLET.sweep
    wallet = replace(WALLET, sweep=replace(WALLET.sweep, fee=fee))
    sweeps = build_sweeps(wallet, theft(balance))
    assert not isinstance(sweeps, Refusal), sweeps
    amounts = [amount for amount in ladder_of(balance, fee) if amount >= fee]
    assert [cost for _, cost in sweeps] == [amount + fee for amount in amounts]
    return tuple(message for message, _ in sweeps)


def ladder_of(balance: int, fee: int = FEE) -> list[int]:
    """All of it; then a half, a quarter and so on of what eight fees and the rent leave."""
    rest = balance - 8 * fee - RENT_EXEMPT
    return [balance - fee, *(rest // 2**step for step in range(1, 8))]


def by_sdk(lamports: int, fee: int = FEE) -> bytes:
    steps = [
        set_compute_unit_limit(1000),
        set_compute_unit_price((fee - LEAST_FEE) * 1000),
        set_loaded_accounts_data_size_limit(65_536),
        transfer(TransferParams(from_pubkey=HOT, to_pubkey=COLD, lamports=lamports)),
    ]
    return bytes(Message.new_with_blockhash(steps, HOT, RECENT))


def test_the_ladder_equals_the_sdk_byte_for_byte() -> None:
    assert swept(10 * SOL) == tuple(by_sdk(amount) for amount in ladder_of(10 * SOL))
    assert ladder_of(10 * SOL)[:3] == [9_990_000_000, 4_959_554_560, 2_479_777_280]


def test_every_balance_and_fee_makes_a_ladder_that_may_be_signed(rng: random.Random) -> None:
    for _ in range(5_000):
        fee = rng.choice((LEAST_FEE, LEAST_FEE + 1, rng.randint(LEAST_FEE, SOL), 10**6 * SOL))
        balance = rng.choice((1, 2 * fee - 1, 2 * fee, rng.randint(1, 2**63 - 1), 2**63 - 1))
        balance = rng.choice((balance, rng.randint(fee, 9 * fee)))
        ladder = swept(balance, fee)
        assert len(ladder) <= 8
        assert len(set(ladder)) == len(ladder)
        amounts = [amount for amount in ladder_of(balance, fee) if amount >= fee]
        assert ladder == tuple(by_sdk(amount, fee) for amount in amounts)


@pytest.mark.parametrize("balance", [1, FEE - 1, FEE, FEE + 1, 2 * FEE - 1])
def test_what_would_cost_more_than_it_saves_is_left(balance: int) -> None:
    assert swept(balance) == ()
    assert swept(2 * FEE) == (by_sdk(FEE),)


def test_a_wallet_that_cannot_be_swept_is_refused() -> None:
    more = wallet_text("cold-sol", signer=public("other audit"))
    cold = make_policy(more=more).wallets["cold-sol"]
    refused = build_sweeps(cold, theft(SOL))
    assert isinstance(refused, Refusal)
    assert refused.code is Code.DESTINATION_NOT_ALLOWED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"to": COLD_ADDRESS[:-1] + "0"}, "base58"),
        ({"to": HOT_ADDRESS}, "must differ"),
        ({"fee": LEAST_FEE - 1}, "compute unit price"),
        ({"fee": 0}, "compute unit price"),
        ({"fee": 2**62}, "compute unit price"),
    ],
)
def test_a_sweep_that_the_chain_does_not_have_is_refused(
    change: dict[str, str | int], words: str
) -> None:
    assert WALLET.sweep
    wallet = replace(WALLET, sweep=replace(WALLET.sweep, **change))  # type: ignore[arg-type]
    refused = build_sweeps(wallet, theft(2**63 - 1))
    assert isinstance(refused, Refusal)
    assert refused.code is Code.CHAIN_PARAMETERS_INVALID
    assert refused.rule == "wallets.hot-sol.sweep"
    assert words in refused.message


def test_the_whole_balance_lands_when_nothing_more_was_taken(robbery: Robbery) -> None:
    stolen = robbery.take(SOL)
    left, cold = robbery.balance(), robbery.balance(COLD)
    ladder = robbery.ladder(stolen, left)
    assert robbery.send(*ladder) == [True] + [False] * 7
    assert robbery.balance() == 0
    assert robbery.balance(COLD) == cold + left - FEE


@pytest.mark.parametrize("version", [None, 0])
def test_the_next_ones_land_when_the_thief_was_faster(
    robbery: Robbery, version: int | None
) -> None:
    stolen = robbery.take(SOL, version=version)
    seen, cold = robbery.balance(), robbery.balance(COLD)
    ladder = robbery.ladder(stolen, seen)
    robbery.take(3 * SOL, version=version)
    left = robbery.balance()
    landed = robbery.send(*ladder)
    assert landed[:2] == [False, True]
    saved = robbery.balance(COLD) - cold
    assert saved == sum(itertools.compress(ladder_of(seen), landed))
    assert robbery.balance() == left - saved - 8 * FEE
    assert robbery.balance() < (seen >> 7) + 8 * FEE
    # what is left is asked for again, on whatever the thief's next transaction stood on
    robbery.chain.advance()
    again = robbery.ladder(stolen, robbery.balance())
    assert robbery.send(*again)[0]
    assert robbery.balance() == 0


def test_the_thief_between_any_two_leaves_the_rest_its_chance(
    robbery: Robbery, rng: random.Random
) -> None:
    """Whatever is taken whenever: another ladder empties the account or leaves below two fees."""
    for _ in range(30):
        robbery.put(HOT, 10 * SOL)
        robbery.chain.advance()
        stolen = robbery.take(rng.randint(1, SOL))
        for _ in range(8):
            for raw in robbery.ladder(stolen, robbery.balance()):
                if rng.random() < 0.2 and robbery.balance() > SOL:
                    robbery.take(rng.randint(1, robbery.balance() - SOL // 2))
                robbery.send(raw)
            if robbery.balance() < 2 * FEE:
                break
            robbery.chain.advance()
        assert robbery.balance() < 2 * FEE


@pytest.mark.parametrize("held", [10 * SOL, SOL // 5, 9 * FEE + 2_000_000])
def test_in_every_order_nearly_all_is_saved(
    robbery: Robbery, rng: random.Random, held: int
) -> None:
    """A node may run them in another order: all stand on one blockhash and pay one fee."""
    robbery.take(9 * SOL)
    for _ in range(40):
        stolen = robbery.take(robbery.balance() - RENT_EXEMPT - LEAST_FEE)
        robbery.put(HOT, held)
        robbery.chain.advance()
        left, cold = robbery.balance(), robbery.balance(COLD)
        ladder = robbery.ladder(stolen, left)
        order = rng.sample(range(len(ladder)), len(ladder))
        landed = robbery.send(*(ladder[place] for place in order))
        saved = robbery.balance(COLD) - cold
        if order[0] == 0:
            assert saved == left - FEE
        else:
            assert [order[place] for place, done in enumerate(landed) if not done] == [0]
            assert saved == sum(ladder_of(left)[1 : len(ladder)])
        robbery.put(HOT, SOL)


@pytest.mark.parametrize("remainder", [0, RENT_EXEMPT - 1, RENT_EXEMPT])
def test_the_runtime_lets_an_account_end_empty_or_rent_exempt(
    robbery: Robbery, remainder: int
) -> None:
    """Why only the first rung may empty the account: a piece too small to live makes it fail."""
    stolen = robbery.take(SOL)
    ladder = robbery.ladder(stolen, robbery.balance() - remainder)
    lived = remainder in (0, RENT_EXEMPT)
    before = robbery.balance()
    assert robbery.send(ladder[0]) == [lived]
    assert robbery.balance() == (remainder if lived else before - FEE)


def test_a_ladder_dies_with_its_blockhash(robbery: Robbery) -> None:
    ladder = robbery.ladder(robbery.take(SOL), robbery.balance())
    robbery.chain.advance(MAX_AGE + 1)
    before = robbery.balance()
    assert not any(robbery.send(*ladder))
    assert robbery.balance() == before


def test_the_cold_account_may_be_new(robbery: Robbery) -> None:
    new = SigningKey(b"\x05" * 32)
    cold = Pubkey(bytes(new.verify_key))
    assert WALLET.sweep
    wallet = replace(WALLET, sweep=replace(WALLET.sweep, to=str(cold)))
    stolen, left = robbery.take(SOL), robbery.balance()
    assert robbery.send(*robbery.ladder(stolen, left, wallet))[0]
    assert robbery.balance(cold) == left - FEE
