"""Keeps each wallet's pool of durable nonces open, and their present values known."""

from dataclasses import replace

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from custody.chains import solana_checks
from custody.chains.errors import (
    ChainError,
    NodeError,
    NonceUnusableError,
    SignerMismatchError,
)
from custody.flows import checks, waits
from custody.flows.parts import WorkerParts, unix_ms
from custody.flows.signature import refusal_of, require_upkeep_receipt
from custody.gateway import SignerUnreachableError
from custody.store import balances, nonces
from custody.store.nonces import Nonce, Opening
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Refusal
from policies.policy import Wallet

NONCE_SPACE = 80
# A blockhash lives for 150 slots of 400 ms or somewhat more. Until then the same bytes are sent
# again, since the signer counts how many different ones it signs.
BLOCKHASH_SECONDS = 120.0
_PAUSE_MAX_MS = 3_600_000
log = structlog.get_logger()


async def keep_pool(parts: WorkerParts) -> bool:
    """Read the values that are not known and open the accounts that are not there."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        unread = await nonces.unread(connection)
    if isinstance(policy, Refusal):
        return False
    changed = False
    for nonce in unread:
        wallet = policy.wallets.get(nonce.wallet)
        if wallet is None or (nonce.index >= wallet.nonce_pool and nonce.opening_id is None):
            continue  # the policy has dropped it
        try:
            changed |= await _keep(parts, wallet, nonce)
        except NonceUnusableError as error:
            log.warning("nonce account skipped", index=nonce.index, reason=str(error))
        except SignerMismatchError as error:
            log.critical("signer built something else", index=nonce.index, words=str(error))
        except (ChainError, SignerUnreachableError) as error:
            log.warning("nonce account not ready", index=nonce.index, reason=str(error))
        except (OperationalError, PoolTimeout):
            raise
        except Exception:
            log.exception("fault", index=nonce.index, next="trying again with the others")
    return changed


async def _keep(parts: WorkerParts, wallet: Wallet, nonce: Nonce) -> bool:
    address = solana_checks.nonce_address(wallet.address, nonce.index)
    value = await parts.node.nonce_value(address, wallet.address, "finalized")
    if value is None:
        return await _open(parts, wallet, nonce)
    cost = await _opening_cost(parts, wallet, nonce) if nonce.reserved else 0
    async with parts.database.transaction() as connection:
        if not await nonces.unchanged(connection, nonce):
            return False
        if nonce.reserved:
            await balances.release(connection, wallet.name, nonce.reserved)
            await balances.book(connection, wallet.name, "nonce", -cost, address)
        await nonces.read(connection, nonce, value)
    return True


async def _opening_cost(parts: WorkerParts, wallet: Wallet, nonce: Nonce) -> int:
    """Return rent and fee; the most it can be where the chain does not tell.

    What is booked too much comes back as an inflow; too little would show money that is not there.
    """
    status = await parts.node.status(nonce.opening_id) if nonce.opening_id else None
    fee = wallet.maximum_fee if status is None or status.fee is None else status.fee
    return await parts.node.minimum_rent(NONCE_SPACE) + fee


async def _open(parts: WorkerParts, wallet: Wallet, nonce: Nonce) -> bool:
    if nonce.opening_transaction is None or nonce.opening_id is None:
        return await _sign_opening(parts, wallet, nonce)
    if not nonce.acknowledged:  # by the watchtower
        return False
    status = await parts.node.status(nonce.opening_id)
    if status is None:
        try:
            await parts.node.send(nonce.opening_transaction)
        except NodeError:
            raise
        except ChainError as error:
            log.warning("nonce account not opened", index=nonce.index, reason=str(error))
            async with parts.database.transaction() as connection:
                wait = await nonces.opening_may_land(connection, nonce, BLOCKHASH_SECONDS)
            if not wait:
                await _forget(parts, nonce, 0)
    elif status.err and status.fee is not None:
        await _forget(parts, nonce, status.fee)
    return False


async def _forget(parts: WorkerParts, nonce: Nonce, fee: int) -> None:
    """Make room for another attempt; a failed one has cost its fee."""
    async with parts.database.transaction() as connection:
        if not await nonces.unchanged(connection, nonce):
            return
        if fee:
            reference = nonce.opening_id or ""
            await balances.book(connection, nonce.wallet, "fee", -fee, reference)
        await nonces.opening(connection, nonce, None, nonce.reserved)


async def _sign_opening(parts: WorkerParts, wallet: Wallet, nonce: Nonce) -> bool:
    rent = await parts.node.minimum_rent(NONCE_SPACE)
    blockhash = await parts.node.latest_blockhash()
    funded = await _set_aside(parts, nonce, rent + wallet.maximum_fee)
    if funded is None:
        return False
    job = wire.NonceOpen(
        wallet=wallet.name,
        index=nonce.index,
        blockhash=blockhash,
        rent=rent,
        budget=wire.ComputeBudget(unit_limit=parts.fee.unit_limit, unit_price=parts.fee.unit_price),
    )
    (result,) = await parts.gateway.ask([wire.Job(nonce_open=job)])
    if result.WhichOneof("outcome") != "signed":
        refusal = refusal_of(result.refusal)
        log.warning("nonce account refused", code=refusal.code, words=refusal.message)
        now = unix_ms()
        async with parts.database.transaction() as connection:
            seconds = waits.pause(refusal, now + _PAUSE_MAX_MS, now)
            await nonces.postpone(connection, nonce, seconds)
        return False
    transaction = result.signed.transaction
    name = solana_checks.check_nonce_open(
        transaction,
        wallet=wallet.address,
        index=nonce.index,
        blockhash=blockhash,
        rent=rent,
        maximum_fee=wallet.maximum_fee,
    )
    require_upkeep_receipt(result, [wallet], name)
    async with parts.database.transaction() as connection:
        if not await nonces.unchanged(connection, funded):
            return False
        opening = Opening(transaction, name, result.receipt)
        await nonces.opening(connection, funded, opening, funded.reserved)
    return True


async def _set_aside(parts: WorkerParts, nonce: Nonce, need: int) -> Nonce | None:
    """Return the account with `need` reserved for its opening; None when that is not free."""
    if nonce.reserved:
        return nonce
    async with parts.database.transaction() as connection:
        if not await nonces.unchanged(connection, nonce):
            return None
        if not await balances.reserve(connection, nonce.wallet, need):
            return None
        await nonces.opening(connection, nonce, None, need)
    return replace(nonce, reserved=need)
