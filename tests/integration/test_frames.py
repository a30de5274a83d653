"""Frames over a real Unix socket: their edges, and what a wrong one ends."""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kura.signer.v1 import signer_pb2 as wire
from signer.frames import CONNECTIONS_MAX, FRAME_BYTES_MAX, FrameError, write_frame
from tests.frame_server import Server, ask, ended, framed, replied, request, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as started:
        yield started
        started.process.kill()
        assert started.process.stderr
        assert started.process.stderr.read() == ""  # strangers do not write in the signer's log


def test_one_connection_carries_many_frames(server: Server) -> None:
    with server.connected() as connection:
        for number in range(20):
            assert ask(connection, f"a-{number}", f"b-{number}") == [f"a-{number}", f"b-{number}"]


def test_frames_come_in_any_pieces(server: Server) -> None:
    with server.connected() as connection:
        for byte in framed(request("slow")):
            connection.send(bytes((byte,)))
        connection.sendall(framed(request("first")) + framed(request("second")))
        names = [replied(connection).results[0].applied.digest for _ in range(3)]
        assert names == ["slow", "first", "second"]


def test_a_frame_of_the_largest_size_is_taken(server: Server) -> None:
    room = FRAME_BYTES_MAX - len(request("x" * 2**19)) + 2**19
    frame = request("x" * room)
    assert len(frame) == FRAME_BYTES_MAX
    with server.connected() as connection, pytest.raises(FrameError, match="at most 1048576"):
        write_frame(connection, frame + b"\0")
    with server.connected() as connection:
        write_frame(connection, frame)  # understood and answered, though the echo has no room
        assert "fill more than a frame" in replied(connection).fault


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">I", FRAME_BYTES_MAX + 1),
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0",
        framed(request("hot"))[:-1],
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    ],
    ids=["too large", "huge", "empty", "cut in its length", "cut", "another protocol", "nothing"],
)
def test_what_is_no_frame_ends_the_connection_alone(server: Server, sent: bytes) -> None:
    with server.connected() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert ended(connection)
    assert server.answers()


def test_a_frame_too_large_ends_the_connection_before_it_comes(server: Server) -> None:
    with server.connected() as connection:
        connection.sendall(struct.pack(">I", FRAME_BYTES_MAX + 1))
        assert ended(connection)


def test_a_reply_too_large_is_a_fault_and_the_connection_lives(server: Server) -> None:
    with server.connected() as connection:
        job = wire.Job(status=wire.Status())
        write_frame(connection, wire.Request(jobs=[job]).SerializeToString())
        assert "fill more than a frame" in replied(connection).fault
        assert ask(connection, "hot") == ["hot"]


def test_what_is_no_request_is_answered_and_the_connection_lives(server: Server) -> None:
    with server.connected() as connection:
        write_frame(connection, b"\xff")
        assert replied(connection).fault == "the frame is not a Request"
        write_frame(connection, request("hot") + b"\xf8\x07\x01")
        assert "does not know" in replied(connection).fault
        assert ask(connection, "hot") == ["hot"]


def test_a_peer_that_leaves_before_its_reply_harms_nobody(server: Server) -> None:
    for _ in range(CONNECTIONS_MAX + 1):
        with server.connected() as connection:
            write_frame(connection, request("hot"))
    assert server.answers()


def test_connections_are_answered_side_by_side_and_jobs_one_at_a_time(server: Server) -> None:
    answers: list[list[str]] = []

    def converse(name: str) -> None:
        with server.connected() as connection:
            answers.extend(ask(connection, name, name) for _ in range(20))

    names = [f"wallet-{number}" for number in range(CONNECTIONS_MAX)]
    threads = [threading.Thread(target=converse, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted([name, name] for name in names for _ in range(20))


def test_one_connection_too_many_waits_until_another_ends(server: Server) -> None:
    with ExitStack() as stack:
        first, *others = [
            stack.enter_context(server.connected()) for _ in range(CONNECTIONS_MAX + 1)
        ]
        for taken in (first, *others[:-1]):  # in order of their connecting
            assert ask(taken, "hot") == ["hot"]
        write_frame(others[-1], request("last"))
        assert ask(first, "hot") == ["hot"]
        assert not select.select([others[-1]], [], [], 0)[0]
        first.close()
        assert replied(others[-1]).results[0].applied.digest == "last"
