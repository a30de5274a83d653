"""The wire between worker and relay, over real mutual TLS, with what a test puts at its ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from custody.dev.layout import HOSTS
from custody.dev.pki import Authority
from custody.dev.processes import free_port
from custody.gateway import Gateway, SignerUnreachableError
from custody.identity import Identity, Role
from custody.relay import relay
from custody.serving import build_server
from kura.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from kura.signer.v1 import signer_pb2 as wire
from tests.factories import told_nobody

SECONDS_MAX = 60
Answer = Callable[[gateway_pb2.ConnectResponse], Iterable[gateway_pb2.ConnectRequest]]


@dataclass
class Link:
    """`socket`: where the relay looks for the signer; `port`: the worker's."""

    authority: Authority
    socket: Path
    port: int = field(default_factory=free_port)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Gateway]:
        """A worker that serves a gateway."""
        gateway = Gateway()
        tls = self.authority.issue(Identity(Role.SERVER, "worker"), HOSTS)
        server, _, _ = await build_server(f"127.0.0.1:{self.port}", tls, told_nobody)
        gateway_pb2_grpc.add_SignerGatewayServicer_to_server(gateway, server)
        await server.start()
        try:
            yield gateway
        finally:
            gateway.close()
            await server.stop(0)

    @asynccontextmanager
    async def relay(self) -> AsyncIterator[None]:
        """Our relay."""
        tls = self.authority.issue(Identity(Role.RELAY, "hot-1")).channel_credentials()
        async with running(relay([f"localhost:{self.port}"], tls, self.socket)):
            yield

    @asynccontextmanager
    async def hand_made_relay(self, answer: Answer) -> AsyncIterator[None]:
        """A relay that answers each frame as the test says."""
        replies: asyncio.Queue[gateway_pb2.ConnectRequest] = asyncio.Queue()
        replies.put_nowait(gateway_pb2.ConnectRequest())

        async def sent() -> AsyncIterator[gateway_pb2.ConnectRequest]:
            while True:
                yield await replies.get()

        async def carry(channel: grpc.aio.Channel) -> None:
            async for frame in gateway_pb2_grpc.SignerGatewayStub(channel).Connect(sent()):
                for reply in answer(frame):
                    replies.put_nowait(reply)
            await asyncio.Event().wait()  # let go: it does not dial anew

        async with self.channel(Role.RELAY) as channel, running(carry(channel)):
            yield

    @asynccontextmanager
    async def channel(self, role: Role) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to the worker with a certificate of this role."""
        tls = self.authority.issue(Identity(role, "somebody")).channel_credentials()
        async with grpc.aio.secure_channel(f"localhost:{self.port}", tls) as channel:
            yield channel


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The work runs beside the test; its own end would be an error."""
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def reply(frame: gateway_pb2.ConnectResponse, *digests: str) -> gateway_pb2.ConnectRequest:
    """Return a well-formed answer to a frame."""
    results = [wire.Result(applied=wire.Applied(digest=digest)) for digest in digests]
    whole = wire.Reply(id=frame.id, results=results).SerializeToString()
    return gateway_pb2.ConnectRequest(id=frame.id, reply=whole)


async def ask(gateway: Gateway, *wallets: str) -> list[str]:
    """Ask for as many jobs and return what came back."""
    jobs = [wire.Job(nonce_open=wire.NonceOpen(wallet=wallet)) for wallet in wallets]
    return [result.applied.digest for result in await gateway.ask(jobs)]


async def first_answer(gateway: Gateway, not_yet: str = "no relay is connected") -> str:
    """Ask for one job until the answer, or why there is none, is something else than `not_yet`."""
    async with asyncio.timeout(SECONDS_MAX):
        while not_yet in (answer := await _answer(gateway)):  # noqa: ASYNC110 - others' doing
            await asyncio.sleep(0.01)
        return answer


async def _answer(gateway: Gateway) -> str:
    try:
        (digest,) = await ask(gateway, "hot")
    except SignerUnreachableError as error:
        return str(error)
    return digest
