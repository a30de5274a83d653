"""What one caller may take of a server, so that it takes nothing from the others.

Counted for each certified identity. A call that is refused for its rate, or for too many at once,
was refused on its headers: its request was never read, and nothing is asked of the database but to
note the refusal (custody.call_log: so many a minute).
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from custody.errors import abort
from custody.identity import Denied, Identity, caller
from custody.paging import SIZE_DEFAULT, SIZE_MAX
from policies.codes import Code, Refusal

IDENTITIES_MAX = 1_024
BATCHED_PER_CALL = 10  # so many withdrawals of a batch, or items of a page, are one call more


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one server process; whole numbers from 1. Its settings may change each in `[limits]`."""

    # For each identity. A call is open until its answer was taken or its connection ended.
    calls_per_second: int = 200
    calls_burst: int = 400
    calls_at_once: int = 32
    streams_at_once: int = 8
    # Until a call's request has arrived whole.
    request_seconds: int = 10
    # Of the whole server, and before anybody is certified.
    connections: int = 500
    handshake_seconds: int = 5
    # A connection is closed when nothing was asked on it for so long; when a call is open and the
    # other end is silent for so long, twice; and at this age, whatever it does.
    idle_seconds: int = 120
    silent_seconds: int = 15
    connection_seconds: int = 300


LINK = Limits(connection_seconds=86_400)  # the worker's: the relay's one stream is rarely broken


@dataclass(slots=True)
class Account:
    """One identity's: `tokens` at the time `seen` (seconds), calls and streams that are open."""

    tokens: float
    seen: float
    calls: int = 0
    streams: int = 0


class Accounts:
    """A token bucket and two counts for each identity; times in seconds of one clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: dict[str, Account] = {}

    def enter(self, uri: str, now: float, *, stream: bool) -> Refusal | None:
        """Take a place and one call's token; None when both were there. Then `leave` once."""
        account, limits = self._account(uri, now), self._limits
        if account is None:
            return _too_much(f"more than {IDENTITIES_MAX} identities call")
        if stream and account.streams >= limits.streams_at_once:
            return _too_much(f"{uri} has {account.streams} streams open, the most at once")
        if not stream and account.calls >= limits.calls_at_once:
            return _too_much(f"{uri} has {account.calls} calls open, the most at once")
        if refusal := self.pay(uri, 1, now):
            return refusal
        account.streams += stream
        account.calls += not stream
        return None

    def leave(self, uri: str, *, stream: bool) -> None:
        """Give a place back."""
        self._of[uri].streams -= stream
        self._of[uri].calls -= not stream

    def pay(self, uri: str, calls: int, now: float) -> Refusal | None:
        """Take the tokens of so many calls, of a full bucket at most; None when they were there."""
        account, limits = self._of[uri], self._limits
        self._fill(account, now)
        tokens = min(calls, limits.calls_burst)
        if account.tokens < tokens:
            return _too_much(f"{uri} may make {limits.calls_per_second} calls a second")
        account.tokens -= tokens
        return None

    def lend(self, uri: str, calls: int, now: float) -> Refusal | None:
        """Take the tokens of so many calls, below none if need be, but not when they are below.

        How much a page holds is not known before it was read; see `give_back`.
        """
        account = self._of[uri]
        self._fill(account, now)
        if account.tokens < 0:
            return _too_much(f"{uri} may make {self._limits.calls_per_second} calls a second")
        account.tokens -= calls
        return None

    def give_back(self, uri: str, calls: int) -> None:
        """Give back what was lent and not used."""
        account = self._of[uri]
        account.tokens = min(self._limits.calls_burst, account.tokens + calls)

    def _account(self, uri: str, now: float) -> Account | None:
        if uri not in self._of:
            if len(self._of) >= IDENTITIES_MAX:
                self._forget(now)
            if len(self._of) >= IDENTITIES_MAX:
                return None
            self._of[uri] = Account(self._limits.calls_burst, now)
        return self._of[uri]

    def _forget(self, now: float) -> None:
        """Drop the accounts that are as a new one would be."""
        for uri, account in list(self._of.items()):
            self._fill(account, now)
            rested = account.tokens >= self._limits.calls_burst
            if rested and not account.calls and not account.streams:
                del self._of[uri]

    def _fill(self, account: Account, now: float) -> None:
        more = (now - account.seen) * self._limits.calls_per_second
        account.tokens = min(self._limits.calls_burst, account.tokens + more)
        account.seen = now


class LimitInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Holds callers to the limits. Stands behind RoleInterceptor, which knows whom it lets in.

    gRPC reads a single request before it shows a handler who calls. So each method is served as one
    with streamed requests, whatever it is: the same on the wire, and the caller comes first.
    `denied` hears of each refusal.
    """

    def __init__(self, limits: Limits, denied: Denied) -> None:
        self._limits, self._denied = limits, denied
        self._accounts = Accounts(limits)

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the method's handler behind its caller's limits."""
        handler = await continuation(details)
        if handler is None:
            return None
        method = details.method.rpartition("/")[2]
        kind = "{}_{}".format(
            "stream" if handler.request_streaming else "unary",
            "stream" if handler.response_streaming else "unary",
        )
        behaviour = getattr(handler, kind)

        async def unary(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> Any:
            request = await self._admitted(handler, method, requests, context)
            try:
                response = await behaviour(request, context)
            except Exception:  # refused
                self._give_back(request, None, context)
                raise
            self._give_back(request, response, context)
            return response

        async def stream(
            requests: AsyncIterator[Any], context: grpc.aio.ServicerContext
        ) -> AsyncIterator[Any]:
            request = await self._admitted(handler, method, requests, context)
            if inspect.iscoroutinefunction(behaviour):  # it writes its responses itself
                await behaviour(request, context)
                return
            async with aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    yield response

        served = (
            grpc.stream_stream_rpc_method_handler(stream)
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler(unary)
        )
        return served._replace(
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    async def _admitted(
        self,
        handler: Any,
        method: str,
        requests: AsyncIterator[Any],
        context: grpc.aio.ServicerContext,
    ) -> Any:
        """Return what the method is called with; end the call when a limit is reached."""
        identity = caller(context)
        if identity is None:
            raise AssertionError("the role was checked before")
        uri, stream = identity.uri, handler.response_streaming
        if refusal := self._accounts.enter(uri, time.monotonic(), stream=stream):
            await self._refuse(context, identity, method, refusal)
        context.add_done_callback(lambda _: self._accounts.leave(uri, stream=stream))
        if handler.request_streaming:
            return requests
        request = await self._whole(requests)
        if isinstance(request, Refusal):
            await self._refuse(context, identity, method, request)
        batched = len(getattr(request, "requests", ()))
        if refusal := self._accounts.pay(uri, batched // BATCHED_PER_CALL, time.monotonic()):
            await self._refuse(context, identity, method, refusal)
        lent = _page_size(request) // BATCHED_PER_CALL
        if lent and (refusal := self._accounts.lend(uri, lent, time.monotonic())):
            await self._refuse(context, identity, method, refusal)
        return request

    def _give_back(self, request: Any, response: Any, context: grpc.aio.ServicerContext) -> None:
        """Give back what a page was lent and did not hold; of a call broken off, nothing."""
        identity = caller(context)
        if identity and (asked := _page_size(request)):
            shown = response.ListFields() if response else ()
            held = sum(len(value) for field, value in shown if field.message_type)
            unused = asked // BATCHED_PER_CALL - held // BATCHED_PER_CALL
            self._accounts.give_back(identity.uri, max(unused, 0))

    async def _refuse(
        self, context: grpc.aio.ServicerContext, who: Identity, method: str, refusal: Refusal
    ) -> NoReturn:
        await self._denied(who, method, refusal.code, refusal.rule)
        await abort(context, refusal)

    async def _whole(self, requests: AsyncIterator[Any]) -> Any:
        seconds = self._limits.request_seconds
        try:
            async with asyncio.timeout(seconds):
                return await anext(aiter(requests))
        except TimeoutError:
            return _too_much(f"the request did not arrive whole within {seconds} seconds")
        except StopAsyncIteration:
            return Refusal(Code.ARGUMENT_INVALID, "the call carries no request")


def _page_size(request: Any) -> int:
    """Return how many items the page that is asked for may have; 0 when it asks for no page."""
    size = getattr(request, "page_size", None)
    return 0 if size is None else min(max(size, 0) or SIZE_DEFAULT, SIZE_MAX)


def _too_much(words: str) -> Refusal:
    return Refusal(Code.RATE_EXCEEDED, words)
