"""JSON-RPC 2.0 over HTTP to a node that may be slow, broken or hostile.

Invariants: every call ends within the timeout, reads a bounded number of bytes, and either returns
the `result` of the answer to this very request or raises NodeError. No redirect, no cookie, and no
proxy from the environment. Values out of an answer pass `member` and `integer` before anyone relies
on them.
"""

import asyncio
import itertools
import json
import logging
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import httpx

from custody.chains.errors import AnswerTooLongError, NodeError, RpcError

ANSWER_LIMIT = 1024 * 1024  # bytes
_U64_LIMIT = 2**64 - 1

# At level INFO httpx logs whole URLs, and a node provider's URL carries the account's key.
logging.getLogger("httpx").setLevel(logging.WARNING)


class JsonRpc:
    """One node's endpoint; `timeout` in seconds holds for a whole call."""

    def __init__(
        self, url: str, *, timeout: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113 (asyncio.timeout in _post bounds the sum of all steps)
            trust_env=False,
            headers={"Accept-Encoding": "identity"},  # so that no small answer can unfold
            # A node's cookies would be kept, and gone through at each call, without bound.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, method: str, params: list[Any]) -> Any:
        """The `result` member; RpcError for an error answer, NodeError for anything else."""
        number = next(self._numbers)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        answer = _parse(await self._post(method, request), method)
        if member(answer, "jsonrpc") != "2.0" or member(answer, "id") != number:
            raise NodeError(f"the node's answer to {method} belongs to another request")
        if answer.get("error") is not None:
            _refused(method, answer["error"])
        return member(answer, "result")

    async def _post(self, method: str, request: dict[str, Any]) -> bytes:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, json=request) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise NodeError(f"the node answered {method} with HTTP {response.status_code}")
                return await _bounded(response, method)
        except TimeoutError:
            raise NodeError(f"no answer to {method} within {self._timeout} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NodeError(f"the node is unreachable: {type(error).__name__}") from None


async def _bounded(response: httpx.Response, method: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise AnswerTooLongError(f"the answer to {method} exceeds {ANSWER_LIMIT} bytes")
    return bytes(body)


def _parse(body: bytes, method: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise NodeError(f"the node's answer to {method} is not JSON") from None
    if not isinstance(answer, dict):
        raise NodeError(f"the node's answer to {method} is not a JSON object")
    return answer


def _refused(method: str, error: Any) -> NoReturn:
    code, message = member(error, "code"), member(error, "message")
    if type(code) is not int or not isinstance(message, str):
        raise NodeError(f"the node's error for {method} has no code and message")
    raise RpcError(method, code, message, error.get("data"))


def member(value: Any, name: str) -> Any:
    """The member `name` of a JSON object that must have it."""
    if not isinstance(value, dict) or name not in value:
        raise NodeError(f"the node's answer lacks {name!r}")
    return value[name]


def integer(value: Any, name: str) -> int:
    """An unsigned 64-bit JSON integer; neither 1.0 nor true is one."""
    if type(value) is not int or not 0 <= value <= _U64_LIMIT:
        raise NodeError(f"the node's answer has no unsigned integer as {name!r}")
    return value
