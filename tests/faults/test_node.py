"""A chain node that times out, answers twice or forgets: real processes pay all the same, once."""

import base64
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from solders.transaction import Transaction

from custody.client import state_of
from custody.dev.system import BIN, System
from tests.faults.test_kill_points import PAID, SMALL, books, steps, transactions, unused
from tests.faults.test_ways_to_stop import ask, until_it_waits_for, until_paid, until_said


class Node:
    """Stands before the devnet, and does to its answers what a test asks for."""

    def __init__(self, url: str) -> None:
        self.calls = Counter[str]()
        self.released = threading.Event()
        self.silent: set[str] = set()  # done, and not answered before `released`
        self.forgets = 0  # so many transactions are taken and never heard of again
        self.twice = False  # every call arrives twice and is answered twice
        self.http = httpx.Client(base_url=url)

    def answer(self, body: dict[str, Any]) -> Any:
        method = body["method"]
        self.calls[method] += 1
        if method == "sendTransaction" and self.forgets:
            self.forgets -= 1
            taken = Transaction.from_bytes(base64.b64decode(body["params"][0]))
            name = str(taken.signatures[0])
            return {"jsonrpc": "2.0", "id": body["id"], "result": name}
        for _ in range(1 + self.twice):
            done = self.http.post("/", json=body)
        if method in self.silent:
            self.released.wait()
        return done.json()


@contextmanager
def standing_before(url: str) -> Iterator[tuple[Node, str]]:
    node = Node(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = httpx.Response(200, json=node.answer(httpx.Response(200, content=body).json()))
            for _ in range(1 + node.twice):
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield node, f"http://127.0.0.1:{server.server_port}"
    finally:
        node.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
        node.http.close()


@pytest.fixture
def node(system: System) -> Iterator[Node]:
    """What the worker takes for its node."""
    system.until("every nonce", lambda: unused(system))
    with standing_before(system.layout.node_url) as (node, url):
        system.stop("worker")
        command = ["env", f"KURA_WORKER_NODE={url}", str(BIN / "custody"), "serve", "worker"]
        system.run("worker", [*command, "--settings", str(system.layout.settings("worker"))])
        yield node
        system.stop("worker")
        system.start("worker")


def paid_once(system: System, name: str, before: list[str], balance: int) -> None:
    until_paid(system, name)
    with system.client("exchange") as custody:
        ended = custody.get_withdrawal(name)
    assert transactions(system)[: -len(before) or None] == [ended.transaction_id]
    assert system.balance(system.customers[0]) == balance + SMALL
    assert steps(system, name) == PAID
    assert books(system) == (system.balance(system.wallet_address), 0)


def test_a_node_that_times_out(system: System, node: Node) -> None:
    log = system.layout.logs / "worker.log"
    before, balance = transactions(system), system.balance(system.customers[0])
    start, node.silent = log.stat().st_size, {"sendTransaction"}
    name = ask(system, "node-times-out")
    until_it_waits_for(system, name, "NODE")
    until_said(system, log, start, "no answer to sendTransaction within", "trying again")
    with system.client("exchange") as custody:
        waiting = custody.get_withdrawal(name)
    assert state_of(waiting) == "BROADCASTING"
    assert waiting.HasField("earliest_time")
    node.silent = set()
    node.released.set()
    paid_once(system, name, before, balance)
    assert node.calls["sendTransaction"] >= 2


def test_a_node_that_answers_twice(system: System, node: Node) -> None:
    before, balance = transactions(system), system.balance(system.customers[0])
    node.twice = True
    name = ask(system, "node-answers-twice")
    paid_once(system, name, before, balance)


def test_a_node_that_forgets_what_it_took(system: System, node: Node) -> None:
    before, balance = transactions(system), system.balance(system.customers[0])
    node.forgets = 3
    name = ask(system, "node-forgets")
    paid_once(system, name, before, balance)
    assert node.calls["sendTransaction"] > 3, "it was not sent again"
