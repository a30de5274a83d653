"""What officers ordered, told to the signer: freezes, policy versions, vetoes; again in time."""

from dataclasses import replace

import structlog

from custody.flows import waits
from custody.flows.housekeeping import read_status
from custody.flows.parts import WorkerParts, unix_ms, within_calendar
from custody.flows.signature import refusal_of, statement
from custody.gateway import SignerUnreachableError
from custody.store import freezes, policy_versions
from custody.store.database import Connection
from custody.store.policy_versions import Progress, VersionRow
from custody.watchtower_client import WatchtowerUnreachableError
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import Signed

AGAIN_SECONDS = 30.0
_DAY_MS = 24 * 3600 * 1000
log = structlog.get_logger()


async def apply_freeze(parts: WorkerParts) -> bool:
    """Tell the signer the oldest freeze, or what lifts some; True when it decided."""
    async with parts.database.transaction() as connection:
        row = await freezes.due(connection)
    if row is None:
        return False
    said = await _ask(parts, wire.Apply.FromString(row.apply))
    if said is None:
        return False
    named = log.bind(digest=row.digest, wallet=row.wallet, people=row.people)
    async with parts.database.transaction() as connection:
        if not isinstance(said, Refusal):
            await freezes.settle(connection, row, Progress.APPLIED)
            named.warning("frozen" if row.wallet else "freezes lifted")
        else:
            state = Progress.PENDING if said.code.waits else Progress.REFUSED
            await freezes.settle(connection, row, state, said, AGAIN_SECONDS)
            named.warning("freeze order refused", code=said.code, words=said.message)
    await read_status(parts)
    return True


async def apply_veto(parts: WorkerParts) -> bool:
    """Tell the signer the oldest veto that it does not have; True when it decided."""
    async with parts.database.transaction() as connection:
        row = await policy_versions.due_veto(connection)
    if row is None:
        return False
    said = await _ask(parts, wire.Apply(veto=statement(row.signed)))
    if said is None:
        return False
    named = log.bind(change=row.change, person=row.person)
    async with parts.database.transaction() as connection:
        if not isinstance(said, Refusal):
            await policy_versions.settle_veto(connection, row, Progress.APPLIED)
            named.info("veto applied")
        else:
            state = Progress.PENDING if said.code.waits else Progress.REFUSED
            await policy_versions.settle_veto(connection, row, state, said, AGAIN_SECONDS)
            named.warning("veto refused", code=said.code, words=said.message)
    await read_status(parts)
    return True


async def apply_policy(parts: WorkerParts) -> bool:
    """Ask the signer about one policy version whose time has come; True when it decided."""
    async with parts.database.transaction() as connection:
        row = await policy_versions.due(connection)
    if row is None:
        return False
    version = wire.PolicyVersion.FromString(row.changes)
    earliest = await _count_delay(parts, version)
    said = await _ask(parts, wire.Apply(policy=version))
    if said is None:
        return False
    async with parts.database.transaction() as connection:
        if isinstance(said, Refusal):
            delayed = said.code is Code.POLICY_DELAYED and earliest
            await _refused(connection, row, replace(said, earliest=earliest) if delayed else said)
        else:
            await policy_versions.settle(connection, row, Progress.APPLIED)
            log.info("policy applied", version=row.version, digest=row.digest)
    await read_status(parts)
    return True


async def _count_delay(parts: WorkerParts, version: wire.PolicyVersion) -> int:
    """Let the watchtower count the delay; put its word into `version` once that is over.

    Return Unix ms at which it is over, 0 when the watchtower does not tell.
    """
    changes = [Signed(item.statement, item.signature) for item in version.changes]
    try:
        delay = await parts.watchtower.policy_version(version.file, changes)
    except WatchtowerUnreachableError as error:
        log.warning("the delay is not counted", reason=str(error), next="trying again")
        return 0
    if delay.elapsed:
        version.elapsed.CopyFrom(statement(delay.elapsed))
    return delay.earliest


async def _refused(connection: Connection, row: VersionRow, refusal: Refusal) -> None:
    log.info("policy not applied", digest=row.digest, code=refusal.code, words=refusal.message)
    state, now, again = Progress.REFUSED, unix_ms(), AGAIN_SECONDS
    earliest = within_calendar(refusal.earliest)
    if refusal.code is Code.POLICY_DELAYED:
        state = Progress.DELAYED
        if earliest:  # once a day at least, since the signer counts only while its host runs
            again = waits.pause(refusal, now + _DAY_MS, now)
    elif refusal.code.waits:
        state, earliest = Progress(row.state), row.earliest
    await policy_versions.settle(connection, row, state, refusal, earliest=earliest, again=again)


async def _ask(parts: WorkerParts, apply: wire.Apply) -> wire.Applied | Refusal | None:
    """Return the signer's answer; None when there was none."""
    try:
        (result,) = await parts.gateway.ask([wire.Job(apply=apply)])
    except SignerUnreachableError:
        return None
    match result.WhichOneof("outcome"):
        case "applied":
            return result.applied
        case "refusal":
            return refusal_of(result.refusal)
    log.error("not an answer to a change", said=str(result.WhichOneof("outcome")))
    return None
