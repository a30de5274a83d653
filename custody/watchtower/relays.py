"""SignerGateway: each relay that dials in is one signer's link, attended to while it lives."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from custody.gateway import Gateway
from custody.watchtower.leases import attend
from custody.watchtower.parts import Chain, Link, Parts
from kura.gateway.v1 import gateway_pb2, gateway_pb2_grpc


class Relays(gateway_pb2_grpc.SignerGatewayServicer):
    """Serves kura.gateway.v1.SignerGateway."""

    def __init__(self, parts: Parts, chain: Chain) -> None:
        self._parts, self._chain = parts, chain
        self._links: list[Link] = []

    async def Connect(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[gateway_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[gateway_pb2.ConnectResponse]:
        """Serve one relay."""
        link = Link(Gateway())
        self._links.append(link)
        attending = asyncio.create_task(attend(self._parts, self._chain, link))
        try:
            async for frame in link.gateway.Connect(request_iterator, context):
                yield frame
        finally:
            attending.cancel()
            self._links.remove(link)

    def close(self) -> None:
        """End every relay's stream, so that the server can stop."""
        for link in self._links:
            link.gateway.close()
