"""A process that serves frames with answers of the tests' own, and what a peer says to it."""

import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kura.signer.v1 import signer_pb2 as wire
from signer.frames import read_frame, write_frame

SERVER = """
import os, sys, time
from pathlib import Path
from kura.signer.v1 import signer_pb2 as wire
from signer import frames
{before}
running = []

def answer(jobs):
    return [answer_one(job) for job in jobs]

def answer_one(job):
    if job.WhichOneof("verb") == "apply":
        raise OSError("the token was pulled out")
    if job.WhichOneof("verb") == "status":
        return wire.Result(status=wire.SignerStatus(policy=bytes(frames.FRAME_BYTES_MAX)))
    running.append(job)
    time.sleep(0.001)  # time for a second job to come in between
    alone = len(running) == 1
    running.pop()
    return wire.Result(applied=wire.Applied(digest=job.nonce_open.wallet if alone else "two"))

frames.serve(Path(sys.argv[1]), {peer_uid}, answer)
"""


@dataclass(frozen=True)
class Server:
    path: Path
    process: subprocess.Popen[str]

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.settimeout(60)
            yield connection

    def answers(self) -> bool:
        with self.connected() as connection:
            return ask(connection, "hot") == ["hot"]


@contextmanager
def serving(peer_uid: int = 4243, before: str = "") -> Iterator[Server]:
    """A server of its own; a socket's path has at most 107 bytes, so not below tmp_path."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        path = Path(directory) / "socket"
        program = SERVER.format(before=before, peer_uid=peer_uid)
        command, pipe = [sys.executable, "-c", program, str(path)], subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == f"signer ready on {path}\n"
                yield Server(path, process)
            finally:
                process.kill()


def request(*wallets: str) -> bytes:
    jobs = [wire.Job(nonce_open=wire.NonceOpen(wallet=wallet)) for wallet in wallets]
    return wire.Request(id=7, jobs=jobs).SerializeToString()


def ask(connection: socket.socket, *wallets: str) -> list[str]:
    write_frame(connection, request(*wallets))
    return [result.applied.digest for result in replied(connection).results]


def replied(connection: socket.socket) -> wire.Reply:
    frame = read_frame(connection)
    assert frame is not None
    return wire.Reply.FromString(frame)


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def ended(connection: socket.socket) -> bool:
    """True when the server closed the connection without a reply."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:  # what it had not read was thrown away
        return True
