"""Shows the signer what waits for something else: its delays and coolings count from then.

It is asked for a transfer with neither approvals nor chain parameters, which it cannot sign. What
it refuses for ever ends here, before people spend time on it. A new policy has everything that
waits for people shown again, since it may ask nobody any more, or refuse.
"""

from functools import partial

import structlog

from custody.domain.states import Event, State
from custody.flows import checks, sign
from custody.flows.parts import WorkerParts, unix_ms
from custody.flows.rows import alone
from custody.flows.signature import refusal_of, statement, take_early, whole
from custody.gateway import SignerUnreachableError
from custody.store import withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy

BATCH = 64
AGAIN_SECONDS = 30.0
ACTOR = "worker"
# Refused before the signer noted that it saw it.
_UNSEEN = frozenset(
    {
        Code.JOB_MALFORMED,
        Code.POLICY_MISSING,
        Code.WALLET_NOT_HELD,
        Code.CLOCK_DIFFERS,
        Code.JOURNAL_BEHIND,
        Code.JOURNAL_FOREIGN,
    }
)
log = structlog.get_logger()


async def introduce(parts: WorkerParts) -> bool:
    """Show the signer what it has not seen; True when it answered."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        rows = await withdrawals.unseen(connection, unix_ms(), BATCH)
    if isinstance(policy, Refusal) or not rows:
        return False
    transfers = [wire.Transfer(intent=statement(row.signed)) for row in rows]
    jobs = [wire.Job(transfer=transfer) for transfer in transfers]
    try:
        results = await parts.gateway.ask(jobs, [row.trace for row in rows])
    except SignerUnreachableError:
        return False
    for row, result in zip(rows, await whole(parts, results), strict=True):
        await alone(parts, row, partial(_take, result))
    return True


async def _take(result: wire.Result, connection: Connection, row: Row) -> None:
    policy = await checks.policy_in_force(connection)
    if isinstance(policy, Refusal):
        return
    match result.WhichOneof("outcome"):
        case "refusal":
            await _refused(connection, policy, row, refusal_of(result.refusal))
        case "signed":
            await withdrawals.shown(connection, row, AGAIN_SECONDS)
            await take_early(connection, policy, row, result)
        case outcome:
            log.error("not an answer to what the signer was shown", said=str(outcome))
            await withdrawals.shown(connection, row, AGAIN_SECONDS)


async def _refused(connection: Connection, policy: Policy, row: Row, refusal: Refusal) -> None:
    if not refusal.code.waits:
        log.info("signer refused", code=refusal.code, words=refusal.message)
        await sign.refuse(connection, row, "signer", refusal)
        return
    again = AGAIN_SECONDS if refusal.code in _UNSEEN else None
    await withdrawals.shown(connection, row, again)
    if row.state != State.PENDING_APPROVAL:
        return
    approvals = await checks.approvals(connection, policy, row.digest)
    verdict = await checks.verdict(connection, policy, row.signed, approvals, unix_ms())
    if checks.asks_nobody(verdict):  # under a policy that is newer than it
        await withdrawals.move(connection, row, Event.APPROVED, ACTOR)
