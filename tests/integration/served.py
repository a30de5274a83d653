"""The custody API of a house behind real mutual TLS, and certificates of every kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from custody.api import CustodyServicer
from custody.call_log import CallLog
from custody.cli.serve import CUSTODY
from custody.dev.layout import HOSTS
from custody.dev.pki import Authority
from custody.errors import refusal_of
from custody.flows.parts import Parts
from custody.identity import Identity, Role
from custody.serving import build_server
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2, custody_pb2_grpc
from policies.codes import Refusal

METHODS = custody_pb2.DESCRIPTOR.services_by_name["Custody"].methods_by_name


@dataclass
class Served:
    """A running API. `ran` names each method whose handler was entered."""

    authority: Authority
    target: str
    ran: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def channel(
        self, role: Role, name: str = "somebody", tls: TlsFiles | None = None
    ) -> AsyncIterator[grpc.aio.Channel]:
        credentials = (tls or self.authority.issue(Identity(role, name))).channel_credentials()
        async with grpc.aio.secure_channel(self.target, credentials) as channel:
            yield channel

    @asynccontextmanager
    async def stub(self, role: Role, name: str = "somebody") -> AsyncIterator[Any]:
        async with self.channel(role, name) as channel:
            yield custody_pb2_grpc.CustodyStub(channel)


@asynccontextmanager
async def served(parts: Parts, folder: Path) -> AsyncIterator[Served]:
    """Serve the API as `custody serve api` does, on a free port."""
    authority = Authority(folder)
    tls = authority.issue(Identity(Role.SERVER, "api"), HOSTS)
    calls = CallLog(parts.database)
    server, port, _ = await build_server("127.0.0.1:0", tls, calls.refused, [CUSTODY])
    made = Served(authority, f"localhost:{port}")
    recording = {name: _recorded(name, made.ran) for name in METHODS}
    servicer = type("Recording", (CustodyServicer,), recording)(parts, calls)
    custody_pb2_grpc.add_CustodyServicer_to_server(servicer, server)
    await server.start()
    try:
        yield made
    finally:
        await server.stop(0)


def _recorded(name: str, ran: list[str]) -> Any:
    original = getattr(CustodyServicer, name)

    async def method(self: CustodyServicer, request: Any, context: Any) -> Any:
        ran.append(name)
        return await original(self, request, context)

    async def stream(self: CustodyServicer, request: Any, context: Any) -> AsyncIterator[Any]:
        ran.append(name)
        async for response in original(self, request, context):
            yield response

    return stream if name == "WatchWithdrawals" else method


async def refused(call: Any) -> tuple[grpc.StatusCode, Refusal]:
    """Return the status and the refusal that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else call.read())
    refusal = refusal_of(caught.value)
    assert refusal, caught.value
    return caught.value.code(), refusal


def odd_certificate(authority: Path, folder: Path, *uris: str, signed: bool = True) -> TlsFiles:
    """Return a certificate with these URIs, signed by the authority in a folder, or by itself."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ca.subject if signed else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(ca_key if signed else key, hashes.SHA256())
    files = TlsFiles(authority / "ca.pem", folder / "odd.pem", folder / "odd.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files.key.chmod(0o600)
    return files
