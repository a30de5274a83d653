"""Withdrawals, their approvals and their steps. States move by compare-and-swap on the old one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, LiteralString

import structlog
from psycopg.rows import class_row

from custody.domain.audit import Kind
from custody.domain.states import Event, State, Waiting, after
from custody.store import audit
from custody.store.database import Connection
from policies.codes import Refusal
from policies.statements import Approval, Intent, Signed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Row:
    """One withdrawal as stored. Amounts in base units, `expires` in Unix ms."""

    sequence: int
    digest: str
    requester: str
    request_id: str
    statement: bytes
    signature: bytes
    wallet: str
    network: str
    asset: str
    address: str
    memo: str
    amount: int
    expires: int
    state: str
    ending: str
    waiting_for: str
    retry_at: datetime
    reserved: int
    set_aside: int
    nonce_index: int | None
    nonce_value: bytes | None
    unit_price: int
    transaction: bytes | None
    transaction_id: str | None
    fee: int | None
    receipt: bytes | None
    acknowledged: bool
    refused_by: str
    refusal_code: str
    refusal_rule: str
    refusal_message: str
    create_time: datetime
    update_time: datetime
    trace: str

    @property
    def signed(self) -> Signed:
        """The intent as its requester signed it."""
        return Signed(self.statement, self.signature)

    @property
    def nonce(self) -> tuple[int, bytes] | None:
        """The nonce that the signer was asked with last: (index, value)."""
        if self.nonce_index is None or self.nonce_value is None:
            return None
        return self.nonce_index, self.nonce_value


class StaleStateError(Exception):
    """Somebody else moved the withdrawal first: read it again."""


_FILTERS = {
    "requester": "requester",
    "request_id": "request_id",
    "wallet": "wallet",
    "waiting_for": "CASE WHEN state = 'PENDING_APPROVAL' AND waiting_for = ''"
    " THEN 'APPROVALS' ELSE waiting_for END",
}
_LIVE = frozenset(state for state in State if not state.ended)
_IS_LIVE = "state IN ('{}')".format("', '".join(sorted(_LIVE)))
_COLUMNS = ", ".join(field.name for field in fields(Row))
_SELECT = f"SELECT {_COLUMNS} FROM withdrawal"


async def insert(  # noqa: PLR0913 - the row and where it comes from
    connection: Connection,
    digest: str,
    signed: Signed,
    intent: Intent,
    state: State,
    *,
    trace: str = "",
) -> bool:
    """Add a withdrawal; False when (requester, request_id) is taken."""
    values = {
        "digest": digest,
        "requester": intent.requester,
        "request_id": intent.request_id,
        "statement": signed.statement,
        "signature": signed.signature,
        "wallet": intent.wallet,
        "network": intent.network,
        "asset": intent.asset,
        "address": intent.destination.address,
        "memo": intent.destination.memo,
        "amount": intent.amount,
        "expires": intent.expires,
        "state": state,
        "trace": trace,
    }
    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    query = f"INSERT INTO withdrawal ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    cursor = await connection.execute(query, values)
    if cursor.rowcount != 1:
        return False
    await _record(connection, (digest, intent.requester), "CREATED", state, intent.requester)
    return True


async def get(connection: Connection, digest: str, *, lock: bool = False) -> Row | None:
    """Return one withdrawal, locked until the transaction ends when asked."""
    rows = await _rows(connection, "WHERE digest = %s" + " FOR UPDATE" * lock, (digest,))
    return rows[0] if rows else None


async def named(connection: Connection, digests: Sequence[str]) -> dict[str, Row]:
    """Return these withdrawals by digest."""
    rows = await _rows(connection, "WHERE digest = ANY(%s)", (list(digests),))
    return {row.digest: row for row in rows}


async def find(connection: Connection, requester: str, request_id: str) -> Row | None:
    """Return the withdrawal of this request."""
    where = "WHERE requester = %s AND request_id = %s"
    rows = await _rows(connection, where, (requester, request_id))
    return rows[0] if rows else None


async def page(
    connection: Connection,
    before: int,
    size: int,
    states: Sequence[str] = (),
    **equal: str,
) -> list[Row]:
    """Return up to `size` withdrawals below sequence `before`, newest first.

    Only those in one of `states` (none: all) whose columns are `equal`; "" leaves a column out.
    """
    tests, values = ["sequence < %s"], list[Any]([before])
    if equal.get("waiting_for") or (states and _LIVE.issuperset(states)):
        tests.append(_IS_LIVE)  # by its index: past ones are not looked at, and wait for nothing
    if states:
        tests.append("state = ANY(%s)")
        values.append(list(states))
    for name, value in equal.items():
        if value:
            tests.append(f"{_FILTERS[name]} = %s")
            values.append(value)
    where = f"WHERE {' AND '.join(tests)} ORDER BY sequence DESC LIMIT %s"
    return await _rows(connection, where, (*values, size))


async def pending_page(connection: Connection, after_sequence: int, size: int) -> list[Row]:
    """Return up to `size` withdrawals that wait for approvals, oldest first."""
    where = "WHERE state = %s AND sequence > %s ORDER BY sequence LIMIT %s"
    return await _rows(connection, where, (State.PENDING_APPROVAL, after_sequence, size))


async def lock(connection: Connection, row: Row) -> Row | None:
    """Return the row as it is now, locked until the transaction ends.

    None when it has left its state, or when somebody else has it.
    """
    where = "WHERE digest = %s AND state = %s FOR UPDATE SKIP LOCKED"
    rows = await _rows(connection, where, (row.digest, row.state))
    return rows[0] if rows else None


_DUE = "retry_at <= now() ORDER BY retry_at, sequence LIMIT %s"


async def due(connection: Connection, state: State, size: int) -> list[Row]:
    """Return up to `size` withdrawals in `state` that may be tried now, longest untried first.

    So those that wait again and again do not keep the others from their turn.
    """
    return await _rows(connection, f"WHERE state = %s AND {_DUE}", (state, size))


async def due_to_send(connection: Connection, size: int) -> list[Row]:
    """Return up to `size` SIGNED withdrawals whose receipt the watchtower has acknowledged."""
    where = f"WHERE state = %s AND acknowledged AND {_DUE}"
    return await _rows(connection, where, (State.SIGNED, size))


async def due_to_end(connection: Connection, size: int, *, signed: bool) -> list[Row]:
    """Return up to `size` ENDING withdrawals: those that were `signed`, or those that were not.

    A signed one needs its receipt acknowledged: the watchtower speaks only of what it knows.
    """
    where = "WHERE state = %s AND ending <> 'FAILED' AND " + _DUE
    if signed:
        where = "WHERE state = %s AND ending = 'FAILED' AND acknowledged AND " + _DUE
    return await _rows(connection, where, (State.ENDING, size))


async def overdue(connection: Connection, now: int, size: int) -> list[Row]:
    """Return withdrawals that expired before they were signed. `now` in Unix ms."""
    where = "WHERE state = ANY(%s) AND expires <= %s AND retry_at <= now()"
    where += " ORDER BY sequence LIMIT %s"
    states = [State.PENDING_APPROVAL, State.QUEUED]
    return await _rows(connection, where, (states, now, size))


async def move(
    connection: Connection, row: Row, event: Event, actor: str, **changes: object
) -> State:
    """Apply `event` with `changes` of columns; StaleStateError when `row`'s state is past.

    What it waited for and an earlier refusal are past unless `changes` say otherwise.
    """
    state = after(State(row.state), event)
    past = dict.fromkeys(("refused_by", "refusal_code", "refusal_rule", "refusal_message"), "")
    values = {"waiting_for": Waiting.NOTHING, **past, **changes, "state": state}
    sets = ", ".join(f"{name} = %({name})s" for name in values)
    query = f"UPDATE withdrawal SET {sets}, update_time = now()"
    query += " WHERE digest = %(_digest)s AND state = %(_old)s"
    cursor = await connection.execute(
        query,
        {**values, "_digest": row.digest, "_old": row.state},
    )
    if cursor.rowcount != 1:
        raise StaleStateError(f"withdrawal {row.digest} is not {row.state} any more")
    code = str(changes.get("refusal_code", ""))
    await _record(connection, (row.digest, row.requester), event, state, actor, code)
    return state


def reason_of(row: Row) -> dict[str, object]:
    """Return the columns that keep the refusal which `row` has already."""
    return {
        "refused_by": row.refused_by,
        "refusal_code": row.refusal_code,
        "refusal_rule": row.refusal_rule,
        "refusal_message": row.refusal_message,
    }


def refusal_columns(by: str, refusal: Refusal) -> dict[str, object]:
    """Return the columns that keep a refusal."""
    return {
        "refused_by": by,
        "refusal_code": refusal.code,
        "refusal_rule": refusal.rule,
        "refusal_message": refusal.message,
    }


async def postpone(
    connection: Connection, row: Row, waiting: Waiting, seconds: float, **changes: object
) -> None:
    """Note what the withdrawal waits for, and when to try again; its state stays.

    `changes` are of other columns.
    """
    sets = "".join(f", {name} = %({name})s" for name in changes)
    query = (
        "UPDATE withdrawal SET waiting_for = %(_waiting)s, retry_at = now() + %(_pause)s,"
        f" update_time = now(){sets} WHERE digest = %(_digest)s AND state = %(_state)s"
    )
    pause = timedelta(seconds=seconds)
    values = {"_waiting": waiting, "_pause": pause, "_digest": row.digest, "_state": row.state}
    await connection.execute(query, {**changes, **values})


async def unseen(connection: Connection, now: int, size: int) -> list[Row]:
    """Return up to `size` withdrawals that the signer must be shown: they wait for something else.

    Those that are about to be signed are shown by that; what has expired at `now` ends by itself.
    """
    where = (
        "WHERE introduce_at <= now() AND (state = %s AND retry_at <= now()"
        " OR state = %s AND waiting_for NOT IN ('', 'OPERATOR')) AND expires > %s"
        " ORDER BY introduce_at, sequence LIMIT %s"
    )
    return await _rows(connection, where, (State.PENDING_APPROVAL, State.QUEUED, now, size))


async def shown(connection: Connection, row: Row, again: float | None = None) -> None:
    """Note that the signer has seen it; `again`: it has not, show it in so many seconds."""
    pause = None if again is None else timedelta(seconds=again)
    query = (
        "UPDATE withdrawal SET introduce_at = now() + %s::interval, waiting_for ="
        " CASE WHEN state = 'PENDING_APPROVAL' THEN '' ELSE waiting_for END WHERE digest = %s"
    )
    await connection.execute(query, (pause, row.digest))


async def look_again(
    connection: Connection, places: Sequence[tuple[str, str, str]] | None = None
) -> None:
    """Let all that is not being signed be judged anew: a new policy is in force.

    `places`: only what goes to these (network, address, memo).
    """
    query: LiteralString = (
        "UPDATE withdrawal SET retry_at = now(),"
        " introduce_at = CASE WHEN state = 'PENDING_APPROVAL' THEN now() ELSE introduce_at END"
        " WHERE state IN ('PENDING_APPROVAL', 'QUEUED')"
    )
    if not places:
        await connection.execute(query if places is None else query + " AND false")
        return
    query += (
        " AND (network, address, memo) IN (SELECT * FROM"
        " unnest(%s::text[], %s::text[], %s::text[]))"
    )
    await connection.execute(query, [list(column) for column in zip(*places, strict=True)])


async def insert_approval(
    connection: Connection, digest: str, signed: Signed, approval: Approval
) -> None:
    """Keep a decision in place of an earlier one of the same person to the same effect.

    So a person has one approval and one rejection at most, and cannot fill the signer's frame.
    """
    query = (
        "INSERT INTO approval (withdrawal, digest, approver, decision, policy, expires, statement,"
        " signature) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (withdrawal, approver, decision) DO UPDATE SET digest = excluded.digest,"
        " policy = excluded.policy, expires = excluded.expires, statement = excluded.statement,"
        " signature = excluded.signature"
    )
    await connection.execute(
        query,
        (
            approval.intent,
            digest,
            approval.approver,
            approval.decision,
            approval.policy,
            approval.expires,
            signed.statement,
            signed.signature,
        ),
    )


async def approvals(
    connection: Connection, digest: str, *, policy: str = "", now: int = 0
) -> list[Signed]:
    """Return the decisions on one withdrawal, oldest first; those under `policy` valid at `now`."""
    query = (
        "SELECT statement, signature FROM approval WHERE withdrawal = %s"
        " AND (%s = '' OR policy = %s) AND expires > %s ORDER BY sequence"
    )
    cursor = await connection.execute(query, (digest, policy, policy, now))
    return [Signed(*row) for row in await cursor.fetchall()]


async def decisions(
    connection: Connection, digests: Sequence[str]
) -> dict[str, list[tuple[Signed, str, int]]]:
    """Return all decisions by withdrawal, oldest first: (signed, policy, expires in Unix ms)."""
    query = (
        "SELECT withdrawal, statement, signature, policy, expires FROM approval"
        " WHERE withdrawal = ANY(%s) ORDER BY sequence"
    )
    rows = await (await connection.execute(query, (list(digests),))).fetchall()
    found: dict[str, list[tuple[Signed, str, int]]] = {digest: [] for digest in digests}
    for digest, statement, signature, policy, expires in rows:
        found[digest].append((Signed(statement, signature), policy, expires))
    return found


async def _rows(connection: Connection, where: str, values: Sequence[Any]) -> list[Row]:
    async with connection.cursor(row_factory=class_row(Row)) as cursor:
        await cursor.execute(f"{_SELECT} {where}", values)
        return await cursor.fetchall()


async def _record(  # noqa: PLR0913, PLR0917
    connection: Connection,
    of: tuple[str, str],
    event: str,
    state: State,
    actor: str,
    code: str = "",
) -> None:
    """Note a step of the withdrawal `of` (digest, requester)."""
    digest, requester = of
    subject, details = f"withdrawals/{digest}", {"state": str(state)}
    if code:
        details["code"] = code
    of_whom = {"subject": subject, "requester": requester}
    await audit.record(connection, Kind.WITHDRAWAL, event, actor=actor, **of_whom, **details)
    log.info("step", step=event, actor=actor, withdrawal=digest, **details)
