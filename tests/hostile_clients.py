"""Clients that mean harm, each a process: python -m tests.hostile_clients ATTACK TARGET FOLDER.

FOLDER has the certificates; the attacker is the requester with the name of its attack.
"""

import asyncio
import json
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import grpc

from custody.tls import TlsFiles

CUSTODY = "/kura.custody.v1.Custody/"
FLOOD_SECONDS = 2
CALLS = 32  # on one connection
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
ACK, END_STREAM, END_HEADERS = 1, 1, 4
NO_WINDOW = struct.pack(">HI", 4, 0)  # SETTINGS_INITIAL_WINDOW_SIZE: nothing may be sent to us
EMPTY = bytes(5)  # a gRPC message without bytes


class Mute:
    """An HTTP/2 connection by hand, whose calls are never given room to be answered."""

    def __init__(self, target: str, tls: TlsFiles) -> None:
        context = ssl.create_default_context(cafile=str(tls.ca))
        context.load_cert_chain(tls.certificate, tls.key)
        context.set_alpn_protocols(["h2"])
        host, port = target.split(":")
        self._socket = context.wrap_socket(
            socket.create_connection((host, int(port))), server_hostname=host
        )
        self._stream = 1
        self._socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, NO_WINDOW))

    def call(self, method: str, body: bytes = b"") -> None:
        """Start a call; without a body its request never comes."""
        fields = {":method": "POST", ":scheme": "https", ":path": CUSTODY + method}
        fields |= {":authority": "localhost", "te": "trailers", "content-type": "application/grpc"}
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
        sent = _frame(HEADERS, END_HEADERS, self._stream, block)
        if body:
            sent += _frame(DATA, END_STREAM, self._stream, body)
        self._socket.sendall(sent)
        self._stream += 2

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def look_alive(self) -> None:
        """Answer the server's pings until it hangs up."""
        rest = b""
        while received := self._socket.recv(65_536):  # an error ends the thread as well
            rest += received
            while len(rest) >= 9 and len(rest) >= (end := 9 + int.from_bytes(rest[:3])):
                if rest[3] in {PING, SETTINGS} and not rest[4] & ACK:
                    echo = rest[9:end] if rest[3] == PING else b""
                    self._socket.sendall(_frame(rest[3], ACK, 0, echo))
                rest = rest[end:]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


async def flood(target: str, tls: TlsFiles) -> None:
    """Call as fast as answers come, on two connections; print how long, and what came of it.

    Longer than FLOOD_SECONDS where the machine stood still meanwhile, so that nobody was flooded.
    """
    said = Counter[str]()
    begun = time.monotonic()
    flooding = asyncio.gather(*(_ask(target, tls, b"", said) for _ in range(2)))
    await asyncio.sleep(FLOOD_SECONDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(30 * FLOOD_SECONDS):
            while not {"OK", "RESOURCE_EXHAUSTED"} <= said.keys():  # noqa: ASYNC110 - others count
                await asyncio.sleep(0.1)
    flooding.cancel()
    with suppress(asyncio.CancelledError):
        await flooding
    say(json.dumps([time.monotonic() - begun, said]))


async def oversize(target: str, tls: TlsFiles) -> None:
    """Send requests of 8 MiB, for ever."""
    await _ask(target, tls, b"\x0a\x80\x80\x80\x04" + bytes(8 * 1024 * 1024), Counter())


async def _ask(target: str, tls: TlsFiles, request: bytes, said: Counter[str]) -> None:
    async def again(channel: grpc.aio.Channel) -> None:
        while True:
            try:
                await channel.unary_unary(CUSTODY + "ListBalances")(request)
                said["OK"] += 1
            except grpc.aio.AioRpcError as error:
                said[error.code().name] += 1

    options = [("grpc.use_local_subchannel_pool", 1)]
    credentials = tls.channel_credentials()
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        await asyncio.gather(*(again(channel) for _ in range(CALLS)))


def hold(target: str, tls: TlsFiles, method: str, body: bytes, *, alive: bool) -> None:
    """Start calls on 4 connections, give no room to answer, and keep them; alive: answer pings."""
    connections = [Mute(target, tls) for _ in range(4)]
    for connection in connections:
        for _ in range(CALLS):
            connection.call(method, body)
        if alive:
            threading.Thread(target=connection.look_alive, daemon=True).start()
    say("held")
    signal.pause()


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main(attack: str, target: str, folder: Path) -> None:
    files = [folder / f"requester-{attack}{end}" for end in (".pem", ".key")]
    tls = TlsFiles(folder / "ca.pem", *files)
    match attack:
        case "flood":
            asyncio.run(flood(target, tls))
        case "oversize":
            asyncio.run(oversize(target, tls))
        case "mute":  # asks for much, takes nothing, and does not even answer pings
            hold(target, tls, "ListWallets", EMPTY, alive=False)
        case "stubborn":  # the same, but answers pings
            hold(target, tls, "ListWallets", EMPTY, alive=True)
        case "unread" | "stopped":  # opens streams and takes nothing of them
            hold(target, tls, "WatchWithdrawals", EMPTY, alive=True)
        case "unsent":  # never sends its requests
            hold(target, tls, "ListWallets", b"", alive=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
