"""The relay: dials each worker, hands each frame to the signer's Unix socket, and each reply back.

It holds no key and no policy, listens on nothing, and never looks inside a frame.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import structlog

from custody import tracing
from kura.gateway.v1 import gateway_pb2, gateway_pb2_grpc

FRAME_BYTES_MAX = 1024 * 1024
SIGNER_SECONDS = 8.0
RECONNECT_SECONDS = 0.5
_LENGTH = struct.Struct(">I")
_NO_SIGNER = "start signer serve and read what it says; the relay tries again by itself"
_NOBODY = "start custody serve worker or watchtower there; the relay dials again by itself"
log = structlog.get_logger()


async def relay(targets: Sequence[str], credentials: grpc.ChannelCredentials, socket: Path) -> None:
    """Carry frames between every worker and the signer for ever, each worker on its own."""
    async with asyncio.TaskGroup() as group:
        for target in targets:
            group.create_task(_serve(target, credentials, socket))


async def _serve(target: str, credentials: grpc.ChannelCredentials, socket: Path) -> None:
    """Reconnect to the worker and to the signer whenever either is gone."""
    while True:
        async with grpc.aio.secure_channel(target, credentials) as channel:
            try:
                await _carry(channel, socket)
            except grpc.aio.AioRpcError as error:
                log.warning(
                    "gateway not reached", gateway=target, reason=error.details(), next=_NOBODY
                )
        await asyncio.sleep(RECONNECT_SECONDS)


async def _carry(channel: grpc.aio.Channel, socket: Path) -> None:
    replies: asyncio.Queue[gateway_pb2.ConnectRequest] = asyncio.Queue()
    replies.put_nowait(gateway_pb2.ConnectRequest())
    signer = Signer(socket)
    try:
        async for frame in gateway_pb2_grpc.SignerGatewayStub(channel).Connect(_each(replies)):
            replies.put_nowait(await _forward(signer, frame))
    finally:
        signer.close()


async def _each(
    replies: asyncio.Queue[gateway_pb2.ConnectRequest],
) -> AsyncIterator[gateway_pb2.ConnectRequest]:
    while True:
        yield await replies.get()


async def _forward(
    signer: "Signer", frame: gateway_pb2.ConnectResponse
) -> gateway_pb2.ConnectRequest:
    try:
        with tracing.spans("ask the signer", frame.traceparents):
            async with asyncio.timeout(SIGNER_SECONDS):
                reply = await signer.call(frame.request)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        signer.close()
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        log.warning("signer not reached", socket=str(signer.path), reason=reason, next=_NO_SIGNER)
        words = f"the relay cannot reach the signer: {reason}"
        return gateway_pb2.ConnectRequest(id=frame.id, unreachable=words)
    return gateway_pb2.ConnectRequest(id=frame.id, reply=reply)


class Signer:
    """One connection to the signer's socket, opened when needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, request: bytes) -> bytes:
        """Send one frame and return the reply's bytes."""
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(str(self.path))
        reader, writer = self._streams
        writer.write(_LENGTH.pack(len(request)) + request)
        await writer.drain()
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > FRAME_BYTES_MAX:
            raise ValueError("the signer's reply is too long")
        return await reader.readexactly(length)

    def close(self) -> None:
        """Drop the connection; the next call opens another."""
        if self._streams:
            self._streams[1].close()
        self._streams = None
