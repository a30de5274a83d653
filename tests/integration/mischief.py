"""What can go wrong around a test's custody: on its wires to signer and node, and with itself.

`LocalGateway` stands for gateway, relay and the signer's socket; `NodeLine` is HTTP to a real node.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from custody.gateway import Gateway, SignerUnreachableError
from kura.signer.v1 import signer_pb2 as wire
from signer.frames import reply_to
from signer.guard import Guard
from tests.integration.local_tower import LocalTower


class Crash(BaseException):
    """The process is gone: no `except Exception` sees it."""


def crash_in(where: type, effect: str, patch: pytest.MonkeyPatch) -> None:
    """Raise Crash as soon as that method has done its work."""
    original = getattr(where, effect)

    def done_and_dead(*arguments: object, **named: object) -> None:
        original(*arguments, **named)
        raise Crash

    patch.setattr(where, effect, done_and_dead)


@dataclass
class LocalGateway(Gateway):
    """Hands jobs to the guard, which `tower` gives a lease first.

    `refuse` and `replies_lost` are used up by transfers.
    `asked` keeps every transfer that the guard was asked for, `shown` those of them that it was
    only shown (they have no chain parameters); `tamper` changes what it signed, and
    `forge` its receipt.
    """

    guard: Guard
    tower: LocalTower
    asked: list[wire.Transfer] = field(default_factory=list)
    shown: list[wire.Transfer] = field(default_factory=list)
    refuse: list[str | wire.Refusal] = field(default_factory=list)
    refuse_shown: list[str] = field(default_factory=list)
    replies_lost: int = 0
    unreachable: bool = False
    tamper: Callable[[bytes], bytes] = bytes
    forge: Callable[[bytes], bytes] = bytes

    async def ask(self, jobs: Sequence[wire.Job], traces: Sequence[str] = ()) -> list[wire.Result]:
        if self.unreachable:
            raise SignerUnreachableError("unplugged by the test")
        await self.tower.renew(self.guard)
        results = [self._answer(job) for job in jobs]
        if self.replies_lost and any(job.transfer.HasField("solana") for job in jobs):
            self.replies_lost -= 1
            raise SignerUnreachableError("the reply was lost")
        return results

    def _answer(self, job: wire.Job) -> wire.Result:
        transfer = job.transfer.HasField("solana")
        if transfer and self.refuse:
            return wire.Result(refusal=_refusal(self.refuse.pop(0)))
        if job.HasField("transfer") and not transfer:
            self.shown.append(job.transfer)
            if self.refuse_shown:
                return wire.Result(refusal=_refusal(self.refuse_shown.pop(0)))
        self.asked += [job.transfer] * transfer
        frame = wire.Request(id=1, jobs=[job]).SerializeToString()
        (result,) = wire.Reply.FromString(reply_to(frame, self.guard.answer)).results
        if result.HasField("signed"):
            result.signed.transaction = self.tamper(result.signed.transaction)
            result.receipt = self.forge(result.receipt)
        return result


def _refusal(refusal: str | wire.Refusal) -> wire.Refusal:
    return wire.Refusal(code=refusal, message="no") if isinstance(refusal, str) else refusal


@dataclass
class NodeLine(httpx.AsyncBaseTransport):
    """The way to the node: `cut`, losing calls or answers once each, or changing their values.

    While `held` is not set nothing goes through; `abandoned` tells that a caller gave up meanwhile.
    """

    cut: bool = False
    held: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    undelivered: list[str] = field(default_factory=list)
    answers_lost: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Its own TLS context, which is not used, would read every CA of the machine.
        self.held.set()
        self._http = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("cut by the test")
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        method = json.loads(request.content)["method"]
        if method in self.undelivered:
            self.undelivered.remove(method)
            raise httpx.ConnectError("not delivered by the test")
        self.calls.append(method)
        response = await self._http.handle_async_request(request)
        answer = json.loads(await response.aread())
        if method in self.answers_lost:
            self.answers_lost.remove(method)
            raise httpx.ReadError("lost by the test")
        if method in self.results:
            answer["result"]["value"] = self.results[method]
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(answer).encode()))

    async def aclose(self) -> None:
        await self._http.aclose()
