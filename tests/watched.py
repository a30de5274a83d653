"""A hot signer and its watchtower on a real chain, without custody: every process a real one.

The signer's token holds keys of known seeds, so that a test can be the thief who has one. What
custody would do (intents, receipts, sending) is the caller's; people sign with their test keys.
"""

import asyncio
import base64
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from solders.hash import Hash

from custody.chains.errors import ChainError
from custody.chains.jsonrpc import JsonRpc
from custody.dev.pki import Authority
from custody.dev.processes import free_port, start, stop
from custody.identity import Identity, Role
from custody.keys import create_key
from custody.relay import Signer
from custody.tls import TlsFiles
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from kura.watchtower.v1 import watchtower_pb2_grpc
from policies.statements import digest, encode
from tests.factories import (
    HOUR,
    SOL,
    key,
    make_book,
    make_change,
    make_unfreeze,
    sign,
)
from tests.node_front import NodeFront
from tests.signer_host import ISOLATED, SIGNER, Host, now
from tests.signing import apply_statement
from tests.watched_host import QUORUM, WALLETS, address_of, genesis

WAIT_SECONDS = 60.0
POLL_SECONDS = 0.01
_BIN = Path(sys.executable).parent


class Watched:
    """Started by `watched()`. `fronts` are the nodes that the watchtower asks, by its order."""

    def __init__(
        self, folder: Path, nodes: int, chain: Sequence[str], settings: Sequence[str]
    ) -> None:
        self.folder, self.chain = folder, chain
        (folder / "host").mkdir(mode=0o700)
        self.host = Host(folder / "host")
        self.node_port, self.tower_port = free_port(), free_port()
        self.fronts = [NodeFront(free_port(), self.node_port) for _ in range(nodes)]
        self.pki = Authority(folder / "pki")
        self.signer, self._asking = Signer(folder / "host" / "socket"), asyncio.Lock()
        self.rpc = JsonRpc(self.node_url, timeout=WAIT_SECONDS)
        self._channels: dict[Identity, grpc.aio.Channel] = {}
        self.tower_key = create_key(folder / "watchtower.pem", None)
        self.audit_key = genesis(self.host, self.tower_key.public)
        self._write_settings(settings)

    @property
    def node_url(self) -> str:
        return f"http://127.0.0.1:{self.node_port}"

    def start(self, name: str) -> None:
        """Start devnet, signer, watchtower or relay, and wait until it is ready."""
        command: list[str | Path]
        environment = dict[str, str]()
        match name:
            case "devnet":
                command = [sys.executable, "-m", "custody.dev.devnet", *self.chain]
                command += ["--data", self.folder / "devnet", "--port", f"{self.node_port}"]
            case "signer":
                command = [*ISOLATED, SIGNER, *self.host._arguments("serve")]
                environment = self.host._environment()
            case _:
                command = [_BIN / "custody", "serve", name]
                command += ["--settings", self.folder / f"{name}.toml"]
        start(self.folder, name, command, environment)

    def log(self, name: str) -> str:
        """All that a process has printed, over its restarts."""
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """SIGKILL, as the kernel does when memory is short; the process can be started again."""
        os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGKILL)
        stop(self.folder, name)
        if name == "signer":
            self.signer.close()

    async def ask(self, *jobs: wire.Job) -> list[wire.Result]:
        """Send one frame to the signer; OSError and the like while it is not there."""
        async with self._asking:
            return await ask(self.signer, jobs)

    async def status(self) -> wire.SignerStatus:
        (result,) = await self.ask(wire.Job(status=wire.Status()))
        return result.status

    def tower(self, role: Role, name: str) -> watchtower_pb2_grpc.WatchtowerStub:
        """A connection to the watchtower by this role's certificate; it outlives restarts."""
        identity = Identity(role, name)
        if identity not in self._channels:
            self._channels[identity] = grpc.aio.secure_channel(
                f"localhost:{self.tower_port}",
                self.pki.issue(identity).channel_credentials(),
                options=[("grpc.max_reconnect_backoff_ms", 500)],
            )
        return watchtower_pb2_grpc.WatchtowerStub(self._channels[identity])

    async def tower_status(self) -> tower_wire.GetStatusResponse:
        auditor, request = self.tower(Role.AUDITOR, "auditor"), tower_wire.GetStatusRequest()
        response = await auditor.GetStatus(request, timeout=WAIT_SECONDS)
        assert isinstance(response, tower_wire.GetStatusResponse)
        return response

    async def close(self) -> None:
        for name in ("relay", "watchtower", "signer", "devnet"):
            stop(self.folder, name)
        for front in self.fronts:
            front.stop()
        self.signer.close()
        await self.rpc.close()
        for channel in self._channels.values():
            await channel.close()

    async def lift_freezes(self) -> None:
        """The quorum lifts what the signer is frozen by now; wait until that is in force."""
        status = await self.status()
        names = sorted(freeze.digest for freeze in status.freezes)
        orders = [
            make_unfreeze(person, *names, epoch=status.epoch, expires=now() + HOUR)
            for person in QUORUM
        ]
        signed = [sign(key(order.person), order) for order in orders]
        request = tower_wire.LiftFreezesRequest(
            orders=[
                tower_wire.SignedStatement(statement=item.statement, signature=item.signature)
                for item in signed
            ]
        )
        await self.tower(Role.OFFICER, QUORUM[0]).LiftFreezes(request, timeout=WAIT_SECONDS)

        async def lifted() -> bool:
            return (await self.status()).epoch != status.epoch

        await until("the freezes to be lifted", lifted)

    async def fund(self, address: str, lamports: int) -> None:
        """Have the faucet bring an address to so many lamports, confirmed."""
        missing = lamports - await self.balance(address)
        if missing > 0:
            name = await self.rpc.call("requestAirdrop", [address, missing])
            await until("the faucet", lambda: self.confirmed(name))

    async def confirmed(self, transaction_id: str) -> bool:
        """Tell whether the chain shows a transaction as confirmed."""
        answer = await self.rpc.call("getSignatureStatuses", [[transaction_id]])
        status = answer["value"][0]
        return bool(status) and status["confirmationStatus"] in {"confirmed", "finalized"}

    async def balance(self, address: str, commitment: str = "processed") -> int:
        answer = await self.rpc.call("getBalance", [address, {"commitment": commitment}])
        return int(answer["value"])

    async def blockhash(self) -> bytes:
        """The newest confirmed one, raw."""
        answer = await self.rpc.call("getLatestBlockhash", [{"commitment": "confirmed"}])
        return bytes(Hash.from_string(answer["value"]["blockhash"]))

    async def send(self, transaction: bytes) -> str:
        """Hand a transaction to the devnet, as the worker or a thief would, without preflight."""
        options = {"encoding": "base64", "skipPreflight": True}
        encoded = base64.b64encode(transaction).decode()
        return str(await self.rpc.call("sendTransaction", [encoded, options]))

    async def apply_book(self) -> None:
        """Put the customer's address into the signer's address book."""
        book = encode(make_book())
        changes = [
            make_change("book", digest(book), person, expires=now() + HOUR) for person in QUORUM
        ]
        (result,) = await self.ask(apply_statement(book, changes))
        assert result.applied.digest or "BOOK_OUT_OF_ORDER" in result.refusal.code, result

    def _write_settings(self, more: Sequence[str]) -> None:
        relay = self.pki.issue(Identity(Role.RELAY, "hot-1"))
        lines = [
            f'gateways = ["localhost:{self.tower_port}"]',
            f'socket = "{self.signer.path}"',
            *_tls(relay),
        ]
        (self.folder / "relay.toml").write_text("\n".join(lines) + "\n")
        hosts = ("localhost", "127.0.0.1")
        server = self.pki.issue(Identity(Role.SERVER, "watchtower"), hosts)
        nodes = ", ".join(f'"{front.url}"' for front in self.fronts)
        lines = [
            f'listen = "127.0.0.1:{self.tower_port}"',
            f'data = "{self.folder / "watchtower.sqlite"}"',
            f'key = "{self.folder / "watchtower.pem"}"',
            f'audit_keys = ["{self.audit_key}"]',
            f"nodes = [{nodes}]",
            *more,
            *_tls(server),
        ]
        (self.folder / "watchtower.toml").write_text("\n".join(lines) + "\n")


@asynccontextmanager
async def watched(
    nodes: int = 1, chain: Sequence[str] = (), settings: Sequence[str] = ()
) -> AsyncIterator[Watched]:
    """Everything running, the signer with a lease, its wallets with 1,000 SOL each.

    `chain`: further arguments of the devnet; `settings`: further lines of watchtower.toml.
    """
    with TemporaryDirectory() as directory:
        ground = Watched(Path(directory), nodes, chain, settings)
        try:
            ground.start("devnet")
            for number, front in enumerate(ground.fronts):
                front.start(ground.folder / f"sent-{number}")
            for name in ("signer", "watchtower", "relay"):
                ground.start(name)
            for wallet in WALLETS:
                await ground.fund(address_of(wallet), 1_000 * SOL)
            await ground.apply_book()
            await until("a lease", lambda: leased(ground))
            yield ground
        finally:
            await ground.close()


async def ask(signer: Signer, jobs: Sequence[wire.Job]) -> list[wire.Result]:
    """Send one frame on a connection that nobody else uses now."""
    request = wire.Request(id=1, jobs=jobs).SerializeToString()
    try:
        reply = wire.Reply.FromString(await signer.call(request))
    except BaseException:
        signer.close()  # an answer that comes later would be taken for the next one's
        raise
    assert not reply.fault, reply.fault
    return list(reply.results)


async def until(what: str, look: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again; TimeoutError after a minute. A process that is down is no answer."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not await _quietly(look):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_SECONDS:.0f} s for {what}")
        await asyncio.sleep(POLL_SECONDS)


async def _quietly(look: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await look()
    except (OSError, asyncio.IncompleteReadError, ChainError, grpc.RpcError):
        return False


@asynccontextmanager
async def timed(ground: Watched) -> AsyncIterator[Callable[[float, float], float]]:
    """Ask the node a question that costs nothing, all the while.

    Yields what tells how many seconds the machine took from everybody between two moments: those
    by which the answers came later than the quickest one.
    """
    came = [time.monotonic()]

    async def ask() -> None:
        while True:
            await ground.rpc.call("getHealth", [])
            await asyncio.sleep(POLL_SECONDS)
            came.append(time.monotonic())

    def lost(since: float, to: float) -> float:
        quickest = min(after - before for before, after in pairwise(came))
        each = pairwise([*came, time.monotonic()])
        late = [
            after - before - quickest for before, after in each if before < to and after > since
        ]
        return sum(seconds for seconds in late if seconds > 0)

    task = asyncio.create_task(ask())
    try:
        yield lost
        assert not task.done(), task
    finally:
        task.cancel()


async def leased(ground: Watched) -> bool:
    return (await ground.status()).lease_until > now()


def _tls(files: TlsFiles) -> Sequence[str]:
    return [
        "[tls]",
        f'ca = "{files.ca}"',
        f'certificate = "{files.certificate}"',
        f'key = "{files.key}"',
    ]
