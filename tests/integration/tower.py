"""A watchtower's process with what is around it: a devnet, a signer's host, a relay, officers."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.cli.tower import Watchtower
from custody.dev.layout import HOSTS
from custody.dev.pki import Authority
from custody.dev.processes import free_port
from custody.identity import Identity, Role
from custody.tls import TlsFiles
from kura.watchtower.v1 import watchtower_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2_grpc
from tests.factories import key
from tests.integration.test_devnet import Devnet

SECONDS_MAX = 60.0
T = TypeVar("T")
CUSTODY = str(Path(sys.executable).with_name("custody"))


class Tower:
    """One watchtower's files in `folder`, and its process while it runs."""

    def __init__(self, folder: Path, audit_key: str, **changes: Any) -> None:
        self.folder, self.audit_key, self.port = folder, audit_key, free_port()
        self.metrics = f"127.0.0.1:{free_port()}"
        self.authority = Authority(folder / "pki")
        self.devnet = Devnet(folder / "devnet")
        tls = self.authority.issue(Identity(Role.SERVER, "watchtower"), HOSTS)
        write_key(folder / "key.pem", "watchtower")
        self.data = folder / "watchtower.sqlite"
        values: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "nodes": [self.devnet.ready[2]],
            "key": "key.pem",
            "audit_keys": [audit_key],
            "data": self.data.name,
            "metrics": self.metrics,
        }
        lines = [f"{name} = {shown(value)}" for name, value in {**values, **changes}.items()]
        (folder / "watchtower.toml").write_text("\n".join([*lines, *tls_lines(tls)]))
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and return when it says that it is ready."""
        self.process = self.spawn("watchtower")
        assert self.process.stdout
        ready, lines = f"watchtower ready on 127.0.0.1:{self.port}\n", list[str]()
        while ready not in lines:
            lines.append(self.process.stdout.readline())
            assert lines[-1], lines
        log = (self.folder / "log").open("a")
        self._pump = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=log)
        log.close()

    def spawn(self, name: str) -> subprocess.Popen[str]:
        """Start one of custody's server processes on its settings in our folder."""
        command = [CUSTODY, "serve", name, "--settings", str(self.folder / f"{name}.toml")]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self._pump.wait()
            assert self.process.stdout
            self.process.stdout.close()
        self.process = None

    def close(self) -> None:
        self.kill()
        if self.devnet.process.poll() is None:
            self.devnet.process.send_signal(signal.SIGCONT)
            self.devnet.end(signal.SIGKILL)

    @contextmanager
    def relay(self, path: Path) -> Iterator[None]:
        """A relay's process between the signer's socket at `path` and the watchtower."""
        tls = self.authority.issue(Identity(Role.RELAY, "hot-1"))
        gateways = shown([f"localhost:{self.port}"])
        lines = [f"gateways = {gateways}", f'socket = "{path}"', *tls_lines(tls)]
        (self.folder / "relay.toml").write_text("\n".join(lines))
        process = self.spawn("relay")
        try:
            yield
        finally:
            process.kill()
            process.communicate()

    @contextmanager
    def client(self, role: Role = Role.OFFICER) -> Iterator[Watchtower]:
        """The watchtower as somebody of this role asks it."""
        tls = self.authority.issue(Identity(role, "somebody"))
        with Watchtower(f"localhost:{self.port}", tls, timedelta(seconds=60)) as tower:
            yield tower

    def submit(self, receipts: list[bytes]) -> list[wire.SignedStatement]:
        """Hand receipts over as the worker does; return the acks."""
        with self.stub(Role.SERVER) as stub:
            request = wire.SubmitReceiptsRequest(receipts=receipts)
            return list(stub.SubmitReceipts(request, timeout=60).acks)

    def code_of(self, role: Role, method: str) -> grpc.StatusCode:
        """Call a method with nothing in it; return how the call ended."""
        with self.stub(role) as stub:
            try:
                getattr(stub, method)(getattr(wire, f"{method}Request")(), timeout=60)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    @contextmanager
    def stub(self, role: Role) -> Iterator[Any]:
        """The bare methods, for somebody of this role."""
        credentials = self.authority.issue(Identity(role, "somebody")).channel_credentials()
        with grpc.secure_channel(f"localhost:{self.port}", credentials) as channel:
            yield watchtower_pb2_grpc.WatchtowerStub(channel)

    def send(self, transaction: bytes) -> None:
        """Send a transaction to the chain."""
        encoded = base64.b64encode(transaction).decode()
        options = {"encoding": "base64", "preflightCommitment": "confirmed"}
        self.devnet.call("sendTransaction", [encoded, options])

    def status(self) -> wire.GetStatusResponse:
        with self.client() as tower:
            return tower.get_status()

    def log(self) -> str:
        """Return what it wrote, over all its starts."""
        return (self.folder / "log").read_text()

    def until(
        self, fits: Callable[[wire.GetStatusResponse], bool], seconds: float = SECONDS_MAX
    ) -> wire.GetStatusResponse:
        """Ask for the status until it fits; AssertionError shows the last one that did not."""
        with self.client() as tower:
            return until(tower.get_status, fits, seconds)


def until(ask: Callable[[], T], fits: Callable[[T], object], seconds: float = SECONDS_MAX) -> T:
    """Return the first answer that fits."""
    end = time.monotonic() + seconds
    while not fits(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.05)
    return answer


def leased(status: wire.GetStatusResponse) -> bool:
    """Tell whether the signer has a lease and nothing speaks against the next."""
    return not status.signers[0].problem and bool(status.signers[0].lease_until)


def shown(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return f'"{value}"'


def tls_lines(tls: TlsFiles) -> list[str]:
    files = (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key))
    return ["[tls]", *(f'{name} = "{path}"' for name, path in files), ""]


def write_key(path: Path, name: str) -> None:
    """Write `key(name)` as a key file that only its owner can read."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(key(name)))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, form, none)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
