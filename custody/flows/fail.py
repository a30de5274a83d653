"""ENDING → FAILED for what was signed: the watchtower says that it never lands, the signer agrees.

A transaction that the chain refused ends so, and one that was killed. Until then its funds stay
reserved. A killed one that landed after all is paid, and completes as any other.
"""

from collections.abc import Sequence
from functools import partial

import structlog

from custody.chains.errors import ChainError
from custody.chains.solana import TransactionStatus
from custody.domain.states import Waiting
from custody.flows import checks, end
from custody.flows.broadcast import landed
from custody.flows.parts import WorkerParts
from custody.flows.rows import alone, isolated
from custody.flows.signature import statement
from custody.gateway import SignerUnreachableError
from custody.store import withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from custody.watchtower_client import WatchtowerUnreachableError
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import Dead, Signed, encode, verify

BATCH = 64
AGAIN_SECONDS = 2.0
REFUSED_SECONDS = 30.0
log = structlog.get_logger()


async def certify(parts: WorkerParts) -> bool:
    """Bring what was signed and is ENDING to its end; True when any moved."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        key = await checks.watchtower_key(connection)
        rows = await withdrawals.due_to_end(connection, BATCH, signed=True)
    if isinstance(policy, Refusal) or isinstance(key, Refusal) or not rows:
        return False
    unlanded = [row for row in rows if not await _look(parts, row)]
    jobs = await _dead(parts, key, unlanded)
    for row in unlanded:
        if row.digest not in jobs:
            await _postpone(parts, row)
    dead = [row for row in unlanded if row.digest in jobs]
    if not dead:
        return len(unlanded) < len(rows)
    try:
        results = await parts.gateway.ask([jobs[row.digest] for row in dead])
    except SignerUnreachableError as error:
        log.warning("signer not reached", reason=str(error), next="trying again")
        for row in dead:
            await _postpone(parts, row, Waiting.SIGNER)
        return False
    for row, result in zip(dead, results, strict=True):
        await alone(parts, row, partial(_take, policy, result))
    return True


async def _look(parts: WorkerParts, row: Row) -> bool:
    """Tell whether a killed one is on the chain finally; then it is booked."""
    if row.fee is not None:  # the chain has refused it
        return False
    async with isolated(parts, row, "look"):
        try:
            status = await parts.node.status(row.transaction_id or "")
        except ChainError as error:
            log.warning("node does not tell", reason=str(error), next="trying again")
            return False
        if status is None or status.commitment != "finalized" or status.fee is None:
            return False
        await alone(parts, row, partial(_landed, status, status.fee))
    return True


async def _landed(status: TransactionStatus, fee: int, connection: Connection, row: Row) -> None:
    await landed(connection, row, status, fee)


async def _dead(parts: WorkerParts, key: str, rows: Sequence[Row]) -> dict[str, wire.Job]:
    """Return the job that ends each withdrawal that the watchtower calls dead, by its digest."""
    if not rows:
        return {}
    try:
        said = await parts.watchtower.dead_transactions([row.transaction_id or "" for row in rows])
    except WatchtowerUnreachableError as error:
        log.warning("watchtower not reached", reason=str(error), next="trying again")
        return {}
    return {
        row.digest: wire.Job(end=wire.End(intent=statement(row.signed), dead=statement(signed)))
        for row, signed in zip(rows, said, strict=True)
        if signed and _is_dead(key, row, signed)
    }


def _is_dead(key: str, row: Row, signed: Signed) -> bool:
    dead = Dead(key=key, intent=row.digest, transaction_id=row.transaction_id or "")
    if signed.statement == encode(dead) and verify(key, signed):
        return True
    log.error("not the watchtower's word that this one is dead", withdrawal=row.digest)
    return False


async def _take(policy: Policy, result: wire.Result, connection: Connection, row: Row) -> None:
    if result.WhichOneof("outcome") == "ended" and result.ended.intent == row.digest:
        await end.certify(connection, policy, row, result.receipt)
        return
    before = result.refusal.code == Code.INTENT_BEFORE_JOURNAL
    said = str(result.refusal) or str(result.WhichOneof("outcome"))
    log.error("not ended by the signer", said=said, next="docs/runbooks/recover.md")
    waiting = Waiting.OPERATOR if before else Waiting.SIGNER
    await withdrawals.postpone(connection, row, waiting, REFUSED_SECONDS)


async def _postpone(parts: WorkerParts, row: Row, waiting: Waiting = Waiting.LEASE) -> None:
    async with parts.database.transaction() as connection:
        await withdrawals.postpone(connection, row, waiting, AGAIN_SECONDS)
