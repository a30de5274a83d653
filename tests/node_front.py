"""A Solana node as its callers see it: a process before the devnet that notes, stalls and lies.

Nothing of the chain is changed: what the front makes up is only what its callers hear. It is a
process of its own, so that whoever measures does not hold it up.
"""

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Lie = Callable[[str, list[Any], Any], Any]
"""Turns (method, parameters, true result) into what is answered; STALLED for no answer at all."""
STALLED = object()
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Sent:
    """A transaction that the node took, and when by the monotonic clock of this machine."""

    at: float
    transaction: bytes


@dataclass
class NodeFront:
    """`port` of the front, `devnet` the true node's."""

    port: int
    devnet: int
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _sent: list[Sent] = field(default_factory=list, repr=False)
    _notes: Path | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, notes: Path) -> None:
        """Listen; what is sent is noted in the file `notes`."""
        self._notes, pipe = notes, subprocess.PIPE
        notes.touch()
        command = [sys.executable, "-m", "tests.node_front", self.port, self.devnet, notes]
        self._process = subprocess.Popen(
            list(map(str, command)), stdin=pipe, stdout=pipe, text=True, cwd=_ROOT
        )
        self._answered("ready")

    def tell(self, name: str, *arguments: str) -> None:
        """Have it tell a lie from now on: a name of LIES."""
        assert self._process
        assert self._process.stdin
        print(name, *arguments, file=self._process.stdin, flush=True)
        self._answered(name)

    def sent(self) -> list[Sent]:
        """All that the node took through this front."""
        assert self._notes
        lines = [line.split() for line in self._notes.read_text().splitlines(keepends=True)]
        return [Sent(float(line[0]), bytes.fromhex(line[1])) for line in lines if len(line) == 3]

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _answered(self, word: str) -> None:
        assert self._process
        assert self._process.stdout
        assert self._process.stdout.readline() == word + "\n"


def honest(_method: str, _parameters: list[Any], result: Any) -> Any:
    return result


def stalling(_method: str, _parameters: list[Any], _result: Any) -> Any:
    return STALLED


def another_chain(method: str, _parameters: list[Any], result: Any) -> Any:
    return "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY" if method == "getGenesisHash" else result


def standing() -> Lie:
    """It stands still at the slot at which it was first asked."""
    slots = list[int]()

    def lie(method: str, _parameters: list[Any], result: Any) -> Any:
        context = isinstance(result, dict) and "context" in result
        if context or method in {"getSlot", "getBlockHeight"}:
            slots.append(result["context"]["slot"] if context else result)
            return result | {"context": {"slot": slots[0]}} if context else slots[0]
        return result

    return lie


def hiding(method: str, _parameters: list[Any], result: Any) -> Any:
    """It has never heard of any transaction."""
    match method:
        case "getSignaturesForAddress":
            return []
        case "getTransaction":
            return None
        case "getSignatureStatuses":
            return result | {"value": [None for _ in result["value"]]}
    return result


def poor(method: str, _parameters: list[Any], result: Any) -> Any:
    return result | {"value": 0} if method == "getBalance" else result


def inventing(name: str, transaction: str) -> Lie:
    """It shows this transaction (hex) in every history, at the newest slot, as gone well."""
    shown = base64.b64encode(bytes.fromhex(transaction)).decode()

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        about = {"err": None, "slot": 1, "blockTime": int(time.time())}
        if method == "getSignaturesForAddress":
            about |= {"slot": result[0]["slot"]} if result else {}
            listed = {"signature": name, "memo": None, "confirmationStatus": "confirmed"}
            return [about | listed, *result]
        if method == "getTransaction" and parameters[0] == name:
            meta = {"err": None, "fee": 5000, "preBalances": [9, 1], "postBalances": [1, 9]}
            return about | {"meta": meta, "transaction": [shown, "base64"], "version": "legacy"}
        return result

    return lie


def altering(method: str, _parameters: list[Any], result: Any) -> Any:
    """It shows every transaction with another amount."""
    if method != "getTransaction":
        return result
    raw = bytearray(base64.b64decode(result["transaction"][0]))
    raw[-2] ^= 1
    return result | {"transaction": [base64.b64encode(raw).decode(), "base64"]}


def halving(method: str, _parameters: list[Any], result: Any) -> Any:
    """It shows the first half of every transaction."""
    if method != "getTransaction":
        return result
    raw = base64.b64decode(result["transaction"][0])
    half = base64.b64encode(raw[: len(raw) // 2]).decode()
    return result | {"transaction": [half, "base64"]}


LIES: dict[str, Callable[..., Lie]] = {
    "honest": lambda: honest,
    "stalling": lambda: stalling,
    "another-chain": lambda: another_chain,
    "standing": standing,
    "hiding": lambda: hiding,
    "poor": lambda: poor,
    "inventing": inventing,
    "altering": lambda: altering,
    "halving": lambda: halving,
}


class _Front:
    def __init__(self, devnet: int, notes: Path) -> None:
        self.lie: Lie = honest
        self._never = asyncio.Event()
        self._devnet, self._notes = devnet, notes.open("a", buffering=1)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection's requests: HTTP/1.1 with Content-Length, as httpx sends them."""
        with suppress(OSError, asyncio.IncompleteReadError):
            node = await asyncio.open_connection("127.0.0.1", self._devnet)
            while True:
                head, body = await _message(reader)
                node[1].write(head + body)
                head, answer = await _message(node[0])
                if self.lie is not honest or b'"sendTransaction"' in body:
                    answer = await self._answer(json.loads(body), json.loads(answer))
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
                writer.write(head + answer)
                await writer.drain()
        writer.close()

    async def _answer(self, asked: Any, answer: Any) -> bytes:
        method, parameters = asked["method"], asked.get("params", [])
        if "result" in answer:
            if method == "sendTransaction":
                raw = base64.b64decode(parameters[0]).hex()
                print(time.monotonic(), raw, ".", file=self._notes)
            answer["result"] = self.lie(method, parameters, answer["result"])
            if answer["result"] is STALLED:
                await self._never.wait()
        return json.dumps(answer).encode()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [
        line.partition(b":")[2]
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    return head, await reader.readexactly(int(lengths[0]))


async def _serve(arguments: Sequence[str]) -> None:
    """Serve until standard input ends; each line of it names the lie from then on."""
    port, devnet, notes = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    front = _Front(devnet, notes)
    async with await asyncio.start_server(front.talk, "127.0.0.1", port):
        print("ready", flush=True)  # noqa: T201 - to who started it
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *words = line.split()
            front.lie = LIES[name](*words)
            print(name, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
