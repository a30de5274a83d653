"""ENDING → CANCELLED, REJECTED, EXPIRED, BLOCKED: only with the signer's receipt of its tombstone.

Until it has put its tombstone there, or answered with a signature of before, what was set aside for
the withdrawal stays so: a withdrawal that only custody calls ended could still be paid.
"""

from functools import partial

import structlog

from custody.domain import receipts
from custody.domain.states import ENDS, Event, State, Waiting
from custody.flows import checks, waits
from custody.flows.parts import WorkerParts
from custody.flows.rows import alone
from custody.flows.signature import statement, take_early, whole
from custody.gateway import SignerUnreachableError
from custody.store import balances, nonces, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.receipts import ReceiptError
from policies.statements import Intent, decode

BATCH = 64
SIGNER_SECONDS = 1.0
REFUSED_SECONDS = 30.0
ACTOR = "signer"
log = structlog.get_logger()


async def begin(
    connection: Connection,
    row: Row,
    event: Event,
    actor: str,
    reason: tuple[str, Refusal] | None = None,
) -> None:
    """Head for the end that `event` leads to; `reason`: who refused it and how, if anybody did."""
    end, _ = ENDS[event]
    refused = withdrawals.refusal_columns(*reason) if reason else {}
    await withdrawals.move(connection, row, event, actor, ending=end, set_aside=0, **refused)
    await balances.put_back(connection, row.wallet, row.set_aside)


async def ask(parts: WorkerParts) -> bool:
    """Ask the signer to end every ENDING withdrawal; True when any moved."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        rows = await withdrawals.due_to_end(connection, BATCH, signed=False)
    if isinstance(policy, Refusal) or not rows:
        return False
    jobs = [wire.Job(end=wire.End(intent=statement(row.signed))) for row in rows]
    try:
        results = await parts.gateway.ask(jobs, [row.trace for row in rows])
    except SignerUnreachableError as error:
        async with parts.database.transaction() as connection:
            for row in rows:
                await withdrawals.postpone(connection, row, Waiting.SIGNER, SIGNER_SECONDS)
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


async def _take(policy: Policy, result: wire.Result, connection: Connection, row: Row) -> None:
    match result.WhichOneof("outcome"):
        case "ended" if result.ended.intent == row.digest:
            await certify(connection, policy, row, result.receipt)
        case "signed":
            await take_early(connection, policy, row, result)
        case "refusal" if result.refusal.code == Code.INTENT_BEFORE_JOURNAL:
            # A recovered signer never signs it, but cannot swear that the lost journal did not.
            log.error("older than the signer's journal", next="docs/runbooks/recover.md")
            await withdrawals.postpone(connection, row, Waiting.OPERATOR, REFUSED_SECONDS)
        case "refusal" if result.refusal.code == Code.LEASE_MISSING:
            # It has just started: the watchtower will confirm its journal in a moment.
            await withdrawals.postpone(connection, row, Waiting.LEASE, waits.SECONDS)
        case outcome:
            said = result.refusal if outcome == "refusal" else outcome
            log.error("not ended by the signer", said=str(said))
            await withdrawals.postpone(connection, row, Waiting.SIGNER, REFUSED_SECONDS)


async def certify(connection: Connection, policy: Policy, row: Row, receipt: bytes) -> None:
    """Arrive at the end that the row heads for, when the receipt is of its tombstone."""
    wallets = await checks.wallets_ever(connection, policy, row.wallet)
    keys, intent = {wallet.signer for wallet in wallets}, decode(Intent, row.statement)
    try:
        said = receipts.require(receipt, keys, receipts.ENDED, intent, digest=row.digest)
    except ReceiptError as error:
        log.critical("no receipt of the tombstone", words=str(error))
        await withdrawals.postpone(connection, row, Waiting.SIGNER, REFUSED_SECONDS)
        return
    end, reason = row.ending, withdrawals.reason_of(row)
    if said.code:  # else who asked for it would take it for the end of the request
        words = f"other bytes with request_id {intent.request_id} may be paid"
        reason = withdrawals.refusal_columns(ACTOR, Refusal(Code(said.code), words))
        end = State.BLOCKED
    certified = next(event for of, event in ENDS.values() if of == end)
    # Moved first: whoever loses the race for the state frees nothing a second time.
    await withdrawals.move(
        connection,
        row,
        certified,
        ACTOR,
        ending="",
        reserved=0,
        receipt=receipt,
        acknowledged=False,
        **reason,
    )
    await balances.release(connection, row.wallet, row.reserved)
    await nonces.give_back(connection, row.digest)
