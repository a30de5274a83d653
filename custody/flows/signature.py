"""What the signer signed: checked by another implementation, then kept with its withdrawal."""

from collections.abc import Sequence
from contextlib import suppress

import structlog
from psycopg import Rollback

from custody.chains import solana_checks
from custody.chains.errors import ChainError, SignerMismatchError
from custody.domain import receipts
from custody.domain.states import Event, Waiting
from custody.flows import checks
from custody.flows.parts import WorkerParts
from custody.store import balances, nonces, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy, Wallet
from policies.receipts import ReceiptError
from policies.statements import Intent, Signed, decode

_SECONDS = {Waiting.SIGNER: 1.0, Waiting.FUNDS: 1.0, Waiting.NODE: 30.0}
ACTOR = "signer"
log = structlog.get_logger()


def statement(signed: Signed) -> wire.SignedStatement:
    """Return a signed statement as the signer's frames carry it."""
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


def refusal_of(said: wire.Refusal) -> Refusal:
    """Return the signer's no; a code that this version does not know is one to wait for."""
    code = Code(said.code) if said.code in set(Code) else Code.JOB_MALFORMED
    return Refusal(code, said.message, said.rule, said.field, said.earliest_time)


async def whole(parts: WorkerParts, results: Sequence[wire.Result]) -> Sequence[wire.Result]:
    """Return the results with the bytes of what was signed long ago, from the chain.

    The signer keeps its name for ever, and its bytes for some weeks.
    """
    for result in results:
        if result.signed.repeated and not result.signed.transaction:
            with suppress(ChainError):  # it is asked for again
                found = await parts.node.transaction(result.signed.transaction_id)
                result.signed.transaction = found or b""
    return results


def require_upkeep_receipt(
    result: wire.Result, wallets: Sequence[Wallet], transaction_id: str
) -> None:
    """SignerMismatchError unless the receipt is of this opening or advance of a nonce.

    The watchtower takes no other, and without its word nothing is sent: one that was kept here
    would never be asked for again.
    """
    keys, name = {wallet.signer for wallet in wallets}, wallets[0].name
    try:
        receipts.require_upkeep(result.receipt, keys, name, transaction_id)
    except ReceiptError as error:
        raise SignerMismatchError("receipt", str(error)) from error


async def take_signature(
    connection: Connection, policy: Policy, row: Row, result: wire.Result
) -> None:
    """Check what the signer signed and keep it, with the receipt."""
    waiting = await _keep(connection, policy, row, result)
    if waiting:
        await withdrawals.postpone(connection, row, waiting, _SECONDS[waiting])


async def take_early(connection: Connection, policy: Policy, row: Row, result: wire.Result) -> None:
    """Keep a signature that custody did not ask for now: it is out, so it is booked as any other.

    What it needs is reserved first, unless that was done before.
    """
    wallets = await checks.wallets_ever(connection, policy, row.wallet)
    need = row.reserved or row.amount + max(wallet.maximum_fee for wallet in wallets)
    columns = {"ending": "", "reserved": need, "set_aside": 0}
    async with connection.transaction() as attempt:
        waiting = Waiting.NOTHING
        aside = row.set_aside
        if not row.reserved and not await balances.reserve(connection, row.wallet, need, aside):
            waiting = Waiting.FUNDS
        waiting = waiting or await _keep(connection, policy, row, result, **columns)
        if waiting:
            raise Rollback(attempt)
    if waiting:
        await withdrawals.postpone(connection, row, waiting, _SECONDS[waiting])


async def _keep(
    connection: Connection, policy: Policy, row: Row, result: wire.Result, **changes: object
) -> Waiting:
    """Keep the signature with `changes` of columns; return what it waits for if it is not taken."""
    signed = result.signed
    if signed.repeated and not signed.transaction:
        log.error("signed long ago", id=signed.transaction_id, next="look for it on another node")
        return Waiting.NODE
    wallets = await checks.wallets_ever(connection, policy, row.wallet)
    try:
        nonce, name = _checked_by_any(wallets, row, signed)
        receipts.require(
            result.receipt,
            {wallet.signer for wallet in wallets},
            receipts.SIGNED,
            decode(Intent, row.statement),
            digest=row.digest,
            transaction_id=name,
        )
    except (SignerMismatchError, ReceiptError) as error:
        # No answer to what was asked: nothing is broadcast, nothing freed, and it is asked again.
        log.critical("signer built something else", words=str(error))
        return Waiting.SIGNER
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
        transaction=signed.transaction,
        transaction_id=name,
        receipt=result.receipt,
        acknowledged=False,
        **changes,
    )
    return Waiting.NOTHING


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
            return nonce, _checked(wallet, row, signed, nonce)
        except SignerMismatchError as error:
            first = first or error
    raise first or SignerMismatchError("wallet", f"no policy ever had {row.wallet}")


def _nonce_of(wallet: Wallet, row: Row, signed: wire.Signed) -> tuple[int, bytes]:
    """Return the nonce it was asked with; for bytes signed before, the one that stands in them."""
    if signed.repeated:
        return solana_checks.nonce_of(signed.transaction, wallet.address, wallet.nonce_pool)
    return row.nonce_index or 0, row.nonce_value or b""


def _checked(wallet: Wallet, row: Row, signed: wire.Signed, nonce: tuple[int, bytes]) -> str:
    """Two implementations must agree before anything is broadcast."""
    index, value = nonce
    name = solana_checks.check_transfer(
        signed.transaction,
        source=wallet.address,
        nonce_account=solana_checks.nonce_address(wallet.address, index),
        nonce_value=value,
        destination=row.address,
        amount=row.amount,
        memo=row.memo,
        maximum_fee=wallet.maximum_fee,
    )
    if name != signed.transaction_id:
        raise SignerMismatchError("transaction id", f"{name} is another one")
    return name
