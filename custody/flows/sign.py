"""QUEUED → SIGNING → SIGNED: set funds and a nonce aside, ask the signer, check what it built.

SIGNING is left only by an answer. After a crash or a lost reply the worker asks again with the same
parameters, and the signer gives the same bytes.
"""

import structlog

from custody.chains import solana_checks
from custody.chains.errors import SignerMismatchError
from custody.domain.states import Event, State, Waiting
from custody.flows import checks
from custody.flows.parts import WorkerParts, unix_ms
from custody.gateway import SignerUnreachableError
from custody.store import balances, nonces, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy, Wallet

BATCH = 16
FUNDS_SECONDS = NONCE_SECONDS = SIGNER_SECONDS = 1.0
ACTOR = "worker"
log = structlog.get_logger()


async def claim(parts: WorkerParts) -> bool:
    """Move due QUEUED withdrawals on; True when any moved."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        if isinstance(policy, Refusal):
            return False
        rows = await withdrawals.due(connection, State.QUEUED, BATCH, lock=True)
        for row in rows:
            await _claim(connection, policy, row, parts.fee.unit_price)
    return bool(rows)


async def ask(parts: WorkerParts) -> bool:
    """Ask the signer about every SIGNING withdrawal; True when it answered any."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        rows = await withdrawals.due(connection, State.SIGNING, BATCH)
        if isinstance(policy, Refusal) or not rows:
            return False
        jobs = [await _job(connection, policy, row, parts.fee.unit_limit) for row in rows]
    try:
        results = await parts.gateway.ask(jobs)
    except SignerUnreachableError as error:
        async with parts.database.transaction() as connection:
            for row in rows:
                await withdrawals.postpone(connection, row, Waiting.SIGNER, SIGNER_SECONDS)
        log.warning("signer not reached", reason=str(error), next="trying again")
        return False
    for row, result in zip(rows, results, strict=True):
        async with parts.database.transaction() as connection:
            await _take(connection, policy, row, result)
    return True


async def _claim(connection: Connection, policy: Policy, row: Row, unit_price: int) -> None:
    approvals = await withdrawals.approvals(
        connection, row.digest, policy=policy.digest, now=unix_ms()
    )
    verdict = await checks.verdict(connection, row.signed, approvals, unix_ms())
    if isinstance(verdict, Refusal):
        await refuse(connection, row, "custody", verdict)
        return
    need = row.amount + policy.wallets[row.wallet].maximum_fee
    if not await balances.reserve(connection, row.wallet, need):
        await withdrawals.postpone(connection, row, Waiting.FUNDS, FUNDS_SECONDS)
        return
    nonce = await nonces.take(connection, row.wallet, row.digest, row.nonce)
    if nonce is None:
        await balances.release(connection, row.wallet, need)
        await withdrawals.postpone(connection, row, Waiting.NONCE, NONCE_SECONDS)
        return
    index, value = nonce
    await withdrawals.move(
        connection,
        row,
        Event.RESERVED,
        ACTOR,
        reserved=need,
        nonce_index=index,
        nonce_value=value,
        unit_price=unit_price,
    )


async def _job(connection: Connection, policy: Policy, row: Row, unit_limit: int) -> wire.Job:
    approvals = await withdrawals.approvals(
        connection, row.digest, policy=policy.digest, now=unix_ms()
    )
    transfer = wire.Transfer(
        intent=wire.SignedStatement(statement=row.statement, signature=row.signature),
        approvals=[
            wire.SignedStatement(statement=item.statement, signature=item.signature)
            for item in approvals
        ],
        solana=wire.SolanaParameters(
            nonce_index=row.nonce_index,
            nonce_value=row.nonce_value,
            budget=wire.ComputeBudget(unit_limit=unit_limit, unit_price=row.unit_price),
        ),
    )
    return wire.Job(transfer=transfer)


async def _take(connection: Connection, policy: Policy, row: Row, result: wire.Result) -> None:
    outcome = result.WhichOneof("outcome")
    if outcome == "refusal":
        refusal = _refusal(result.refusal)
        log.info("signer refused", withdrawal=row.digest, code=refusal.code, words=refusal.message)
        await refuse(connection, row, "signer", refusal)
        return
    transaction, wallet = result.signed.transaction, policy.wallets[row.wallet]
    try:
        nonce = _nonce_of(wallet, row, result.signed)
        name = _checked(wallet, row, transaction, nonce)
    except SignerMismatchError as error:
        # No answer to what was asked: nothing is broadcast, nothing freed, and it is asked again.
        log.critical("signer built something else", withdrawal=row.digest, words=str(error))
        await withdrawals.postpone(connection, row, Waiting.SIGNER, SIGNER_SECONDS)
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


async def refuse(connection: Connection, row: Row, by: str, refusal: Refusal) -> None:
    """End the withdrawal, or send it back to wait, and free what was set aside for it.

    It remembers the nonce that the signer was asked with (see nonces.take), unless that was used.
    """
    event, waiting = _event(State(row.state), refusal.code)
    await withdrawals.postpone(connection, row, waiting, SIGNER_SECONDS)
    if event is None:
        return
    columns = {**withdrawals.refusal_columns(by, refusal), "reserved": 0, "waiting_for": waiting}
    if refusal.code is Code.NONCE_USED:
        columns |= {"nonce_index": None, "nonce_value": None}
    # Moved first: whoever loses the race for the state frees nothing a second time.
    await withdrawals.move(connection, row, event, by, **columns)
    if row.state == State.SIGNING:
        await balances.release(connection, row.wallet, row.reserved)
        await nonces.give_back(connection, row.digest)


def _event(state: State, code: Code) -> tuple[Event | None, Waiting]:
    match code:
        case Code.APPROVALS_MISSING | Code.APPROVALS_STALE:
            return Event.APPROVALS_LAPSED, Waiting.NOTHING
        case Code.APPROVAL_REJECTED:
            return Event.REJECT, Waiting.NOTHING
        case Code.INTENT_EXPIRED:
            return Event.EXPIRE, Waiting.NOTHING
        case _ if code.waits:
            waiting = Waiting.NONCE if code is Code.NONCE_USED else Waiting.SIGNER
            return (Event.RETURNED if state is State.SIGNING else None), waiting
        case _:
            return Event.BLOCK, Waiting.NOTHING


def _refusal(refusal: wire.Refusal) -> Refusal:
    code = Code(refusal.code) if refusal.code in set(Code) else Code.JOB_MALFORMED
    return Refusal(code, refusal.message, refusal.rule, refusal.field)
