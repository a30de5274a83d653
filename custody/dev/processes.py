"""Starts, watches and stops the processes of a development system; reads what /proc says of them.

Each process is its own session, so that it outlives the command that started it; its pid file makes
it found again.
"""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
_LISTEN = "0A"
_PORTS = (20_000, 32_000)

# What this very process started and has to reap.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ProcessError(Exception):
    """A process did not start; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A started process."""

    name: str
    pid: int
    log: Path


@dataclass(frozen=True, slots=True)
class Seen:
    """What /proc says of a process: the interfaces it sees, the TCP ports it listens on."""

    name: str
    pid: int
    interfaces: list[str]
    ports: list[int]


def start(
    folder: Path, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
) -> Running:
    """Start a process and wait until its log says that it is ready."""
    log, pid_file = folder / f"{name}.log", folder / f"{name}.pid"
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    _children[process.pid] = process
    pid_file.write_text(f"{process.pid}\n")
    deadline = time.monotonic() + READY_SECONDS
    while b" ready" not in log.read_bytes()[before:]:
        if process.poll() is not None or time.monotonic() > deadline:
            pid_file.unlink()
            process.kill()
            process.wait()
            tail = log.read_bytes()[before:].decode(errors="replace").strip()[-2000:]
            raise ProcessError(f"{name} did not start. Its log says:\n{tail}")
        time.sleep(POLL_SECONDS)
    return Running(name, process.pid, log)


def stop(folder: Path, name: str) -> None:
    """Stop a process by its pid file: SIGTERM, then SIGKILL; nothing to do when none runs."""
    pid_file = folder / f"{name}.pid"
    pid = _pid(pid_file)
    if pid is None:
        return
    pid_file.unlink()
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_SECONDS
        while _alive(pid):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return


def running(folder: Path, name: str) -> bool:
    """Tell whether the process of this name is there."""
    pid = _pid(folder / f"{name}.pid")
    return pid is not None and _alive(pid)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody has now.

    Below those that the kernel lends to outgoing connections: one would be gone before its use.
    """
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 - not a secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def seen(name: str, pid: int) -> Seen:
    """Read a process's network interfaces and listening TCP ports from /proc."""
    root = Path(f"/proc/{pid}")
    rows = (root / "net/dev").read_text().splitlines()[2:]
    interfaces = sorted(row.split(":")[0].strip() for row in rows)
    mine = _socket_inodes(root)
    ports = {
        int(fields[1].rpartition(":")[2], 16)
        for table in ("net/tcp", "net/tcp6")
        for fields in map(str.split, (root / table).read_text().splitlines()[1:])
        if fields[3] == _LISTEN and (mine is None or fields[9] in mine)
    }
    return Seen(name, pid, interfaces, sorted(ports))


def _socket_inodes(root: Path) -> set[str] | None:
    """Return the process's sockets; None when only its whole namespace can be seen."""
    try:
        links = [str(link.readlink()) for link in (root / "fd").iterdir()]
    except PermissionError:
        return None
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def _pid(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() else None


def _alive(pid: int) -> bool:
    if pid in _children:
        return _children[pid].poll() is None
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # a zombie waits for whoever started it
