"""Who may connect to a process that serves frames, and what ends it."""

import os
import stat
import subprocess
import sys

import pytest

from custody.dev.postgres import AS_NOBODY
from kura.signer.v1 import signer_pb2 as wire
from signer.frames import write_frame
from tests.frame_server import SERVER, ask, ended, framed, request, serving

# The signer's own user may always connect. A test that is not root cannot be two users, so its
# server takes another number for its own.
STRANGER: tuple[str, ...] = AS_NOBODY if os.geteuid() == 0 else ()
OTHER_SELF = "" if STRANGER else "os.getuid = lambda: 4242"
STRANGER_UID = 65534 if STRANGER else os.getuid()
HOT = wire.Result(applied=wire.Applied(digest="hot"))
CONNECT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
try:
    connection.sendall(bytes.fromhex(sys.argv[2]))
    print(connection.recv(65536).hex())
except (BrokenPipeError, ConnectionResetError):  # closed before or after it was sent
    print()
"""


def test_the_socket_is_closed_to_other_users() -> None:
    with serving(before="os.umask(0)") as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


@pytest.mark.parametrize(("peer_uid", "taken"), [(STRANGER_UID, True), (STRANGER_UID + 1, False)])
def test_the_kernel_names_the_user_who_may_ask(peer_uid: int, taken: bool) -> None:
    with serving(peer_uid, OTHER_SELF) as server:
        server.path.chmod(0o666)  # so that only the uid decides
        command = [*STRANGER, sys.executable, "-c", CONNECT, str(server.path)]
        command.append(framed(request("hot")).hex())
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        expected = framed(wire.Reply(id=7, results=[HOT]).SerializeToString()) if taken else b""
        assert bytes.fromhex(done.stdout) == expected


def test_a_fault_ends_the_process_with_words_and_without_a_reply() -> None:
    """What has lost its token or journal must not go on, on no connection."""
    with serving() as server, server.connected() as idle, server.connected() as connection:
        assert ask(idle, "hot") == ["hot"]
        jobs = [wire.Job(nonce_open=wire.NonceOpen(wallet="hot")), wire.Job(apply=wire.Apply())]
        write_frame(connection, wire.Request(jobs=jobs).SerializeToString())
        assert ended(connection)
        assert ended(idle)
        assert server.process.wait() == os.EX_SOFTWARE
        assert server.process.stderr
        words = "signer stopped: OSError: the token was pulled out. Nothing is lost"
        assert server.process.stderr.read().startswith(words)


def test_a_socket_left_by_a_killed_process_is_replaced() -> None:
    with serving() as server:
        server.process.kill()
        server.process.wait()
        assert server.path.is_socket()
        command = [sys.executable, "-c", SERVER.format(before="", peer_uid=4243), str(server.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == f"signer ready on {server.path}\n"
                assert server.answers()
            finally:
                process.kill()
