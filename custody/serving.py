"""A gRPC server of ours: mutual TLS, roles and limits before any handler, health, reflection.

gRPC itself limits what connections take; custody.limits what identities do.
"""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from custody.identity import Denied, RoleInterceptor
from custody.limits import LimitInterceptor, Limits
from custody.tls import MESSAGE_BYTES_MAX, TlsFiles

# More than one identity may open: gRPC breaks off what is above it, custody.limits says why.
STREAMS_PER_CONNECTION = 100


async def build_server(
    listen: str,
    tls: TlsFiles,
    denied: Denied,
    shown: Sequence[str] = (),
    limits: Limits | None = None,
) -> tuple[grpc.aio.Server, int, health.aio.HealthServicer]:
    """Return a server that is not started yet, its port and its health; OSError when it cannot.

    `listen`: host:port, port 0 for a free one; `denied` hears of calls by a wrong role
    or above a limit; `shown`: full names of the services that health and reflection tell of. Add
    the servicers, then start it.
    """
    limits = limits or Limits()
    interceptors = [RoleInterceptor(denied), LimitInterceptor(limits, denied)]
    server = grpc.aio.server(interceptors=interceptors, options=_options(limits))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", *shown):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    names = (*shown, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    try:
        return server, server.add_secure_port(listen, tls.server_credentials()), checks
    except RuntimeError as error:
        words = "is the port free, and is tls.key the key of tls.certificate?"
        raise OSError(f"cannot listen on {listen}: {words}") from error


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
        ("grpc.http2.bdp_probe", 0),  # windows of 64 KiB do not grow with what a client sends
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", limits.handshake_seconds * 1_000),
        ("grpc.max_connection_idle_ms", limits.idle_seconds * 1_000),
        ("grpc.keepalive_time_ms", limits.silent_seconds * 1_000),
        ("grpc.http2.max_pings_without_data", 0),  # else quiet streams are asked less often
        ("grpc.http2.ping_timeout_ms", limits.silent_seconds * 1_000),
        ("grpc.keepalive_timeout_ms", limits.silent_seconds * 1_000),  # TCP's acknowledgements
        ("grpc.max_connection_age_ms", limits.connection_seconds * 1_000),
        ("grpc.max_connection_age_grace_ms", limits.request_seconds * 1_000),
    ]
