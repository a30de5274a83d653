"""SignerGateway: the relay dials in, and the worker asks the signer through its stream.

Ordering is not promised, answers are: every frame gets a reply or the caller gets
SignerUnreachableError, after which asking again is safe, since the signer signs once.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

import grpc
import structlog
from google.protobuf.message import DecodeError

from kura.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from kura.signer.v1 import signer_pb2 as wire

ANSWER_SECONDS = 10.0
log = structlog.get_logger()


class SignerUnreachableError(Exception):
    """No relay is connected, or the signer did not answer in time or in its own words."""


class Gateway(gateway_pb2_grpc.SignerGatewayServicer):
    """Holds the relay's stream and matches replies with requests."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._outgoing: asyncio.Queue[gateway_pb2.ConnectResponse | None] | None = None
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def Connect(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[gateway_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[gateway_pb2.ConnectResponse]:
        """Serve one relay; a newer stream takes over from an older one."""
        outgoing: asyncio.Queue[gateway_pb2.ConnectResponse | None] = asyncio.Queue()
        self._outgoing = outgoing
        log.info("relay connected", peer=context.peer())
        reader = asyncio.create_task(self._read(request_iterator, outgoing))
        try:
            while (message := await outgoing.get()) is not None:
                yield message
        finally:
            reader.cancel()
            if self._outgoing is outgoing:
                self._outgoing = None
                self._fail_all("the relay disconnected")
            log.info("relay disconnected", peer=context.peer())

    def close(self) -> None:
        """End the relay's stream, so that the server can stop."""
        if self._outgoing:
            self._outgoing.put_nowait(None)

    async def ask(self, jobs: Sequence[wire.Job]) -> list[wire.Result]:
        """Return the signer's results, one per job in order; SignerUnreachableError otherwise."""
        if self._outgoing is None:
            raise SignerUnreachableError("no relay is connected: start custody serve relay")
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        request = wire.Request(id=number, jobs=jobs).SerializeToString()
        self._outgoing.put_nowait(gateway_pb2.ConnectResponse(id=number, request=request))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = wire.Reply.FromString(await answer)
        except TimeoutError:
            self.close()  # a relay that takes nothing keeps no queue; a sound one dials anew
            raise SignerUnreachableError("the signer did not answer in time") from None
        except DecodeError:
            raise SignerUnreachableError("the signer's answer is no reply") from None
        finally:
            del self._waiting[number]
        if reply.fault or reply.id != number or len(reply.results) != len(jobs):
            words = reply.fault or "the answer does not fit the question"
            raise SignerUnreachableError(f"the signer did not take the frame: {words}")
        return list(reply.results)

    async def _read(
        self,
        requests: AsyncIterator[gateway_pb2.ConnectRequest],
        outgoing: asyncio.Queue[gateway_pb2.ConnectResponse | None],
    ) -> None:
        """Hand replies to who waits for them; at the end of the stream, end the other half too."""
        try:
            async for message in requests:
                self._settle(message)
        finally:
            outgoing.put_nowait(None)

    def _settle(self, message: gateway_pb2.ConnectRequest) -> None:
        answer = self._waiting.get(message.id)
        if answer is None or answer.done():
            return
        if message.unreachable:
            answer.set_exception(SignerUnreachableError(message.unreachable))
        else:
            answer.set_result(message.reply)

    def _fail_all(self, words: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(SignerUnreachableError(words))
