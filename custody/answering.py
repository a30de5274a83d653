"""How a method of the API is served: it returns its response or a Refusal, and never raises.

`answering` turns refusals and faults into rich errors, and lets logs, traces and metrics know.
"""

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog
from psycopg import OperationalError
from psycopg.errors import DiskFull, QueryCanceled
from psycopg_pool import PoolTimeout

from custody import tracing
from custody.call_log import CallLog
from custody.errors import abort
from custody.flows.parts import Parts
from custody.identity import Identity, caller
from custody.metrics import CALLS
from custody.store.database import what_to_do
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.codes import Code, Refusal
from policies.statements import Signed, digest

DATABASE_AWAY = Refusal(Code.DATABASE_UNREACHABLE, "custody's database does not answer")
DATABASE_SLOW = Refusal(
    Code.DATABASE_UNREACHABLE, "custody's database took too long over this: it was given up"
)
DATABASE_FULL = Refusal(Code.DATABASE_UNREACHABLE, "custody's database takes nothing: disk full")
FAULT = Refusal(Code.FAULT, "custody met a fault and wrote it to its log")
_NAME = re.compile(r"([A-Za-z]+)/([0-9a-f]{64})")
log = structlog.get_logger()

Method = Callable[[Any, Any, Identity], Awaitable[Any]]


class Servicer(custody_pb2_grpc.CustodyServicer):
    """What every part of the API works with. Roles are checked before any method runs."""

    def __init__(self, parts: Parts, calls: CallLog) -> None:
        self._parts, self.calls = parts, calls


def answering(method: Method) -> Callable[..., Awaitable[Any]]:
    """Serve a method that takes (request, caller) and returns its response or a Refusal."""

    @functools.wraps(method)
    async def serve(self: "Servicer", request: Any, context: grpc.aio.ServicerContext) -> Any:
        identity = caller(context)
        if identity is None:
            raise AssertionError("the role was checked before")
        await self.calls.signed_in(identity)
        parent = dict(context.invocation_metadata() or ()).get("traceparent", "")
        with structlog.contextvars.bound_contextvars(**_about(request)):
            answer = await _answer(self, method, request, identity, str(parent))
            if isinstance(answer, Refusal):
                if answer.code is not Code.DATABASE_UNREACHABLE:
                    await self.calls.refused(identity, method.__name__, answer.code, answer.rule)
                await abort(context, answer)
        return answer

    return serve


async def _answer(
    servicer: "Servicer", method: Method, request: Any, identity: Identity, parent: str
) -> Any:
    name = method.__name__
    try:
        with tracing.span(name, parent):
            answer = await method(servicer, request, identity)
    except (OperationalError, PoolTimeout) as error:
        answer = away(error)
    except Exception:
        log.exception("fault", method=name, caller=identity.uri)
        answer = FAULT
    CALLS.labels(name, answer.code if isinstance(answer, Refusal) else "OK").inc()
    if isinstance(answer, Refusal):
        log.info("refused", method=name, caller=identity.uri, code=answer.code)
    return answer


def away(error: Exception) -> Refusal:
    """Return what a caller is told of a database that does not answer."""
    log.warning("database not reached", reason=str(error), next=what_to_do(error))
    if isinstance(error, QueryCanceled):
        return DATABASE_SLOW
    return DATABASE_FULL if isinstance(error, DiskFull) else DATABASE_AWAY


def _about(request: Any) -> dict[str, str]:
    """Return the withdrawal that a request is about, which every line of the call then carries."""
    if isinstance(request, wire.CreateWithdrawalRequest):
        return {"withdrawal": digest(request.intent.statement)}
    name = getattr(request, "name", "") or getattr(request, "parent", "")
    digest_named = named_digest(name, "withdrawals", "name")
    return {"withdrawal": digest_named} if isinstance(digest_named, str) else {}


def signed_of(item: wire.SignedStatement) -> Signed:
    """Return a signed statement as the rest of custody takes it."""
    return Signed(item.statement, item.signature)


def named_digest(name: str, kind: str, field: str) -> str | Refusal:
    """Return the digest in a name such as "withdrawals/{digest}" of this kind."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != kind:
        words = f"must be {kind}/ and 64 lower-case hex digits"
        return Refusal(Code.ARGUMENT_INVALID, words, field=field)
    return match[2]
