"""The JSON-RPC client against nodes that are broken, slow or hostile, without a socket."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from custody.chains.errors import NodeError, RpcError
from custody.chains.jsonrpc import ANSWER_LIMIT, JsonRpc

URL = "https://node.example/secret-token"


def reply(
    body: bytes | dict[str, Any], code: int = 200, headers: dict[str, str] | None = None
) -> httpx.Response:
    """A response that, as from a socket, has not been read yet."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(code, stream=httpx.ByteStream(content), headers=headers)


async def ask(answer: Callable[[httpx.Request], httpx.Response], timeout: float = 5.0) -> Any:  # noqa: ASYNC109 (the client's own)
    """One call to a node that answers so."""
    rpc = JsonRpc(URL, timeout=timeout, transport=httpx.MockTransport(answer))
    try:
        return await rpc.call("getSlot", [])
    finally:
        await rpc.close()


async def test_the_result_comes_back() -> None:
    assert await ask(lambda _: reply({"jsonrpc": "2.0", "id": 1, "result": 7})) == 7
    assert await ask(lambda _: reply({"jsonrpc": "2.0", "id": 1, "result": None})) is None
    absent = {"jsonrpc": "2.0", "id": 1, "result": 7, "error": None}
    assert await ask(lambda _: reply(absent)) == 7


async def test_an_error_answer_keeps_its_code_and_data_and_is_quoted_shortened() -> None:
    error = {"code": -32005, "message": "behind\n" * 1000, "data": {"numSlotsBehind": 42}}
    with pytest.raises(RpcError, match="-32005") as caught:
        await ask(lambda _: reply({"jsonrpc": "2.0", "id": 1, "error": error}))
    assert (caught.value.code, caught.value.data) == (-32005, {"numSlotsBehind": 42})
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"<html>busy</html>",
        b"[" * 500_000,
        b'{"jsonrpc": "2.0", "id": 1, "result": 7} trailing',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0", "id": 2, "result": 7}',
        b'{"jsonrpc": "2.0", "id": "1", "result": 7}',
        b'{"jsonrpc": "2.0", "result": 7}',
        b'{"jsonrpc": "1.0", "id": 1, "result": 7}',
        b'{"id": 1, "result": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "error": "no", "result": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "error": {"code": 1}, "result": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "error": {"code": "1", "message": ""}, "result": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "busy"}, "result": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"7" * 5000 + b"}",
        b'{"jsonrpc": "2.0", "id": 1, "result": 7' + b" " * ANSWER_LIMIT + b"}",
    ],
)
async def test_an_answer_that_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(NodeError):
        await ask(lambda _: reply(body))


async def test_nothing_of_an_answer_is_kept_for_the_next_call() -> None:
    """Cookies were: a node could have each call take longer than the one before, for ever."""
    headers = list[httpx.Headers]()

    def answer(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers)
        number = json.loads(request.content)["id"]
        body = {"jsonrpc": "2.0", "id": number, "result": 7}
        return reply(body, headers={"Set-Cookie": f"a{number}=b; Max-Age=9999"})

    rpc = JsonRpc(URL, timeout=5.0, transport=httpx.MockTransport(answer))
    for _ in range(2):
        assert await rpc.call("getSlot", []) == 7
    await rpc.close()
    first, second = headers
    assert first == second
    assert not rpc._client.cookies


@pytest.mark.parametrize("code", [201, 204, 302, 307, 401, 429, 500, 503])
async def test_other_http_codes_are_refused_and_no_redirect_is_followed(code: int) -> None:
    good = {"jsonrpc": "2.0", "id": 1, "result": 7}
    away = {"Location": "https://elsewhere.example/"}
    with pytest.raises(NodeError, match=f"HTTP {code}"):
        await ask(lambda _: reply(good, code, away))


async def test_a_compressed_answer_is_not_unfolded() -> None:
    body = gzip.compress(b'{"jsonrpc": "2.0", "id": 1, "result": 7}')
    with pytest.raises(NodeError, match="not JSON"):
        await ask(lambda _: reply(body, headers={"Content-Encoding": "gzip"}))


async def test_an_endless_answer_is_cut_off() -> None:
    served = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal served
        while True:
            served += 65536
            yield bytes(65536)

    with pytest.raises(NodeError, match="exceeds"):
        await ask(lambda _: httpx.Response(200, content=endless()))
    assert served <= ANSWER_LIMIT + 65536


async def test_a_dripping_answer_ends_with_the_timeout() -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    with pytest.raises(NodeError, match=r"within 0\.05 s"):
        async with asyncio.timeout(60):
            await ask(lambda _: httpx.Response(200, content=dripping()), timeout=0.05)


async def test_an_unreachable_node_is_named_without_its_url() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"cannot reach {request.url}", request=request)

    with pytest.raises(NodeError, match="ConnectError") as caught:
        await ask(refuse)
    assert "secret-token" not in str(caught.getrepr(chain=True, showlocals=False))
    assert caught.value.__cause__ is None
