"""A Solana node as its callers see it: the devnet behind a front that notes, stalls and lies.

Nothing of the chain is changed: what the front makes up is only what its callers hear.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

Lie = Callable[[str, list[Any], Any], Any]
"""Turns (method, parameters, true result) into what is answered; STALLED for no answer at all."""
STALLED = object()


@dataclass(frozen=True)
class Sent:
    """A transaction that the node took, and when by the monotonic clock."""

    at: float
    transaction: bytes


def honest(_method: str, _parameters: list[Any], result: Any) -> Any:
    return result


@dataclass
class NodeFront:
    """`port` of the front, `devnet` the true node's address."""

    port: int
    devnet: str
    lie: Lie = honest
    sent: list[Sent] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with httpx.AsyncClient(trust_env=False) as client:
            talks = set[asyncio.Task[None]]()

            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task
                talks.add(task)
                try:
                    await self._talk(client, reader, writer)
                except (OSError, asyncio.IncompleteReadError):
                    pass
                finally:
                    talks.discard(task)
                    writer.close()

            server = await asyncio.start_server(talk, "127.0.0.1", self.port)
            try:
                yield
            finally:
                server.close()
                for task in talks:
                    task.cancel()
                await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(
        self,
        client: httpx.AsyncClient,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Answer one connection's requests: HTTP/1.1 with Content-Length, as httpx sends them."""
        while not reader.at_eof():
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(
                line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line
            )
            body = await reader.readexactly(int(fields[b"content-length"]))
            answer = await self._answer(client, json.loads(body))
            if answer is None:
                status, content = b"503 Service Unavailable", b""
            else:
                status, content = b"200 OK", json.dumps(answer).encode()
            writer.write(
                b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(content), content)
            )
            await writer.drain()

    async def _answer(self, client: httpx.AsyncClient, asked: Any) -> Any:
        """The answer, lied about; None while the devnet is down."""
        try:
            answer = (await client.post(self.devnet, json=asked, timeout=30)).json()
        except httpx.HTTPError:
            return None
        method, parameters = asked["method"], asked.get("params", [])
        if "result" in answer:
            if method == "sendTransaction":
                transaction = base64.b64decode(parameters[0])
                self.sent.append(Sent(time.monotonic(), transaction))
            answer["result"] = self.lie(method, parameters, answer["result"])
            if answer["result"] is STALLED:
                await asyncio.Event().wait()
        return answer


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


def inventing(name: str, transaction: bytes) -> Lie:
    """It shows this transaction in every history, at the newest slot, as having gone well."""
    shown = base64.b64encode(transaction).decode()

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "getSignaturesForAddress":
            slot = result[0]["slot"] if result else 1
            return [
                {
                    "signature": name,
                    "slot": slot,
                    "err": None,
                    "memo": None,
                    "blockTime": int(time.time()),
                    "confirmationStatus": "confirmed",
                },
                *result,
            ]
        if method == "getTransaction" and parameters[0] == name:
            meta = {"err": None, "fee": 5000, "preBalances": [9, 1], "postBalances": [1, 9]}
            return {
                "slot": 1,
                "blockTime": int(time.time()),
                "meta": meta,
                "transaction": [shown, "base64"],
                "version": "legacy",
            }
        return result

    return lie
