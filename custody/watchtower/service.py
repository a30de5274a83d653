"""The watchtower's own RPCs. Each returns its response or a Refusal, and never raises.

What is answered is on the disk. Roles are checked before any method runs.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import grpc
import structlog

from custody import tracing
from custody.chains.errors import ChainError
from custody.errors import abort
from custody.gateway import SignerUnreachableError
from custody.identity import Identity, caller
from custody.watchtower import freezes, receipts, recoveries, rejections, signers, versions
from custody.watchtower.alarms import Alarms
from custody.watchtower.counters import RECEIPTS, REFUSED
from custody.watchtower.leases import SignerError, deliver, look
from custody.watchtower.parts import Chain, Link, Parts
from custody.watchtower.receipts import SignedTwiceError
from custody.watchtower.status import status
from kura.watchtower.v1 import watchtower_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2_grpc
from policies.codes import Code, Refusal
from policies.receipts import ReceiptError, open_receipt, statement_of
from policies.statements import Ack, Receipt, Signed, digest

ITEMS_MAX = 500
DELIVER_SECONDS = 3.0  # a client waits for 10: what is on the disk is told in time
AT_A_TIME = 4  # receipts checked, some ms, before the chain has its turn
T = TypeVar("T")
_AWAY = (SignerUnreachableError, SignerError)
_FOLLOWS_ANOTHER = frozenset({Code.EPOCH_PASSED, Code.POLICY_OUT_OF_ORDER, Code.APPROVALS_STALE})
_FAULT = Refusal(Code.FAULT, "the watchtower met a fault and wrote it to its log")
log = structlog.get_logger()


async def denied(identity: Identity | None, method: str, code: Code, rule: str) -> None:
    """Hear of a call that was refused."""
    REFUSED.labels(code).inc()
    who = identity.uri if identity else ""
    log.warning("call refused", caller=who, method=method, code=code, rule=rule)


def answering(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Serve a method that takes its request and returns its response or a Refusal."""
    name = method.__name__

    @functools.wraps(method)
    async def serve(self: "Service", request: Any, context: grpc.aio.ServicerContext) -> Any:
        parent = dict(context.invocation_metadata() or ()).get("traceparent", "")
        try:
            with tracing.span(name, str(parent)):
                answer = await method(self, request)
        except ChainError as error:
            answer = Refusal(Code.NODE_UNREACHABLE, f"the chain cannot be read: {error}")
        except Exception:
            log.exception("fault", method=name)
            answer = _FAULT
        if isinstance(answer, Refusal):
            await denied(caller(context), name, answer.code, answer.rule)
            await abort(context, answer)
        return answer

    return serve


class Service(watchtower_pb2_grpc.WatchtowerServicer):
    """Serves kura.watchtower.v1.Watchtower."""

    def __init__(self, parts: Parts, chain: Chain, alarms: Alarms) -> None:
        self._parts, self._chain, self._alarms = parts, chain, alarms
        self._turn = asyncio.Lock()  # receipts are checked one call after the other
        self._looking = asyncio.Lock()  # old orders, sent by the hundred, leave the signers free

    @answering
    async def SubmitReceipts(  # noqa: N802 - gRPC's name
        self, request: wire.SubmitReceiptsRequest
    ) -> wire.SubmitReceiptsResponse | Refusal:
        """Store receipts, all in one transaction, then acknowledge them."""
        if refusal := _too_many(request.receipts, "receipts"):
            return refusal
        async with self._turn:
            return await self._take(request.receipts)

    async def _take(self, given: Sequence[bytes]) -> wire.SubmitReceiptsResponse:
        opened = [self._opened(data) async for data in _in_turns(given)]
        twice: dict[int, SignedTwiceError] = {}
        with self._parts.database.transaction() as db:
            for place, (receipt, data) in enumerate(zip(opened, given, strict=True)):
                if receipt is None:
                    continue
                try:
                    receipts.store(db, receipt, data)
                except SignedTwiceError as error:
                    twice[place] = error
                    continue
                where = (receipt.key, receipt.journal, receipt.sequence, receipt.head)
                signers.see(db, *where)
        for place, conflict in twice.items():
            if receipt := opened[place]:
                signers.lose(self._parts, receipt.key, str(conflict))
        taken = [
            data if receipt and place not in twice else b""
            for place, (receipt, data) in enumerate(zip(opened, given, strict=True))
        ]
        acks = [
            self._ack(data) if data else wire.SignedStatement() async for data in _in_turns(taken)
        ]
        return wire.SubmitReceiptsResponse(acks=acks)

    @answering
    async def GetDeadTransactions(  # noqa: N802
        self, request: wire.GetDeadTransactionsRequest
    ) -> wire.GetDeadTransactionsResponse | Refusal:
        """Say which transactions can never land."""
        names = request.transaction_ids
        if refusal := _too_many(names, "transaction_ids"):
            return refusal
        key = self._parts.key
        dead = receipts.dead(self._parts.database, key.public, list(names))
        words = [_sealed(key.sign(word)) if word else wire.SignedStatement() for word in dead]
        return wire.GetDeadTransactionsResponse(dead=words)

    @answering
    async def CreateFreeze(  # noqa: N802
        self, request: wire.CreateFreezeRequest
    ) -> wire.CreateFreezeResponse | Refusal:
        """Store one officer's freeze, then hand it to every connected signer."""
        signed = _signed(request.freeze)
        concerned = await self._again(lambda: freezes.freeze(self._parts, signed))
        if isinstance(concerned, Refusal):
            return concerned
        await self._deliver(concerned)
        waiting = [name for key in concerned for name, _ in freezes.pending(self._parts, key)]
        name = digest(request.freeze.statement)
        log.warning("frozen", freeze=name, signers=concerned, applied=name not in waiting)
        return wire.CreateFreezeResponse(applied=name not in waiting)

    @answering
    async def LiftFreezes(  # noqa: N802
        self, request: wire.LiftFreezesRequest
    ) -> wire.LiftFreezesResponse | Refusal:
        """Store a quorum's lift, then hand it to every connected signer."""
        orders = [_signed(order) for order in request.orders]
        concerned = await self._again(lambda: freezes.lift(self._parts, orders))
        if isinstance(concerned, Refusal):
            return concerned
        await self._deliver(concerned)
        waits = freezes.waits_for_lift(self._parts, orders, concerned)
        log.warning("freezes lifted", signers=concerned, applied=not waits)
        return wire.LiftFreezesResponse(applied=not waits)

    @answering
    async def CreatePolicyVersion(  # noqa: N802
        self, request: wire.CreatePolicyVersionRequest
    ) -> wire.CreatePolicyVersionResponse | Refusal:
        """Note a version; hand it over when it only tightens, else say when its delay is over."""
        changes = [_signed(change) for change in request.changes]
        known = await self._again(lambda: versions.propose(self._parts, request.file, changes))
        if isinstance(known, versions.Proposal) and (concerned := self._lacking(known)):
            await self._deliver(concerned)
            known = versions.propose(self._parts, request.file, changes)  # in force by now?
        if isinstance(known, Refusal):
            return known
        if known is None:
            return wire.CreatePolicyVersionResponse()
        word = versions.elapsed(self._parts, known)
        return wire.CreatePolicyVersionResponse(
            earliest_time=known.earliest, elapsed=_sealed(word) if word else None
        )

    @answering
    async def CreateVeto(  # noqa: N802
        self, request: wire.CreateVetoRequest
    ) -> wire.CreateVetoResponse | Refusal:
        """Store a veto; the signers are told at once."""
        taken = versions.veto(self._parts, _signed(request.veto))
        if isinstance(taken, Refusal):
            return taken
        veto, new = taken
        if new:  # anybody can send one again that they have seen
            log.warning("policy version vetoed", version=veto.change, person=veto.person)
            self._parts.wake()
        return wire.CreateVetoResponse()

    @answering
    async def CreateRejection(  # noqa: N802
        self, request: wire.CreateRejectionRequest
    ) -> wire.CreateRejectionResponse | Refusal:
        """Store a rejection, then hand it to every connected signer."""
        signed = _signed(request.rejection)
        taken = await self._again(lambda: rejections.reject(self._parts, signed))
        if isinstance(taken, Refusal):
            return taken
        rejection, new = taken
        if new:
            log.warning("rejected", intent=rejection.intent, approver=rejection.approver)
            await self._each(self._parts.links, deliver)
            self._parts.wake()
        return wire.CreateRejectionResponse()

    @answering
    async def CreateRecovery(  # noqa: N802
        self, request: wire.CreateRecoveryRequest
    ) -> wire.CreateRecoveryResponse | Refusal:
        """Let a signer go on with the journal that its quorum named."""
        changes = [_signed(change) for change in request.changes]
        refusal = await recoveries.recover(self._parts, self._chain, request.recover, changes)
        if refusal:
            return refusal
        log.warning("recovery taken", recovery=digest(request.recover))
        self._parts.wake()
        return wire.CreateRecoveryResponse()

    @answering
    async def GetStatus(  # noqa: N802
        self,
        request: wire.GetStatusRequest,  # noqa: ARG002 - gRPC's form
    ) -> wire.GetStatusResponse:
        """Say how everything stands."""
        return status(self._parts, self._chain, self._alarms)

    def _lacking(self, known: versions.Proposal) -> list[str]:
        """Return the connected signers whose policy a version only tightens."""
        of = {key: versions.pending(self._parts, key) for key in self._parts.links}
        return [key for key, pending in of.items() if known in (new for new, _ in pending)]

    async def _again(self, take: Callable[[], T | Refusal]) -> T | Refusal:
        """Take an order; when it follows something else than is known here, ask the signers first.

        What was put in force a moment ago was not heard of yet.
        """
        taken = take()
        if isinstance(taken, Refusal) and taken.code in _FOLLOWS_ANOTHER:
            async with self._looking:
                await self._each(self._parts.links, look)
            taken = take()
        return taken

    async def _deliver(self, audit_keys: Iterable[str]) -> None:
        """Hand orders over; who does not answer gets them when its relay is back."""
        await self._each(audit_keys, deliver)
        await self._each(audit_keys, look)  # what it has is in its signed HELLO
        self._parts.wake()

    async def _each(
        self, audit_keys: Iterable[str], ask: Callable[[Parts, Link], Awaitable[object]]
    ) -> None:
        links = [link for key in audit_keys if (link := self._parts.links.get(key))]
        asked = asyncio.gather(*(ask(self._parts, link) for link in links), return_exceptions=True)
        try:
            async with asyncio.timeout(DELIVER_SECONDS):
                results = await asked
        except TimeoutError:  # a relay that is silent, or slow to lie; the next round goes on
            return
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, _AWAY):
                raise result

    def _opened(self, data: bytes) -> Receipt | None:
        try:
            receipt = open_receipt(self._parts.audit_keys, data)
        except ReceiptError as error:
            RECEIPTS.labels("refused").inc()
            log.warning("no receipt", reason=str(error))
            return None
        RECEIPTS.labels("stored").inc()
        return receipt

    def _ack(self, data: bytes) -> wire.SignedStatement:
        key = self._parts.key
        return _sealed(key.sign(Ack(key=key.public, receipt=digest(statement_of(data)))))


def _too_many(items: Collection[Any], field: str) -> Refusal | None:
    if len(items) <= ITEMS_MAX:
        return None
    return Refusal(Code.ARGUMENT_INVALID, f"at most {ITEMS_MAX} at once", field=field)


async def _in_turns(items: Sequence[T]) -> AsyncIterator[T]:
    """Yield them all, what else there is to do having its turn between a few."""
    for place, item in enumerate(items):
        if place % AT_A_TIME == 0:
            await asyncio.sleep(0)
        yield item


def _signed(item: wire.SignedStatement) -> Signed:
    return Signed(item.statement, item.signature)


def _sealed(signed: Signed) -> wire.SignedStatement:
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)
