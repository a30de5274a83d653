"""Sign-ins and refused calls in the audit log, bounded for each identity.

A caller who is refused again and again must not fill the log: beyond a minute's share its refusals
are counted, and the next event that is written says how many were left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from custody.domain.audit import Kind
from custody.identity import Identity
from custody.store import audit
from custody.store.database import Database
from policies.codes import Code

SIGN_IN_SECONDS = 3600.0
REFUSALS_A_MINUTE = 30
IDENTITIES_MAX = 10_000
UNKNOWN = "nobody"
log = structlog.get_logger()


@dataclass(slots=True)
class _Caller:
    signed_in: float = field(default=float("-inf"))
    minute: int = 0
    written: int = 0
    left_out: int = 0


class CallLog:
    """Who called, and what was refused, as this process has seen it. Not for two event loops."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._callers: dict[str, _Caller] = {}

    async def signed_in(self, identity: Identity) -> None:
        """Note an identity that this process has not seen for an hour."""
        caller, now = self._caller(identity.uri), self._clock()
        if now - caller.signed_in > SIGN_IN_SECONDS:
            caller.signed_in = now
            await self._record(Kind.SIGN_IN, "SIGN_IN", identity.uri, "")

    async def refused(self, identity: Identity | None, method: str, code: Code, rule: str) -> None:
        """Note a refused call, or that there was one more."""
        uri = identity.uri if identity else UNKNOWN
        caller, minute = self._caller(uri), int(self._clock() // 60)
        if minute != caller.minute:
            caller.minute, caller.written = minute, 0
        if caller.written >= REFUSALS_A_MINUTE:
            caller.left_out += 1
            return
        caller.written += 1
        details = {"rule": rule} if rule else {}
        if caller.left_out:
            details["left_out"], caller.left_out = str(caller.left_out), 0
        await self._record(Kind.REFUSAL, code, uri, method, **details)

    def _caller(self, uri: str) -> _Caller:
        if uri not in self._callers and len(self._callers) >= IDENTITIES_MAX:
            self._callers.pop(next(iter(self._callers)))
        return self._callers.setdefault(uri, _Caller())

    async def _record(
        self, kind: Kind, event: str, actor: str, subject: str, **details: str
    ) -> None:
        try:
            async with self._database.transaction() as connection:
                await audit.record(connection, kind, event, actor=actor, subject=subject, **details)
        except (OperationalError, PoolTimeout) as error:
            log.warning("not in the audit log", kind=kind, event_name=event, reason=str(error))
