"""What people decide about a withdrawal: an officer's decision, a requester's cancel."""

from custody.domain.audit import Kind
from custody.domain.states import Event, State
from custody.flows import checks, end
from custody.flows.parts import Parts, unix_ms
from custody.store import audit, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from policies.codes import Code, Refusal
from policies.evaluate import open_intent
from policies.policy import Policy
from policies.statements import Cancel, Signed, StatementError, decode, digest, verify


async def create_approval(
    parts: Parts, officer: str, intent_digest: str, signed: Signed
) -> Row | Refusal:
    """Keep one officer's decision and move the withdrawal when it settles the matter."""
    async with parts.database.transaction() as connection:
        row = await withdrawals.get(connection, intent_digest, lock=True)
        if row is None:
            return _not_found(intent_digest)
        known = await withdrawals.approvals(connection, row.digest)
        if signed in known:
            return row
        if row.state != State.PENDING_APPROVAL:
            return Refusal(Code.TOO_LATE, f"the withdrawal is {row.state}: nobody is asked now")
        policy = await checks.policy_in_force(connection)
        if isinstance(policy, Refusal):  # before it is kept: nothing settles it later
            return policy
        refusal = await _keep(connection, row, officer, signed)
        return refusal or await _settle(connection, policy, row, officer)


async def cancel_withdrawal(
    parts: Parts, requester: str, intent_digest: str, signed: Signed
) -> Row | Refusal:
    """End a withdrawal that its requester takes back before it is being signed."""
    async with parts.database.transaction() as connection:
        row = await withdrawals.get(connection, intent_digest, lock=True)
        if row is None or row.requester != requester:
            return _not_found(intent_digest)
        if State.CANCELLED in {row.state, row.ending}:
            return row
        if row.state not in {State.PENDING_APPROVAL, State.QUEUED}:
            return Refusal(Code.TOO_LATE, f"the withdrawal is {row.state}")
        refusal = await _refuse_cancel(connection, row, signed)
        if refusal:
            return refusal
        subject, name = f"withdrawals/{row.digest}", digest(signed.statement)
        await audit.record(
            connection, Kind.ORDER, "CANCEL", actor=requester, subject=subject, digest=name
        )
        await end.begin(connection, row, Event.CANCEL, requester)
        return await _again(connection, row)


async def _keep(connection: Connection, row: Row, officer: str, signed: Signed) -> Refusal | None:
    intent = checks.open_statement(row.signed)
    if isinstance(intent, Refusal):
        return intent
    opened = await checks.open_decision(connection, intent, row.digest, signed, unix_ms())
    if isinstance(opened, Refusal):
        return opened
    if opened.approver != officer:
        words = f"the certificate is {officer}'s, the approval {opened.approver}'s"
        return Refusal(Code.APPROVAL_INVALID, words, field="approval.approver")
    name = digest(signed.statement)
    await withdrawals.insert_approval(connection, name, signed, opened)
    subject, event = f"withdrawals/{row.digest}", opened.decision.upper()
    await audit.record(connection, Kind.ORDER, event, actor=officer, subject=subject, digest=name)
    return None


async def _settle(connection: Connection, policy: Policy, row: Row, officer: str) -> Row:
    approvals = await checks.approvals(connection, policy, row.digest)
    verdict = await checks.verdict(connection, policy, row.signed, approvals, unix_ms())
    if checks.asks_nobody(verdict):
        await withdrawals.move(connection, row, Event.APPROVED, officer)
    elif isinstance(verdict, Refusal) and verdict.code is Code.APPROVAL_REJECTED:
        await end.begin(connection, row, Event.REJECT, officer, ("custody", verdict))
    return await _again(connection, row)


async def _refuse_cancel(connection: Connection, row: Row, signed: Signed) -> Refusal | None:
    policy = await checks.policy_in_force(connection)
    if isinstance(policy, Refusal):
        return policy
    intent = open_intent(policy, row.signed)
    if isinstance(intent, Refusal):
        return intent
    try:
        cancel = decode(Cancel, signed.statement)
    except StatementError as error:
        field = f"cancel.{error.field}".rstrip(".")
        return Refusal(Code.ARGUMENT_INVALID, str(error), field=field)
    if cancel.key != intent.key or cancel.intent != row.digest or not verify(cancel.key, signed):
        words = "the cancel is not signed by the intent's key, or names another intent"
        return Refusal(Code.SIGNATURE_INVALID, words, field="cancel")
    return None


async def _again(connection: Connection, row: Row) -> Row:
    return await withdrawals.get(connection, row.digest) or row


def _not_found(intent_digest: str) -> Refusal:
    return Refusal(Code.NOT_FOUND, f"there is no withdrawal {intent_digest}", field="name")
