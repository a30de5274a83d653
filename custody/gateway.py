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
WORDS_MAX = 1_000  # characters of each text for people; the signer's own are shorter
FRAMES_MAX = 32  # that wait for the relay; each of the worker's lines asks one at a time
_Outgoing = asyncio.Queue[gateway_pb2.ConnectResponse | None]
log = structlog.get_logger()


class SignerUnreachableError(Exception):
    """No relay is connected, or the signer did not answer in time or in its own words."""


class Gateway(gateway_pb2_grpc.SignerGatewayServicer):
    """Holds the relay's stream and matches replies with requests."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._outgoing: _Outgoing | None = None
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def Connect(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[gateway_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[gateway_pb2.ConnectResponse]:
        """Serve one relay; a newer stream takes over from an older one."""
        outgoing = self._outgoing = _Outgoing(FRAMES_MAX)
        peer = context.peer()  # asked for at the end, when the call is gone, it ends the process
        log.info("relay connected", peer=peer)
        reader = asyncio.create_task(self._read(request_iterator, outgoing))
        try:
            while (message := await outgoing.get()) is not None:
                yield message
        finally:
            reader.cancel()
            self._let_go(outgoing)
            log.info("relay disconnected", peer=peer)

    def close(self) -> None:
        """End the relay's stream, so that the server can stop."""
        if self._outgoing:
            self._let_go(self._outgoing)

    async def ask(self, jobs: Sequence[wire.Job], traces: Sequence[str] = ()) -> list[wire.Result]:
        """Return the signer's results, one per job in order; SignerUnreachableError otherwise."""
        outgoing = self._outgoing
        if outgoing is None:
            raise SignerUnreachableError("no relay is connected: start custody serve relay")
        if outgoing.full():
            raise SignerUnreachableError("the relay takes no more frames: look at its log")
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        request = wire.Request(id=number, jobs=jobs).SerializeToString()
        outgoing.put_nowait(
            gateway_pb2.ConnectResponse(
                id=number, request=request, traceparents=filter(None, traces)
            )
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = wire.Reply.FromString(await answer)
        except TimeoutError:
            self._let_go(outgoing)  # a sound relay dials anew
            raise SignerUnreachableError("the signer did not answer in time") from None
        except DecodeError:
            raise SignerUnreachableError("the signer's answer is no reply") from None
        finally:
            del self._waiting[number]
        if reply.fault or reply.id != number or len(reply.results) != len(jobs):
            words = reply.fault[:WORDS_MAX] or "the answer does not fit the question"
            raise SignerUnreachableError(f"the signer did not take the frame: {words}")
        for result in reply.results:
            if result.HasField("refusal"):
                _shorten(result.refusal)
        return list(reply.results)

    async def _read(
        self,
        requests: AsyncIterator[gateway_pb2.ConnectRequest],
        outgoing: _Outgoing,
    ) -> None:
        """Hand replies to who waits for them; at the end of the stream, end the other half too."""
        try:
            async for message in requests:
                self._settle(message)
        finally:
            self._let_go(outgoing)

    def _settle(self, message: gateway_pb2.ConnectRequest) -> None:
        answer = self._waiting.get(message.id)
        if answer is None or answer.done():
            return
        if message.unreachable:
            answer.set_exception(SignerUnreachableError(message.unreachable[:WORDS_MAX]))
        else:
            answer.set_result(message.reply)

    def _let_go(self, outgoing: _Outgoing) -> None:
        """End a stream: nothing waits for it any more, and it gets nothing more."""
        while not outgoing.empty():
            outgoing.get_nowait()
        outgoing.put_nowait(None)
        if self._outgoing is not outgoing:
            return
        self._outgoing = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(SignerUnreachableError("the relay disconnected"))


def _shorten(refusal: wire.Refusal) -> None:
    """Cut what a relay may have made long: it is logged, kept and shown as it is."""
    for name in ("code", "rule", "field", "message"):
        if len(text := getattr(refusal, name)) > WORDS_MAX:
            setattr(refusal, name, text[:WORDS_MAX])
