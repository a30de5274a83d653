"""KillWithdrawal: a signed one is never to land; ENDING until that is certain (flows.fail)."""

from custody.domain.audit import Kind
from custody.domain.states import TRANSITIONS, Event, State
from custody.flows import end
from custody.flows.parts import Parts
from custody.store import advances, audit, withdrawals
from custody.store.withdrawals import Row
from policies.codes import Code, Refusal

_KILLABLE = frozenset({State.SIGNED, State.BROADCASTING, State.CONFIRMING})


async def kill_withdrawal(parts: Parts, who: str, intent_digest: str) -> Row | Refusal:
    """Use up the nonce that a signed one stands on; what is being killed already is returned."""
    async with parts.database.transaction() as connection:
        row = await withdrawals.get(connection, intent_digest, lock=True)
        if row is None:
            words = f"there is no withdrawal {intent_digest}"
            return Refusal(Code.NOT_FOUND, words, field="name")
        if State.FAILED in {row.state, row.ending}:
            return row
        if row.state not in _KILLABLE or row.nonce is None:
            words = f"the withdrawal is {row.state}: only what is signed and not paid is killed"
            if (row.state, Event.CANCEL) in TRANSITIONS:
                words += "; its requester cancels it, or an approver rejects it"
            return Refusal(Code.TOO_LATE, words)
        subject = f"withdrawals/{row.digest}"
        await audit.record(connection, Kind.ORDER, "KILL", actor=who, subject=subject)
        killed = Refusal(Code.KILLED, f"{who} killed it")
        await end.begin(connection, row, Event.KILL, who, ("custody", killed))
        await advances.want(connection, row.wallet, *row.nonce)
        return await withdrawals.get(connection, row.digest) or row
