"""Uses up nonce values, so that what stands on one and has not landed never can.

One that stands under a killed withdrawal; and after the signer's journal was lost every one of the
pool, since nobody knows what the old journal signed: no lease comes before. Of an advance and a
transfer on the same value one at most lands.
"""

from collections.abc import Sequence

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from custody.chains import solana_checks
from custody.chains.errors import ChainError, NonceUnusableError, SignerMismatchError
from custody.flows import checks
from custody.flows.parts import WorkerParts
from custody.flows.signature import refusal_of, require_upkeep_receipt
from custody.gateway import SignerUnreachableError
from custody.store import advances, balances, nonces, signers
from custody.store.advances import Advance
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Refusal
from policies.policy import Policy, Wallet

LOOK_SECONDS = 1.0
FAULT_SECONDS = 30.0
log = structlog.get_logger()


async def renew_pool(parts: WorkerParts) -> bool:
    """Note every value that a transaction of a lost journal may stand on; True when there was any.

    What has no account yet needs nothing.
    """
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        journals = await signers.journals(connection)
    if isinstance(policy, Refusal):
        return False
    noted = False
    for wallet in policy.wallets.values():
        if journal := journals.get(wallet.signer):
            noted |= await _renew(parts, wallet, journal)
    return noted


async def _renew(parts: WorkerParts, wallet: Wallet, journal: str) -> bool:
    async with parts.database.transaction() as connection:
        indexes = await nonces.of_before(connection, wallet.name, journal)
    for index in indexes:
        account = solana_checks.nonce_address(wallet.address, index)
        try:
            value = await parts.node.nonce_value(account, wallet.address, "finalized")
        except NonceUnusableError:
            value = None  # a stranger's: nothing of ours stands on it
        except ChainError as error:
            log.warning("nonce account not read", index=index, reason=str(error))
            continue
        async with parts.database.transaction() as connection:
            if value is None:
                await nonces.now_of(connection, wallet.name, index, journal)
                continue
            await nonces.forget_value(connection, wallet.name, index)
            fee = wallet.maximum_fee
            aside = fee if await balances.reserve(connection, wallet.name, fee) else 0
            if not await advances.want(connection, wallet.name, index, value, aside):
                await balances.release(connection, wallet.name, aside)
    return bool(indexes)


async def advance(parts: WorkerParts) -> bool:
    """Bring every advance one step on; True when any is done or signed."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        items = await advances.due(connection)
    if isinstance(policy, Refusal):
        return False
    moved = False
    for item in items:
        seconds = LOOK_SECONDS
        try:
            moved |= await _advance(parts, policy, item)
        except SignerMismatchError as error:
            log.critical("signer built something else", index=item.index, words=str(error))
            seconds = FAULT_SECONDS
        except (ChainError, SignerUnreachableError) as error:
            log.warning("nonce not advanced", index=item.index, reason=str(error))
        except (OperationalError, PoolTimeout):
            raise
        except Exception:
            log.exception("fault", index=item.index, next="trying again with the others")
            seconds = FAULT_SECONDS
        async with parts.database.transaction() as connection:
            await advances.postpone(connection, item, seconds)
    return moved


async def _advance(parts: WorkerParts, policy: Policy, item: Advance) -> bool:
    async with parts.database.transaction() as connection:
        wallets = await checks.wallets_ever(connection, policy, item.wallet)
    if not wallets:
        raise SignerMismatchError("wallet", f"no policy ever had {item.wallet}")
    wallet = wallets[0]
    account = solana_checks.nonce_address(wallet.address, item.index)
    value = await parts.node.nonce_value(account, wallet.address, "finalized")
    if value is not None and value != item.value:
        return await _done(parts, wallet, item)
    if item.transaction is None:
        return await _sign(parts, wallets, account, item)
    if item.acknowledged:
        await parts.node.send(item.transaction)
    return False


async def _sign(parts: WorkerParts, wallets: Sequence[Wallet], account: str, item: Advance) -> bool:
    wallet = wallets[0]
    async with parts.database.transaction() as connection:
        journal = (await signers.journals(connection)).get(wallet.signer, "")
    budget = wire.ComputeBudget(unit_limit=parts.fee.unit_limit, unit_price=parts.fee.unit_price)
    job = wire.NonceAdvance(
        wallet=item.wallet, index=item.index, nonce_value=item.value, budget=budget
    )
    (result,) = await parts.gateway.ask([wire.Job(nonce_advance=job)])
    if result.WhichOneof("outcome") != "signed":
        refusal = refusal_of(result.refusal)
        log.warning("advance refused", code=refusal.code, words=refusal.message, index=item.index)
        return False
    name = solana_checks.check_nonce_advance(
        result.signed.transaction,
        wallet=wallet.address,
        nonce_account=account,
        nonce_value=item.value,
        maximum_fee=wallet.maximum_fee,
    )
    require_upkeep_receipt(result, wallets, name)
    async with parts.database.transaction() as connection:
        transaction = result.signed.transaction
        await advances.signed(connection, item, transaction, name, result.receipt, journal)
    return True


async def _done(parts: WorkerParts, wallet: Wallet, item: Advance) -> bool:
    """Book what it has cost, once the chain tells who used the value: we, or the transfer.

    Where a node has lied about the value, the account is not advanced yet: see renew_pool.
    """
    fee, ours = 0, False
    if item.transaction_id is not None:
        status = await parts.node.status(item.transaction_id)
        if status is None:
            fee = 0 if await _used_by_transfer(parts, item) else wallet.maximum_fee
        elif status.commitment != "finalized" or status.fee is None:
            return False
        else:
            fee, ours = status.fee, True
    async with parts.database.transaction() as connection:
        if not await advances.done(connection, item, fee, landed=ours):
            return False
        if ours and (stranded := await nonces.stranded_on(connection, item.wallet, item.index)):
            await nonces.give_back(connection, stranded)
        return True


async def _used_by_transfer(parts: WorkerParts, item: Advance) -> bool:
    """Where nobody is seen to have used it, the fee counts as spent: too much comes back later."""
    async with parts.database.transaction() as connection:
        transfer = await advances.user_of(connection, item)
    return transfer is not None and await parts.node.status(transfer) is not None
