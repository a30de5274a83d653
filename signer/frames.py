"""Frames over a Unix socket: a 4-byte big-endian length, then one protobuf message.

Bounded: 1 MiB a frame, 250 jobs, a few connections at once. The peer's uid is checked by the
kernel's word (SO_PEERCRED) before a byte is read.
"""

import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from google.protobuf.message import DecodeError

from kura.signer.v1 import signer_pb2 as wire

FRAME_BYTES_MAX = 1024 * 1024
JOBS_MAX = 250
CONNECTIONS_MAX = 8
_ENVELOPE_BYTES = 11  # a tag and the longest varint: of the id, of a result's length
_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("iII")

_STOPPED = "Nothing is lost: mend the journal's disk or the token, then start signer serve again"

Answer = Callable[[Sequence[wire.Job]], list[wire.Result]]


class FrameError(Exception):
    """The peer sent something that is no frame; the connection ends."""


def read_frame(connection: socket.socket) -> bytes | None:
    """Return the next frame's bytes, None at a clean end; FrameError when cut or too large."""
    header = _read(connection, _LENGTH.size)
    if not header:
        return None
    (length,) = _LENGTH.unpack(header) if len(header) == _LENGTH.size else (0,)
    if not 0 < length <= FRAME_BYTES_MAX:
        raise FrameError(f"a frame has 1 to {FRAME_BYTES_MAX} bytes")
    frame = _read(connection, length)
    if len(frame) != length:
        raise FrameError("the connection ended inside a frame")
    return frame


def write_frame(connection: socket.socket, frame: bytes) -> None:
    """Send one frame whole."""
    if len(frame) > FRAME_BYTES_MAX:
        raise FrameError(f"a frame has at most {FRAME_BYTES_MAX} bytes")
    connection.sendall(_LENGTH.pack(len(frame)) + frame)


def serve(path: Path, peer_uid: int, answer: Answer) -> None:
    """Answer frames at `path` for ever; one job at a time, whatever the number of connections.

    A fault of `answer` ends the whole process: what has lost its token or journal must not go on.
    """
    lock = threading.Lock()
    free = threading.BoundedSemaphore(CONNECTIONS_MAX)
    with _listen(path) as listener:
        print(f"signer ready on {path}", flush=True)  # noqa: T201 - its supervisor waits for it
        try:
            while True:
                free.acquire()
                connection, _ = listener.accept()
                arguments = (connection, peer_uid, answer, lock, free)
                threading.Thread(target=_converse, args=arguments, daemon=True).start()
        finally:
            lock.acquire()  # told to stop: the frame in hand is answered whole, none is begun


def reply_to(frame: bytes, answer: Answer) -> bytes:
    """Return the reply to one frame; what does not decode whole is answered with a fault."""
    request = wire.Request()
    try:
        request.ParseFromString(frame)
    except DecodeError:
        return wire.Reply(fault="the frame is not a Request").SerializeToString()
    reply, size = wire.Reply(id=request.id), request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() != size:
        reply.fault = "the request has fields that this signer does not know"
    elif not 0 < len(request.jobs) <= JOBS_MAX:
        reply.fault = f"a request has 1 to {JOBS_MAX} jobs"
    else:
        results = answer(request.jobs)
        size = _ENVELOPE_BYTES + sum(item.ByteSize() + _ENVELOPE_BYTES for item in results)
        if size > FRAME_BYTES_MAX:
            words = "the results fill more than a frame: ask for fewer jobs at once"
            return wire.Reply(id=request.id, fault=words).SerializeToString()
        reply.results.extend(results)
    return reply.SerializeToString()


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(CONNECTIONS_MAX)
    return listener


def _converse(
    connection: socket.socket,
    peer_uid: int,
    answer: Answer,
    lock: threading.Lock,
    free: threading.BoundedSemaphore,
) -> None:
    try:
        with connection, suppress(FrameError, OSError):
            if _peer_uid(connection) not in {peer_uid, os.getuid()}:
                return
            while (frame := read_frame(connection)) is not None:
                write_frame(connection, _answered(frame, answer, lock))
    finally:
        free.release()


def _answered(frame: bytes, answer: Answer, lock: threading.Lock) -> bytes:
    with lock:
        try:
            return reply_to(frame, answer)
        except BaseException as fault:  # noqa: BLE001 - any fault ends the signer
            words = f"signer stopped: {type(fault).__name__}: {fault}. {_STOPPED}"
            print(words, file=sys.stderr, flush=True)  # noqa: T201
            os._exit(os.EX_SOFTWARE)


def _peer_uid(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return bytes(data)
