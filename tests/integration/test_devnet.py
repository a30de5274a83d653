"""The devnet as its own process: HTTP, kill -9, clean stop."""

import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from solders.pubkey import Pubkey

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import MAX_BODY, serve
from tests.devnet_wallet import BASE64, SOL, Wallet

STRANGER = Pubkey(bytes(range(32)))


class RpcError(Exception):
    pass


class Devnet:
    """A running process on `data`; `call` speaks to it over one kept connection."""

    def __init__(self, data: Path, *options: str) -> None:
        command = [sys.executable, "-m", "custody.dev.devnet", "--data", str(data), "--port", "0"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().split()
        self.client = httpx.Client(base_url=self.ready[2], timeout=60)

    def call(self, method: str, params: list[Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        reply = self.client.post("/", json=request).json()
        if "error" in reply:
            raise RpcError(reply["error"])
        return reply["result"]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self.client.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def running() -> Iterator[list[Devnet]]:
    """Whatever a test appends is ended after it."""
    started: list[Devnet] = []
    yield started
    for devnet in started:
        if devnet.process.poll() is None:
            devnet.end(signal.SIGKILL)


def test_kill_minus_9_loses_nothing_and_lets_nothing_run_again(
    tmp_path: Path, running: list[Devnet]
) -> None:
    devnet = Devnet(tmp_path)
    running.append(devnet)
    wallet = Wallet(devnet.call)
    tx = wallet.sign(wallet.pay(STRANGER))
    signature = wallet.send(tx)
    balance, slot = wallet.balance(), devnet.call("getSlot", [{"commitment": "processed"}])
    devnet.end(signal.SIGKILL)

    again = Devnet(tmp_path)
    running.append(again)
    assert again.ready[3] == devnet.ready[3]  # the same genesis
    wallet.call = again.call
    assert wallet.balance(commitment="finalized") == balance
    assert again.call("getSlot", []) >= slot
    found = again.call("getTransaction", [signature, BASE64])
    assert found["meta"]["postBalances"][:2] == [balance, SOL]
    assert wallet.send(tx) == signature
    assert wallet.send(tx, preflight=False) == signature
    assert wallet.balance(STRANGER) == SOL


def test_kill_minus_9_under_load_loses_no_answer(tmp_path: Path, running: list[Devnet]) -> None:
    devnet = Devnet(tmp_path, "--slot-ms", "5")
    running.append(devnet)
    wallet, answered, enough = Wallet(devnet.call), list[str](), threading.Event()
    first = SOL // 1000

    def pay() -> None:
        try:
            while True:
                amount = first + len(answered)  # equal ones would be one transaction
                answered.append(wallet.send(wallet.sign(wallet.pay(STRANGER, amount))))
                if len(answered) == 50:
                    enough.set()
        except httpx.HTTPError:
            return

    payer = threading.Thread(target=pay)
    payer.start()
    assert enough.wait(timeout=60)
    devnet.process.kill()
    payer.join(timeout=60)
    devnet.end(signal.SIGKILL)

    again = Devnet(tmp_path)
    running.append(again)
    wallet.call = again.call
    statuses = [wallet.status(signature) for signature in answered]
    assert all(status is not None and status["err"] is None for status in statuses)
    paid = sum(first + i for i in range(len(answered)))
    unanswered = first + len(answered)  # may have landed too
    assert wallet.balance(STRANGER) - paid in (0, unanswered)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_cleanly(tmp_path: Path, running: list[Devnet], number: int) -> None:
    devnet = Devnet(tmp_path)
    running.append(devnet)
    assert devnet.call("getHealth", []) == "ok"
    assert devnet.end(number) == 0


def test_slots_advance_by_themselves(tmp_path: Path, running: list[Devnet]) -> None:
    devnet = Devnet(tmp_path, "--slot-ms", "5")
    running.append(devnet)
    wallet = Wallet(devnet.call)
    while (status := wallet.status(wallet.funding))["confirmationStatus"] != "finalized":
        assert status["err"] is None
    assert wallet.balance(commitment="finalized") == 10 * SOL


def test_second_process_on_the_same_data_says_why_it_ends(
    tmp_path: Path, running: list[Devnet]
) -> None:
    running.append(Devnet(tmp_path))
    command = [sys.executable, "-m", "custody.dev.devnet", "--data", str(tmp_path), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "another --data" in second.stderr
    assert second.stdout == ""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with Chain(tmp_path) as chain, serve(chain) as url:
        yield url


def test_connection_is_kept_and_an_answer_takes_no_delayed_ack(url: str) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "getSlot"}
    with httpx.Client(base_url=url) as client:
        replies = [client.post("/", json=request) for _ in range(50)]
        ports = {
            reply.extensions["network_stream"].get_extra_info("client_addr") for reply in replies
        }
    assert len(ports) == 1
    assert median(reply.elapsed.total_seconds() for reply in replies) < 0.02  # else 0.04


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 411),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": str(MAX_BODY + 1)}, 413),
        ({"Content-Length": "9" * 5000}, 413),
        ({"Content-Length": "2", "Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_body_without_length_or_too_long_is_refused(
    url: str, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("Connection")) == (status, "close")
    connection.close()


def test_get_is_not_served(url: str) -> None:
    assert httpx.get(url).status_code == 501
