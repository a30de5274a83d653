"""SIGNED → BROADCASTING → CONFIRMING → COMPLETED, or heading for FAILED. The same bytes each time.

Nothing is sent before the watchtower has acknowledged its receipt, and nothing that is not sent yet
while its wallet is frozen.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from custody.chains import solana_checks
from custody.chains.errors import ChainError, RejectedError
from custody.chains.solana import TransactionStatus
from custody.domain.states import Event, State, Waiting
from custody.flows import checks
from custody.flows.parts import WorkerParts
from custody.flows.rows import alone, isolated
from custody.store import balances, nonces, signers, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from policies.codes import Code, Refusal

BATCH = 32
NODE_SECONDS = 1.0
FROZEN_SECONDS = 2.0
LOOK_SECONDS = 0.3
LOST_AFTER = timedelta(minutes=1)
LOST_SECONDS = 5.0  # between looks at one's nonce on the chain
ACTOR = "worker"
_NEXT = "check the node, and `node` in the worker's settings; trying again"
log = structlog.get_logger()


async def start(parts: WorkerParts) -> bool:
    """Note that signed transactions are about to be sent; True when there were any."""
    async with parts.database.transaction() as connection:
        rows = await withdrawals.due_to_send(connection, BATCH)
    return any([await alone(parts, row, _start) for row in rows])


async def send(parts: WorkerParts) -> bool:
    """Send every BROADCASTING transaction; True when the node took any."""
    async with parts.database.transaction() as connection:
        rows = await withdrawals.due(connection, State.BROADCASTING, BATCH)
    taken = False
    for row in rows:
        async with isolated(parts, row, "send"):
            taken |= await _send(parts, row)
    return taken


async def confirm(parts: WorkerParts) -> bool:
    """Look for every CONFIRMING transaction on the chain; True when any ended."""
    async with parts.database.transaction() as connection:
        rows = await withdrawals.due(connection, State.CONFIRMING, BATCH)
    ended = False
    for row in rows:
        async with isolated(parts, row, "confirm"):
            ended |= await _confirm(parts, row)
    return ended


async def _start(connection: Connection, row: Row) -> bool:
    if await _is_held_back(connection, row):
        return False
    await withdrawals.move(connection, row, Event.BROADCAST, ACTOR)
    return True


async def _is_held_back(connection: Connection, row: Row) -> bool:
    """Have it wait when its wallet is frozen."""
    signer = await signers.latest(connection)
    if not signer or not checks.is_frozen(signer.freezes, row.wallet):
        return False
    await withdrawals.postpone(connection, row, Waiting.FROZEN, FROZEN_SECONDS)
    return True


async def _send(parts: WorkerParts, row: Row) -> bool:
    async with parts.database.transaction() as connection:
        if await _is_held_back(connection, row):
            return False
    try:
        await parts.node.send(row.transaction or b"")
    except ChainError as error:
        await _wait_for_node(parts, row, error)
        return False
    async with parts.database.transaction() as connection:
        await withdrawals.move(connection, row, Event.SENT, ACTOR)
    return True


async def _confirm(parts: WorkerParts, row: Row) -> bool:
    try:
        status = await parts.node.status(row.transaction_id or "")
        if status is None:
            await parts.node.send(row.transaction or b"")
    except ChainError as error:
        await _wait_for_node(parts, row, error)
        return False
    if status is None or status.commitment != "finalized" or status.fee is None:
        looked = status is None and await _free_lost_nonce(parts, row)
        pause = LOST_SECONDS if looked else LOOK_SECONDS
        await _postpone(parts, row, Waiting.NOTHING, pause)
        return False
    async with parts.database.transaction() as connection:
        await landed(connection, row, status, status.fee)
    return True


async def _free_lost_nonce(parts: WorkerParts, row: Row) -> bool:
    """Let others use the account when its value is final and not ours: a node once lied about it.

    Ours has landed and the node forgot it, or it never will: funds and state stay as they are until
    that is known. Only the account must not be held for ever. True when it asked the node: pause
    for LOST_SECONDS then, so that no row asks all the time.
    """
    if datetime.now(UTC) - row.create_time < LOST_AFTER or row.nonce_index is None:
        return False
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        if isinstance(policy, Refusal) or not await nonces.is_held(connection, row.digest):
            return False
        wallets = await checks.wallets_ever(connection, policy, row.wallet)
    if not wallets:
        return False
    wallet = wallets[0].address
    account = solana_checks.nonce_address(wallet, row.nonce_index)
    with suppress(ChainError):  # it is looked at again the next time
        value = await parts.node.nonce_value(account, wallet, "finalized")
        if value is not None and value != row.nonce_value:
            log.error("nonce lost", account=account, next="look for it on another node")
            async with parts.database.transaction() as connection:
                await nonces.give_back(connection, row.digest)
    return True


async def landed(connection: Connection, row: Row, status: TransactionStatus, fee: int) -> None:
    """Book what the chain has done with it, finally. What failed keeps the rest until its end."""
    # Moved first: whoever loses the race for the state books and frees nothing a second time.
    if status.err is None:
        await withdrawals.move(connection, row, Event.FINALISED, ACTOR, fee=fee, ending="")
        await balances.release(connection, row.wallet, row.reserved)
        await balances.book(connection, row.wallet, "withdrawal", -row.amount, row.digest)
        await nonces.give_back(connection, row.digest)
    else:
        refusal = Refusal(Code.TRANSACTION_FAILED, f"the chain says {status.err}")
        reason = withdrawals.refusal_columns("chain", refusal)
        columns = {"fee": fee, "ending": State.FAILED, "reserved": row.reserved - fee, **reason}
        await withdrawals.move(connection, row, Event.FAILED_ON_CHAIN, ACTOR, **columns)
        await balances.release(connection, row.wallet, fee)
    await balances.book(connection, row.wallet, "fee", -fee, row.digest)


async def _wait_for_node(parts: WorkerParts, row: Row, error: ChainError) -> None:
    """Keep everything held: what is signed may land as long as its nonce has its value."""
    log.warning("node does not take it", state=row.state, reason=str(error), next=_NEXT)
    looked = isinstance(error, RejectedError) and await _free_lost_nonce(parts, row)
    await _postpone(parts, row, Waiting.NODE, LOST_SECONDS if looked else NODE_SECONDS)


async def _postpone(parts: WorkerParts, row: Row, waiting: Waiting, seconds: float) -> None:
    async with parts.database.transaction() as connection:
        await withdrawals.postpone(connection, row, waiting, seconds)
