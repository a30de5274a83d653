"""Turns an allowed intent into the one message that will be signed, within the wallet's bounds.

Custody names chain parameters (nonce, fee); whatever it names, the transaction pays the intent's
destination the intent's amount from the wallet, and costs at most the policy's fee.
"""

from dataclasses import dataclass

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Wallet
from policies.policy_file import NONCE_POOL_MAX
from policies.statements import Intent
from signer.chains import solana, solana_address

HASH_BYTES = 32
NONCE_RENT_MIN, NONCE_RENT_MAX = 1_447_680, 2_000_000
"""Lamports; the least is the rent-exempt minimum of a nonce account's 80 bytes."""


@dataclass(frozen=True, slots=True)
class Message:
    """An unsigned message, and the nonce value that it uses up."""

    message: bytes
    nonce_index: int
    nonce_value: bytes


def build_transfer(wallet: Wallet, intent: Intent, job: wire.Transfer) -> Message | Refusal:
    """Return the message of a transfer, or why the chain parameters cannot be taken."""
    if job.WhichOneof("chain") != "solana" or not intent.network.startswith("solana:"):
        words = f"the parameters are not those of {intent.network}"
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, words)
    nonce, value = job.solana.nonce_index, job.solana.nonce_value
    fee = _fee(wallet, job.solana.budget)
    if isinstance(fee, Refusal):
        return fee
    if nonce >= wallet.nonce_pool or len(value) != HASH_BYTES:
        words = f"nonce index {nonce} or its value is outside the wallet's pool"
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, words, rule=f"wallets.{wallet.name}")
    try:
        source = solana_address.decode_address(wallet.address)
        message = solana.transfer_message(
            source=source,
            nonce_account=solana.nonce_address(source, nonce),
            nonce_value=value,
            destination=solana_address.decode_address(intent.destination.address),
            lamports=intent.amount,
            memo=intent.destination.memo,
            fee=fee,
        )
    except ValueError as error:
        return Refusal(Code.DESTINATION_INVALID, str(error), field="destination")
    return Message(message, nonce, value)


def fee_of(wallet: Wallet, job: wire.Transfer) -> int:
    """Return what a transfer's fee counts for: the job's, or the most where that is no fee."""
    fee = _fee(wallet, job.solana.budget)
    return wallet.maximum_fee if isinstance(fee, Refusal) else fee.total()


def build_nonce_open(wallet: Wallet, job: wire.NonceOpen) -> tuple[bytes, int] | Refusal:
    """Return the message that opens one nonce account of the pool and its cost, or why it cannot.

    The cost in base units: fee and rent.
    """
    fee = _fee(wallet, job.budget)
    if isinstance(fee, Refusal):
        return fee
    if job.index >= wallet.nonce_pool or len(job.blockhash) != HASH_BYTES:
        words = f"nonce index {job.index} or the blockhash is outside the wallet's pool"
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, words, rule=f"wallets.{wallet.name}")
    if not NONCE_RENT_MIN <= job.rent <= NONCE_RENT_MAX:
        words = f"rent of {job.rent} lamports is not {NONCE_RENT_MIN} to {NONCE_RENT_MAX}"
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, words)
    message = solana.nonce_open_message(
        wallet=solana_address.decode_address(wallet.address),
        index=job.index,
        blockhash=job.blockhash,
        rent=job.rent,
        fee=fee,
    )
    return message, fee.total() + job.rent


def build_nonce_advance(wallet: Wallet, job: wire.NonceAdvance) -> tuple[bytes, int] | Refusal:
    """Return the message that only advances a nonce account and its fee, or why it cannot.

    The index may be above the wallet's pool, which an earlier policy may have had larger.
    """
    fee = _fee(wallet, job.budget)
    if isinstance(fee, Refusal):
        return fee
    if job.index >= NONCE_POOL_MAX or len(job.nonce_value) != HASH_BYTES:
        words = f"nonce index {job.index} or its value is outside every wallet's pool"
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, words)
    address = solana_address.decode_address(wallet.address)
    message = solana.nonce_advance_message(
        wallet=address,
        nonce_account=solana.nonce_address(address, job.index),
        nonce_value=job.nonce_value,
        fee=fee,
    )
    return message, fee.total()


def refuse_payment(wallet: Wallet, intent: Intent, cost: int) -> Refusal | None:
    """Return why it cannot be paid for `cost` base units in all, or None.

    A message that was reserved before keeps its fee, whatever the job and the policy say by now.
    """
    address = intent.destination.address
    words = solana_address.refuse_destination(address, wallet.address)
    if words is None:
        return _refuse_fee(wallet, cost - intent.amount)
    return Refusal(Code.DESTINATION_INVALID, words, field="destination.address")


def _refuse_fee(wallet: Wallet, fee: int) -> Refusal | None:
    if fee <= wallet.maximum_fee:
        return None
    words = f"a fee of {fee} base units is above {wallet.maximum_fee}"
    return Refusal(Code.FEE_EXCEEDED, words, rule=f"wallets.{wallet.name}.maximum_fee")


def _fee(wallet: Wallet, budget: wire.ComputeBudget) -> solana.Fee | Refusal:
    try:
        fee = solana.Fee(budget.unit_limit, budget.unit_price)
    except ValueError as error:
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, str(error))
    return _refuse_fee(wallet, fee.total()) or fee
