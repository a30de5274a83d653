"""Hands receipts to the watchtower. What one covers goes to the chain once it is acknowledged."""

import structlog

from custody.flows import checks
from custody.flows.parts import WorkerParts
from custody.store import receipts
from custody.store.receipts import Held
from custody.watchtower_client import WatchtowerUnreachableError
from policies.codes import Refusal
from policies.receipts import statement_of
from policies.statements import Ack, Signed, digest, encode, verify

BATCH = 64
AGAIN_SECONDS = 1.5
_NEXT = (
    "look at the watchtower (custody watchtower status) and `watchtower` in the worker's settings"
)
log = structlog.get_logger()


async def hand_over(parts: WorkerParts) -> bool:
    """Hand over what is not acknowledged yet; True when the watchtower took any."""
    async with parts.database.transaction() as connection:
        key = await checks.watchtower_key(connection)
        held = await receipts.unacknowledged(connection, BATCH)
    if isinstance(key, Refusal) or not held:
        return False
    try:
        acks = await parts.watchtower.submit_receipts([item.receipt for item in held])
    except WatchtowerUnreachableError as error:
        log.warning("receipts not handed over", reason=str(error), next=_NEXT)
        acks = [None] * len(held)
    taken = [item for item, ack in zip(held, acks, strict=True) if ack and _is_ack(key, item, ack)]
    async with parts.database.transaction() as connection:
        for item in taken:
            await receipts.acknowledge(connection, item)
        await receipts.put_off(connection, [i for i in held if i not in taken], AGAIN_SECONDS)
    return bool(taken)


def _is_ack(key: str, held: Held, signed: Signed) -> bool:
    named = digest(statement_of(held.receipt))
    expected = encode(Ack(key=key, receipt=named))
    if signed.statement == expected and verify(key, signed):
        return True
    log.error("not the watchtower's acknowledgement of this receipt", receipt=named, next=_NEXT)
    return False
