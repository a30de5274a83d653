"""What the signer builds for Solana, executed by Solana's own runtime."""

import pytest
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from signer.chains import solana
from signer.chains.solana import Fee


class Chain:
    """Solana's runtime in the process, with a funded wallet."""

    def __init__(self) -> None:
        self.svm = LiteSVM()
        self.key = Keypair()
        self.wallet = bytes(self.key.pubkey())
        self.svm.airdrop(self.key.pubkey(), 10**12)

    def run(self, message: bytes) -> TransactionMetadata | FailedTransactionMetadata:
        signature = bytes(self.key.sign_message(message))
        sent = self.svm.send_transaction(
            Transaction.from_bytes(solana.transaction(message, signature))
        )
        self.svm.expire_blockhash()  # the runtime derives the next nonce from the newest blockhash
        assert isinstance(sent, TransactionMetadata | FailedTransactionMetadata)
        return sent

    def open(self, index: int, fee: Fee) -> bytes:
        """The opened account's address; the nonce is usable from the next blockhash on."""
        opened = self.run(
            solana.nonce_open_message(
                wallet=self.wallet,
                index=index,
                blockhash=bytes(self.svm.latest_blockhash()),
                rent=self.svm.minimum_balance_for_rent_exemption(80),
                fee=fee,
            )
        )
        assert isinstance(opened, TransactionMetadata), opened
        assert opened.fee() == fee.total()
        return solana.nonce_address(self.wallet, index)

    def nonce(self, account: bytes) -> bytes:
        found = self.svm.get_account(Pubkey(account))
        assert found is not None
        return bytes(found.data)[40:72]

    def balance(self, account: bytes) -> int:
        return self.svm.get_balance(Pubkey(account)) or 0


def test_the_runtime_executes_a_durable_transfer_once() -> None:
    chain, destination, fee = Chain(), bytes(Pubkey.new_unique()), Fee(2_000, 1_234_567)
    account = chain.open(3, Fee(1_000, 7))
    before, value = chain.balance(chain.wallet), chain.nonce(account)
    message = solana.transfer_message(
        source=chain.wallet,
        nonce_account=account,
        nonce_value=value,
        destination=destination,
        lamports=1_000_000,
        memo="蔵" * 85 + "!",
        fee=fee,
    )
    sent = chain.run(message)
    assert isinstance(sent, TransactionMetadata), sent
    assert sent.fee() == fee.total()
    assert chain.balance(destination) == 1_000_000
    assert chain.balance(chain.wallet) == before - 1_000_000 - fee.total()
    assert chain.nonce(account) != value
    assert isinstance(chain.run(message), FailedTransactionMetadata)
    assert chain.balance(destination) == 1_000_000


def test_an_advanced_nonce_kills_the_transfer_signed_on_it() -> None:
    chain, destination, fee = Chain(), bytes(Pubkey.new_unique()), Fee(1_000, 0)
    account = chain.open(0, fee)
    value = chain.nonce(account)
    hoarded = solana.transfer_message(
        source=chain.wallet,
        nonce_account=account,
        nonce_value=value,
        destination=destination,
        lamports=10**9,
        memo="",
        fee=fee,
    )
    advanced = chain.run(
        solana.nonce_advance_message(
            wallet=chain.wallet, nonce_account=account, nonce_value=value, fee=fee
        )
    )
    assert isinstance(advanced, TransactionMetadata), advanced
    assert isinstance(chain.run(hoarded), FailedTransactionMetadata)
    assert chain.balance(destination) == 0


@pytest.mark.parametrize(("limit", "price"), [(1_000, 0), (1_000, 999), (1_001, 1_000), (1_000, 1)])
def test_the_fee_is_what_the_runtime_takes(limit: int, price: int) -> None:
    Chain().open(1, Fee(limit, price))
