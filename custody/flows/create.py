"""CreateWithdrawal: the same bytes give the same withdrawal; what is refused is not written."""

import asyncio
from collections.abc import Sequence
from dataclasses import fields, replace

from custody import tracing
from custody.chains.errors import NodeError
from custody.domain.states import State
from custody.errors import ReusedRefusal
from custody.flows import checks
from custody.flows.parts import Parts, unix_ms
from custody.store import withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from policies.codes import Code, Refusal
from policies.evaluate import Allowed
from policies.fields import AMOUNT_MAX
from policies.statements import Intent, Signed, digest

AT_ONCE = 6


async def create_withdrawal(parts: Parts, requester: str, signed: Signed) -> Row | Refusal:
    """Return the queued withdrawal, or why it was refused."""
    intent = checks.open_statement(signed)
    if isinstance(intent, Refusal):
        return intent
    if intent.requester != requester:
        words = f"the certificate is {requester}'s, the intent {intent.requester}'s"
        return Refusal(Code.REQUESTER_UNKNOWN, words, field="intent.requester")
    async with parts.database.transaction() as connection:
        past = await withdrawals.find(connection, intent.requester, intent.request_id)
        if past:
            return past if past.statement == signed.statement else _reused(past, intent)
        policy = await checks.policy_in_force(connection)
        if isinstance(policy, Refusal):
            return policy
        verdict = await checks.verdict(connection, policy, signed, (), unix_ms())
    state = _first_state(verdict)
    if isinstance(state, Refusal):
        return await _plainer(parts, intent, state)
    problem = await _destination_problem(parts, intent)
    if problem:
        return problem
    async with parts.database.transaction() as connection:
        return await _insert(connection, signed, intent, state)


async def create_withdrawals(
    parts: Parts, requester: str, signed: Sequence[Signed]
) -> list[Row | Refusal]:
    """Return what came of each, in order; a fault of one is a fault of all, to be asked again."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def create(item: Signed) -> Row | Refusal:
        async with turns:
            return await create_withdrawal(parts, requester, item)

    return list(await asyncio.gather(*(create(item) for item in signed)))


def _first_state(verdict: Allowed | Refusal) -> State | Refusal:
    if isinstance(verdict, Allowed) or checks.asks_nobody(verdict):
        return State.QUEUED
    if verdict.code is Code.APPROVALS_MISSING:
        return State.PENDING_APPROVAL
    return replace(verdict, field=f"intent.{verdict.field}") if verdict.field else verdict


async def _plainer(parts: Parts, intent: Intent, refusal: Refusal) -> Refusal:
    """Say that an address is none, rather than that a quorum should allow it."""
    if refusal.code is not Code.DESTINATION_NOT_ALLOWED:
        return refusal
    problem = await _destination_problem(parts, intent)
    return problem if problem and problem.code is Code.DESTINATION_INVALID else refusal


async def _destination_problem(parts: Parts, intent: Intent) -> Refusal | None:
    address, ask = intent.destination.address, parts.node.destination_problem
    try:
        words = await ask(address, intent.amount)
        if words and not await ask(address, AMOUNT_MAX):
            return Refusal(Code.AMOUNT_TOO_SMALL, words, field="intent.amount")
    except NodeError as error:
        return Refusal(Code.NODE_UNREACHABLE, str(error))
    if words:
        return Refusal(Code.DESTINATION_INVALID, words, field="intent.destination.address")
    return None


async def _insert(
    connection: Connection, signed: Signed, intent: Intent, state: State
) -> Row | Refusal:
    await withdrawals.insert(
        connection, digest(signed.statement), signed, intent, state, trace=tracing.current()
    )
    row = await withdrawals.find(connection, intent.requester, intent.request_id)
    if row is None:
        raise AssertionError("an inserted withdrawal is not there")
    return row if row.statement == signed.statement else _reused(row, intent)


def _reused(past: Row, intent: Intent) -> Refusal:
    before = checks.open_statement(past.signed)
    differing = [
        name
        for name in (field.name for field in fields(Intent))
        if isinstance(before, Refusal) or getattr(before, name) != getattr(intent, name)
    ]
    differing = [name for name in differing if name not in {"created", "expires"}] or differing
    words = f"request_id {intent.request_id} was used with another {', '.join(differing)}"
    return ReusedRefusal(
        Code.REQUEST_ID_REUSED,
        words,
        field=f"intent.{differing[0]}",
        name=f"withdrawals/{past.digest}",
    )
