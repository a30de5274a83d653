"""The adapter, the signer's builder and a chain over HTTP: open a nonce, pay, be told of it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from custody.chains.errors import NodeError, NonceUnusableError, RejectedError
from custody.chains.solana import SolanaNode, TransactionStatus
from custody.chains.solana_checks import check_nonce_open, check_transfer, nonce_address
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from signer.chains import solana
from signer.chains.solana import Fee

SOL = 10**9
FEE = Fee(2_000, 1_000)
MEMO_PROGRAM = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"


@dataclass(frozen=True)
class Bench:
    """A chain whose slots the test advances, a node on it, and a wallet with 100 SOL."""

    chain: Chain
    node: SolanaNode
    key: Keypair

    @property
    def wallet(self) -> str:
        return str(self.key.pubkey())

    def sign(self, message: bytes) -> bytes:
        return solana.transaction(message, bytes(self.key.sign_message(message)))

    async def open(self, index: int) -> str:
        blockhash, rent = await self.node.latest_blockhash(), await self.node.minimum_rent(80)
        message = solana.nonce_open_message(
            wallet=bytes(self.key.pubkey()), index=index, blockhash=blockhash, rent=rent, fee=FEE
        )
        transaction = self.sign(message)
        check_nonce_open(
            transaction,
            wallet=self.wallet,
            index=index,
            blockhash=blockhash,
            rent=rent,
            maximum_fee=FEE.total(),
        )
        await self.node.send(transaction)
        self.chain.advance(2)
        return nonce_address(self.wallet, index)

    def transfer(
        self, account: str, value: bytes, destination: Pubkey, lamports: int
    ) -> tuple[bytes, str]:
        """A checked, signed transfer and its id."""
        message = solana.transfer_message(
            source=bytes(self.key.pubkey()),
            nonce_account=bytes(Pubkey.from_string(account)),
            nonce_value=value,
            destination=bytes(destination),
            lamports=lamports,
            memo="蔵 42",
            fee=FEE,
        )
        transaction = self.sign(message)
        name = check_transfer(
            transaction,
            source=self.wallet,
            nonce_account=account,
            nonce_value=value,
            destination=str(destination),
            amount=lamports,
            memo="蔵 42",
            maximum_fee=FEE.total(),
        )
        return transaction, name


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Chain, str]]:
    with Chain(tmp_path) as chain, serve(chain) as url:
        yield chain, url


@pytest.fixture
async def bench(served: tuple[Chain, str]) -> AsyncIterator[Bench]:
    chain, url = served
    key = Keypair()
    chain.submit(chain.airdrop(key.pubkey(), 100 * SOL))
    chain.advance(4)
    async with SolanaNode(url) as node:
        yield Bench(chain, node, key)


async def test_a_withdrawal_from_nonce_to_finality(bench: Bench) -> None:
    node, chain, destination = bench.node, bench.chain, Keypair().pubkey()
    assert await node.genesis_hash() == str(chain.genesis)
    assert await node.nonce_value(nonce_address(bench.wallet, 3), bench.wallet) is None
    account = await bench.open(3)
    value = await node.nonce_value(account, bench.wallet)
    assert value is not None
    transaction, name = bench.transfer(account, value, destination, SOL)
    assert await node.status(name) is None
    before = await node.balance(bench.wallet, "processed")
    await node.send(transaction)
    slot = chain.slots.newest
    assert await node.status(name) == TransactionStatus(slot, "processed", None, None)
    chain.advance()
    assert await node.status(name) == TransactionStatus(slot, "confirmed", None, None)
    assert await node.balance(str(destination)) == 0
    chain.advance(3)
    assert await node.status(name) == TransactionStatus(slot, "finalized", None, FEE.total())
    assert await node.balance(str(destination)) == SOL
    assert await node.balance(bench.wallet) == before - SOL - FEE.total()
    assert await node.slot() == slot
    assert await node.nonce_value(account, bench.wallet) not in {None, value}


async def test_sending_again_pays_once_for_ever(bench: Bench) -> None:
    node, destination = bench.node, Keypair().pubkey()
    account = await bench.open(0)
    value = await node.nonce_value(account, bench.wallet)
    assert value is not None
    transaction, _ = bench.transfer(account, value, destination, SOL)
    for _ in range(3):
        await node.send(transaction)
        bench.chain.advance(4)
    assert await node.balance(str(destination)) == SOL
    rival, name = bench.transfer(account, value, destination, 2 * SOL)
    with pytest.raises(RejectedError) as caught:  # its nonce is used up, and it never landed
        await node.send(rival)
    assert caught.value.err == '"BlockhashNotFound"'
    assert await node.status(name) is None


async def test_a_failing_transfer_is_rejected_before_it_costs_anything(bench: Bench) -> None:
    node = bench.node
    account = await bench.open(0)
    value = await node.nonce_value(account, bench.wallet)
    assert value is not None
    before = await node.balance(bench.wallet, "processed")
    for lamports in (200 * SOL, 1):  # more than the wallet has; too little for a new account
        transaction, _ = bench.transfer(account, value, Keypair().pubkey(), lamports)
        with pytest.raises(RejectedError):
            await node.send(transaction)
    damaged = bytearray(bench.transfer(account, value, Keypair().pubkey(), SOL)[0])
    damaged[1] ^= 1
    with pytest.raises(RejectedError, match="signature"):
        await node.send(bytes(damaged))
    assert await node.balance(bench.wallet, "processed") == before
    assert await node.nonce_value(account, bench.wallet) == value


async def test_a_transfer_that_lands_and_fails_costs_its_fee_and_its_nonce(bench: Bench) -> None:
    node = bench.node
    account = await bench.open(0)
    value = await node.nonce_value(account, bench.wallet)
    assert value is not None
    transaction, name = bench.transfer(account, value, Keypair().pubkey(), 200 * SOL)
    bench.chain.submit(VersionedTransaction.from_bytes(transaction))  # past any preflight
    bench.chain.advance(4)
    status = await node.status(name)
    assert status is not None
    assert (status.commitment, status.fee) == ("finalized", FEE.total())
    assert "InstructionError" in str(status.err)
    assert await node.nonce_value(account, bench.wallet) != value


async def test_destinations_on_a_real_chain(bench: Bench) -> None:
    node, fresh = bench.node, str(Keypair().pubkey())
    rent = await node.minimum_rent(0)
    account = await bench.open(0)
    for address, lamports, words in (
        (bench.wallet, rent, None),
        (bench.wallet, rent - 1, f"at least {rent}"),
        (fresh, rent, None),
        (fresh, rent - 1, f"at least {rent}"),
        (account, rent, "nonce account"),
        (MEMO_PROGRAM, rent, "program"),
        ("SysvarRent111111111111111111111111111111111", rent, "belongs to program"),
    ):
        problem = await node.destination_problem(address, lamports)
        assert problem is None if words is None else words in str(problem), address


async def test_a_nonce_address_that_a_stranger_paid_is_skipped(bench: Bench) -> None:
    address = nonce_address(bench.wallet, 5)
    bench.chain.submit(bench.chain.airdrop(Pubkey.from_string(address), SOL))
    bench.chain.advance(2)
    with pytest.raises(NonceUnusableError, match="skip this index"):
        await bench.node.nonce_value(address, bench.wallet)
    with pytest.raises(RejectedError):
        await bench.open(5)
    account = await bench.open(6)
    with pytest.raises(NonceUnusableError, match="authority"):
        await bench.node.nonce_value(account, str(Keypair().pubkey()))


async def test_a_node_that_is_gone_is_a_node_error(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain, serve(chain) as url:
        pass
    async with SolanaNode(url) as node:
        with pytest.raises(NodeError, match="unreachable"):
            await node.slot()
