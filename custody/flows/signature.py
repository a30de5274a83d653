"""What the signer signed: checked by another implementation, then kept with its withdrawal."""

import structlog

from custody.chains import solana_checks
from custody.chains.errors import SignerMismatchError
from custody.domain.states import Event, Waiting
from custody.store import nonces, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.policy import Policy, Wallet
from policies.statements import Signed

WAIT_SECONDS = 1.0
ACTOR = "signer"
log = structlog.get_logger()


def statement(signed: Signed) -> wire.SignedStatement:
    """Return a signed statement as the signer's frames carry it."""
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


async def take_signature(
    connection: Connection, policy: Policy, row: Row, signed: wire.Signed, **changes: object
) -> None:
    """Check what the signer signed and keep it, with `changes` of columns."""
    transaction, wallet = signed.transaction, policy.wallets[row.wallet]
    try:
        nonce = _nonce_of(wallet, row, signed)
        name = _checked(wallet, row, transaction, nonce)
    except SignerMismatchError as error:
        # No answer to what was asked: nothing is broadcast, nothing freed, and it is asked again.
        log.critical("signer built something else", words=str(error))
        await withdrawals.postpone(connection, row, Waiting.SIGNER, WAIT_SECONDS)
        return
    if nonce != (row.nonce_index, row.nonce_value):
        await nonces.give_back(connection, row.digest)
    index, value = nonce
    await withdrawals.move(
        connection,
        row,
        Event.SIGNATURE,
        ACTOR,
        nonce_index=index,
        nonce_value=value,
        transaction=transaction,
        transaction_id=name,
        **changes,
    )


def _nonce_of(wallet: Wallet, row: Row, signed: wire.Signed) -> tuple[int, bytes]:
    """Return the nonce it was asked with; for bytes signed before, the one that stands in them."""
    if signed.repeated:
        return solana_checks.nonce_of(signed.transaction, wallet.address, wallet.nonce_pool)
    return row.nonce_index or 0, row.nonce_value or b""


def _checked(wallet: Wallet, row: Row, transaction: bytes, nonce: tuple[int, bytes]) -> str:
    """Two implementations must agree before anything is broadcast."""
    index, value = nonce
    return solana_checks.check_transfer(
        transaction,
        source=wallet.address,
        nonce_account=solana_checks.nonce_address(wallet.address, index),
        nonce_value=value,
        destination=row.address,
        amount=row.amount,
        memo=row.memo,
        maximum_fee=wallet.maximum_fee,
    )
