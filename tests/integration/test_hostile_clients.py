"""Clients that mean harm: the api's memory stays bounded, and lawful ones are served meanwhile."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from custody.dev.pki import Authority
from custody.errors import refusal_of
from custody.identity import Identity, Role
from policies.codes import Code
from tests.hostile_clients import CUSTODY, Mute
from tests.hostile_server import LARGE, LIMITS

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


@dataclass
class Api:
    """The attacked process."""

    target: str
    authority: Authority
    folder: Path
    pid: int

    def kib(self, what: str) -> int:
        """Return VmRSS (memory now) or VmHWM (the most ever) in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what))

    def files(self) -> int:
        """Return how many files and sockets are open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @asynccontextmanager
    async def channel(self, name: str) -> AsyncIterator[grpc.aio.Channel]:
        tls = self.authority.issue(Identity(Role.REQUESTER, name))
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(
            self.target, tls.channel_credentials(), options
        ) as channel:
            yield channel

    @contextmanager
    def attack(self, name: str) -> Iterator[subprocess.Popen[str]]:
        """An attacker in a process of its own."""
        self.authority.issue(Identity(Role.REQUESTER, name))
        command = ["tests.hostile_clients", name, self.target, str(self.folder)]
        with process(*command) as attacker:
            yield attacker


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def attacked(folder: Path, dsn: str, *age: str) -> Iterator[Api]:
    """Run the api; see tests.hostile_server."""
    authority = Authority(folder)
    with process("tests.hostile_server", str(folder), dsn, *age) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        yield Api(f"127.0.0.1:{port}", authority, folder, server.pid)


@dataclass
class Lawful:
    """What came of lawful calls: how often one was answered, and the longest time without."""

    answered: int = 0
    gap: float = 0.0
    cut: int = 0


async def said(
    channel: grpc.aio.Channel, method: str = "ListBalances", seconds: float = 2
) -> Code | str:
    """Return what came of a call, "OK" for an answer; of a stream, what came first."""
    kind = channel.unary_stream if method.startswith("Watch") else channel.unary_unary
    call = kind(CUSTODY + method)(b"", timeout=seconds)
    try:
        await (call.read() if method.startswith("Watch") else call)
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        return refusal.code if refusal else str(error.code().name)
    finally:
        call.cancel()
    return "OK"


async def until(answer: Code | str, channel: grpc.aio.Channel, method: str) -> float:
    """Return the seconds until a call is answered so; how many are too many the caller says."""
    begun = time.monotonic()
    async with asyncio.timeout(HANGS_SECONDS):
        while await said(channel, method) != answer:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def serve_lawful(api: Api, lawful: Lawful) -> None:
    """Ask for ever, over one connection and ever new ones: each call must be answered.

    Who is silent for a second is cut off, as the whole test is when its machine stands still.
    """
    last = time.monotonic()
    async with api.channel("lawful") as old:
        while True:
            async with api.channel("lawful") as new:
                for channel in (old, old, old, new):
                    answer = await said(channel, seconds=HANGS_SECONDS)
                    before, last = last, time.monotonic()
                    lawful.gap = max(lawful.gap, last - before)
                    lawful.answered += answer == "OK"
                    lawful.cut += answer == "UNAVAILABLE"
                    assert answer in {"OK", "UNAVAILABLE"}, answer
            await asyncio.sleep(0.2)  # below the rate of one identity


async def line(attacker: subprocess.Popen[str]) -> str:
    assert attacker.stdout
    return await asyncio.to_thread(attacker.stdout.readline)


async def full_then_free(
    api: Api,
    name: str,
    ready: asyncio.Barrier,
    attacker: asyncio.Future[subprocess.Popen[str]],
    lawful: Lawful,
) -> float:
    """Return the seconds until what an attacker holds was taken from it; it never lets go.

    That it held all it may, the server says: what is held may be taken between two looks.
    """
    method = (TAKEN | WATCHED)[name]
    async with api.channel(name) as channel:
        await until("OK", channel, method)
        await ready.wait()
        running = await attacker
        assert await line(running) == "held\n"
        if name == "stopped":
            running.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(HANGS_SECONDS):
            while not (api.folder / f"{name}.full").exists():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        answered = lawful.answered
        seconds = await until("OK", channel, method)
        assert name in SILENT or lawful.answered > answered, f"{name} was the only one served"
        return seconds


TAKEN = {"mute": "ListWallets", "unsent": "ListWallets", "stubborn": "ListWallets"}
WATCHED = {"stopped": "WatchWithdrawals", "unread": "WatchWithdrawals"}
SILENT = {"mute", "unsent", "stopped"}  # sooner than by the age of their connections
SILENT_SECONDS = 3
HANGS_SECONDS = 60


async def test_callers_who_take_all_they_can(tmp_path: Path, database: str) -> None:
    with ExitStack() as stack:
        api = stack.enter_context(attacked(tmp_path / "pki", database))
        async with api.channel("lawful") as channel:
            assert await said(channel, "ListWallets", HANGS_SECONDS) == "OK"
        before, lawful = api.kib("VmRSS"), Lawful()
        serving = asyncio.create_task(serve_lawful(api, lawful))
        holders = TAKEN | WATCHED
        ready = asyncio.Barrier(len(holders) + 1)
        started = {name: asyncio.Future[subprocess.Popen[str]]() for name in holders}
        frees = asyncio.gather(
            *(full_then_free(api, name, ready, started[name], lawful) for name in holders)
        )
        await ready.wait()
        for name in holders:
            started[name].set_result(stack.enter_context(api.attack(name)))
        stack.enter_context(api.attack("oversize"))
        flood = stack.enter_context(api.attack("flood"))
        freed = await frees
        seconds, flooded = json.loads(await line(flood))
        assert not serving.done(), serving
        serving.cancel()
        grown = api.kib("VmHWM") - before

    # Python's message, its bytes and gRPC's copy of them, of each call that an identity may hold.
    held = 2 * LIMITS.calls_at_once + len(WATCHED) * LIMITS.streams_at_once
    bound = 3 * held * len(LARGE) // 1024 + 64 * 1024
    sys.stdout.write(f"{grown} KiB more, bound {bound}; {lawful}; freed after {freed}\n")
    assert grown < bound
    for name, took in zip(TAKEN | WATCHED, freed, strict=True):
        most = SILENT_SECONDS if name in SILENT else 2 * LIMITS.connection_seconds
        assert took < most + lawful.gap, name  # lawful calls show how slow the machine is
    stood_still = lawful.gap >= LIMITS.silent_seconds
    assert not lawful.cut or stood_still
    assert flooded["OK"] <= LIMITS.calls_burst + LIMITS.calls_per_second * (seconds + 1)
    cut = {"UNAVAILABLE"} if stood_still else set[str]()
    assert {"OK", "RESOURCE_EXHAUSTED"} <= flooded.keys() <= {"OK", "RESOURCE_EXHAUSTED"} | cut


@pytest.mark.parametrize("kind", ["without a handshake", "without a call"])
async def test_more_connections_than_there_are_places(
    tmp_path: Path, database: str, kind: str
) -> None:
    """Places become free because nothing is asked on them: by age they would after the test."""
    with ExitStack() as stack:
        api = stack.enter_context(attacked(tmp_path / "pki", database, f"{10 * HANGS_SECONDS}"))
        host, port = api.target.split(":")
        tls = api.authority.issue(Identity(Role.REQUESTER, "idle"))
        async with api.channel("lawful") as old:
            held = old.unary_stream("/grpc.health.v1.Health/Watch")(b"")  # else it is idle as well
            await held.read()
            assert await said(old, seconds=HANGS_SECONDS) == "OK"
            before, files, most = api.kib("VmRSS"), api.files(), 0
            for _ in range(5 * LIMITS.connections):
                if kind == "without a call":
                    with suppress(OSError):
                        stack.enter_context(closing(Mute(api.target, tls)))
                else:
                    stack.enter_context(socket.create_connection((host, int(port))))
                most = max(most, api.files() - files)
            assert await said(old, seconds=HANGS_SECONDS) == "OK"
            async with api.channel("newcomer") as new:
                waited = await until("OK", new, "ListBalances")
            grown = api.kib("VmHWM") - before
    sys.stdout.write(f"{most} held, {grown} KiB more, a newcomer waited {waited:.2f} s\n")
    assert LIMITS.connections - 20 < most < LIMITS.connections + 5
    assert grown < LIMITS.connections * 256
