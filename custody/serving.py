"""A gRPC server of ours: mutual TLS, the role checked before any handler, health, reflection."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from custody.identity import RoleInterceptor
from custody.tls import MESSAGE_BYTES_MAX, TlsFiles

OPTIONS = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.so_reuseport", 0))


async def build_server(
    listen: str, tls: TlsFiles, shown: Sequence[str] = ()
) -> tuple[grpc.aio.Server, int]:
    """Return a server that is not started yet, and its port; OSError when it cannot listen.

    `listen`: host:port, port 0 for a free one; `shown`: full names of the services that health and
    reflection tell of. Add the servicers, then start it.
    """
    server = grpc.aio.server(interceptors=[RoleInterceptor()], options=OPTIONS)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", *shown):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    names = (*shown, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    try:
        return server, server.add_secure_port(listen, tls.server_credentials())
    except RuntimeError as error:
        words = "is the port free, and is tls.key the key of tls.certificate?"
        raise OSError(f"cannot listen on {listen}: {words}") from error
