"""A Solana devnet of one process: the standard JSON-RPC over HTTP round the real runtime.

    python -m custody.dev.devnet --data DIR --port N

Prints `devnet ready URL genesis=HASH` once it serves. State is kept in DIR; kill -9 loses nothing
that was answered. With --in-memory instead of --data DIR it ends with the process. A slot begins
every 400 ms, and is final 4 slots later (`slots`).
Development only: no TLS, no authentication, and anyone may ask the faucet for play money.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from custody.dev.devnet.auction import Auction
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.ledger import DataInUseError
from custody.dev.devnet.rpc import answer

MAX_BODY = 1024 * 1024
SLOT_MS = 400
_POLL = 0.02  # seconds until a stop is noticed


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], chain: Chain) -> None:
        super().__init__(address, _Handler)
        self.chain = chain

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else is printed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # keep-alive
    timeout = 60  # seconds a connection may idle
    disable_nagle_algorithm = True  # or the body waits 40 ms for the ACK of the head

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        sized = length.isascii() and length.isdigit() and "Transfer-Encoding" not in self.headers
        if not sized:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a request needs Content-Length")
        elif len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} bytes")
        else:
            body = answer(self.server.chain, self.rfile.read(int(length)))
            self._send(HTTPStatus.OK, "application/json", body)

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        """Answer and close: what follows on this connection may be the unread body."""
        self.close_connection = True
        self._send(status, "text/plain", words.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """No line per request."""


@contextmanager
def serve(chain: Chain, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve the chain over HTTP and yield the URL; port 0 takes a free one.

    The chain's slots are the caller's to advance.
    """
    with _Server((host, port), chain) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_POLL,), daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _run(chain: Chain, slot_seconds: float, stop: threading.Event) -> None:
    """Begin a slot every `slot_seconds` until told to stop. An error ends the process."""
    due = time.monotonic() + slot_seconds
    while not stop.wait(max(0.0, due - time.monotonic())):
        chain.advance()
        due = max(due + slot_seconds, time.monotonic())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m custody.dev.devnet", description=__doc__)
    kept = parser.add_mutually_exclusive_group(required=True)
    kept.add_argument("--data", type=Path, help="directory that keeps the chain")
    kept.add_argument("--in-memory", action="store_true", help="the chain ends with the process")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--slot-ms", type=int, default=SLOT_MS, help="length of a slot")
    parser.add_argument(
        "--auction", action="store_true", help="run a slot's transactions at its end, dearest first"
    )
    args = parser.parse_args(argv)
    if args.slot_ms < 1:
        parser.error("--slot-ms is at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args, stop = _parse(argv), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        auction = Auction() if args.auction else None
        with Chain(args.data, auction=auction) as chain, serve(chain, args.host, args.port) as url:
            print(f"devnet ready {url} genesis={chain.genesis}", flush=True)
            _run(chain, args.slot_ms / 1000, stop)
    except (DataInUseError, OSError) as error:
        raise SystemExit(f"devnet: {error}") from error
