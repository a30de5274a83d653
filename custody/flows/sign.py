"""QUEUED → SIGNING → SIGNED: set funds and a nonce aside, ask the signer, check what it built.

SIGNING is left only by an answer. After a crash or a lost reply the worker asks again with the same
parameters, and the signer gives the same bytes.
"""

from functools import partial

import structlog
from psycopg import Rollback

from custody.domain.states import ENDS, Event, State, Waiting
from custody.flows import checks, end, waits
from custody.flows.parts import WorkerParts, unix_ms
from custody.flows.rows import alone
from custody.flows.signature import refusal_of, statement, take_signature, whole
from custody.gateway import SignerUnreachableError
from custody.store import balances, nonces, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy

BATCH = 16
ACTOR = "worker"
ASKS_PEOPLE = frozenset({Code.APPROVALS_MISSING, Code.APPROVALS_STALE})
# Said by a signer that has no message of before for the same request.
_NOTHING_RESERVED = frozenset({Code.NONCE_USED, Code.CHAIN_PARAMETERS_INVALID})
log = structlog.get_logger()


async def claim(parts: WorkerParts) -> bool:
    """Move due QUEUED withdrawals on; True when any moved."""
    async with parts.database.transaction() as connection:
        rows = await withdrawals.due(connection, State.QUEUED, BATCH)
    claim_one = partial(_claim, parts.fee.unit_price)
    return any([await alone(parts, row, claim_one) for row in rows])


async def ask(parts: WorkerParts) -> bool:
    """Ask the signer about every SIGNING withdrawal; True when it answered any."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        due = await withdrawals.due(connection, State.SIGNING, BATCH)
    if isinstance(policy, Refusal):
        return False
    build = partial(_job, policy, parts.fee.unit_limit)
    built = [(row, await alone(parts, row, build)) for row in due]
    rows, jobs = [row for row, job in built if job], [job for _, job in built if job]
    if not jobs:
        return False
    try:
        results = await parts.gateway.ask(jobs, [row.trace for row in rows])
    except SignerUnreachableError as error:
        async with parts.database.transaction() as connection:
            for row in rows:
                await withdrawals.postpone(connection, row, Waiting.SIGNER, waits.SECONDS)
        log.warning(
            "signer not reached",
            reason=str(error),
            next="trying again",
            withdrawals=[row.digest for row in rows],
        )
        return False
    for row, result in zip(rows, await whole(parts, results), strict=True):
        await alone(parts, row, partial(_take, policy, result))
    return True


async def _claim(unit_price: int, connection: Connection, row: Row) -> bool:
    """Set funds and a nonce aside, or say what it waits for; True when it moved."""
    policy = await checks.policy_in_force(connection)
    if isinstance(policy, Refusal):
        return False
    if stopped := await checks.signer_stopped(connection, policy, row.wallet):
        await refuse(connection, row, "signer", stopped)
        return False
    approvals = await checks.approvals(connection, policy, row.digest)
    verdict = await checks.verdict(connection, policy, row.signed, approvals, unix_ms())
    if isinstance(verdict, Refusal):
        await refuse(connection, row, "custody", verdict)
        return not verdict.code.waits or verdict.code in ASKS_PEOPLE
    async with connection.transaction() as attempt:
        waiting = await _reserve(connection, policy, row, unit_price)
        if waiting:
            raise Rollback(attempt)
    if waiting:
        await withdrawals.postpone(connection, row, waiting, waits.SECONDS)
    return not waiting


async def _reserve(connection: Connection, policy: Policy, row: Row, unit_price: int) -> Waiting:
    """Move to SIGNING with funds and a nonce; return what it waits for when one is not there."""
    wallet = policy.wallets[row.wallet]  # the verdict has found it
    need = row.amount + wallet.maximum_fee
    if not await balances.reserve(connection, wallet.name, need, row.set_aside):
        return Waiting.FUNDS
    pool = wallet.nonce_pool
    nonce = await nonces.take(connection, wallet.name, pool, row.digest, row.nonce)
    if nonce is None:
        return Waiting.NONCE
    index, value = nonce
    await withdrawals.move(
        connection,
        row,
        Event.RESERVED,
        ACTOR,
        reserved=need,
        set_aside=0,
        nonce_index=index,
        nonce_value=value,
        unit_price=unit_price,
        introduce_at=None,
    )
    return Waiting.NOTHING


async def _job(policy: Policy, unit_limit: int, connection: Connection, row: Row) -> wire.Job:
    approvals = await checks.approvals(connection, policy, row.digest)
    transfer = wire.Transfer(
        intent=statement(row.signed),
        approvals=[statement(item) for item in approvals],
        solana=wire.SolanaParameters(
            nonce_index=row.nonce_index,
            nonce_value=row.nonce_value,
            budget=wire.ComputeBudget(unit_limit=unit_limit, unit_price=row.unit_price),
        ),
    )
    return wire.Job(transfer=transfer)


async def _take(policy: Policy, result: wire.Result, connection: Connection, row: Row) -> None:
    outcome = result.WhichOneof("outcome")
    if outcome == "refusal":
        refusal = refusal_of(result.refusal)
        log.info("signer refused", code=refusal.code, words=refusal.message)
        await refuse(connection, row, "signer", refusal)
        return
    await take_signature(connection, policy, row, result)


async def refuse(connection: Connection, row: Row, by: str, refusal: Refusal) -> None:
    """End the withdrawal, or let it wait, and free what was set aside for it.

    It remembers the nonce that the signer was asked with (see nonces.take), unless it is certain
    that the signer reserved nothing with it.
    """
    event, waiting = _event(State(row.state), refusal.code)
    if event in ENDS:
        await end.begin(connection, row, event, by, (by, refusal))
        return
    seconds = waits.pause(refusal, row.expires, unix_ms())
    columns = withdrawals.refusal_columns(by, refusal) | {"set_aside": 0}
    if event is None:
        await withdrawals.postpone(connection, row, waiting, seconds, **columns)
        await balances.put_back(connection, row.wallet, row.set_aside)
        return
    await withdrawals.postpone(connection, row, waiting, seconds)
    columns |= {"reserved": 0, "waiting_for": waiting}
    if refusal.code in _NOTHING_RESERVED:
        columns |= {"nonce_index": None, "nonce_value": None}
    # Moved first: whoever loses the race for the state frees nothing a second time.
    await withdrawals.move(connection, row, event, by, **columns)
    await balances.put_back(connection, row.wallet, row.set_aside)
    if row.state == State.SIGNING:
        await balances.release(connection, row.wallet, row.reserved)
        spent = row.nonce_value if refusal.code is Code.NONCE_USED else None
        await nonces.give_back(connection, row.digest, spent)


def _event(state: State, code: Code) -> tuple[Event | None, Waiting]:
    match code:
        case _ if code in ASKS_PEOPLE:
            return Event.APPROVALS_LAPSED, Waiting.NOTHING
        case Code.APPROVAL_REJECTED:
            return Event.REJECT, Waiting.NOTHING
        case Code.INTENT_EXPIRED:
            return Event.EXPIRE, Waiting.NOTHING
        case _ if code.waits:
            return (Event.RETURNED if state is State.SIGNING else None), waits.waiting_for(code)
        case _:
            return Event.BLOCK, Waiting.NOTHING
