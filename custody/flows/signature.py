"""What the signer signed: checked by another implementation, then kept with its withdrawal."""

from collections.abc import Sequence

import structlog

from custody.chains import solana_checks
from custody.chains.errors import SignerMismatchError
from custody.domain.states import Event, Waiting
from custody.flows import checks
from custody.store import balances, nonces, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy, Wallet
from policies.statements import Signed

WAIT_SECONDS = 1.0
ACTOR = "signer"
log = structlog.get_logger()


def statement(signed: Signed) -> wire.SignedStatement:
    """Return a signed statement as the signer's frames carry it."""
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


def refusal_of(said: wire.Refusal) -> Refusal:
    """Return the signer's no; a code that this version does not know is one to wait for."""
    code = Code(said.code) if said.code in set(Code) else Code.JOB_MALFORMED
    return Refusal(code, said.message, said.rule, said.field, said.earliest_time)


async def take_signature(
    connection: Connection, policy: Policy, row: Row, signed: wire.Signed, **changes: object
) -> None:
    """Check what the signer signed and keep it, with `changes` of columns."""
    transaction = signed.transaction
    wallets = await checks.wallets_ever(connection, policy, row.wallet)
    try:
        nonce, name = _checked_by_any(wallets, row, signed)
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


async def take_early(connection: Connection, policy: Policy, row: Row, signed: wire.Signed) -> None:
    """Keep a signature that custody did not ask for now: it is out, so it is booked as any other.

    What it needs is reserved first, unless that was done before.
    """
    wallets = await checks.wallets_ever(connection, policy, row.wallet)
    need = row.reserved or row.amount + max(wallet.maximum_fee for wallet in wallets)
    if not row.reserved and not await balances.reserve(connection, row.wallet, need, row.set_aside):
        await withdrawals.postpone(connection, row, Waiting.FUNDS, WAIT_SECONDS)
        return
    await take_signature(connection, policy, row, signed, ending="", reserved=need, set_aside=0)


def _checked_by_any(
    wallets: Sequence[Wallet], row: Row, signed: wire.Signed
) -> tuple[tuple[int, bytes], str]:
    """Return nonce and id, by what any version said that could have allowed it.

    Bytes that were signed before may be older than the policy in force.
    """
    first: SignerMismatchError | None = None
    for wallet in wallets if signed.repeated else wallets[:1]:
        try:
            nonce = _nonce_of(wallet, row, signed)
            return nonce, _checked(wallet, row, signed.transaction, nonce)
        except SignerMismatchError as error:
            first = first or error
    raise first or SignerMismatchError("wallet", f"no policy ever had {row.wallet}")


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
