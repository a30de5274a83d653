"""JSON-RPC 2.0 around the devnet's chain: one request in, one answer out, one at a time.

Whatever a request holds that this devnet does not serve is refused with words, never ignored:
unknown options (-32602), batches (-32600). https://www.jsonrpc.org/specification
"""

import json
import sqlite3
from typing import Any

from custody.dev.devnet import params
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.methods import METHODS, Method
from custody.dev.devnet.params import Options, RpcError, invalid


def answer(chain: Chain, body: bytes) -> bytes:
    """The answer to one HTTP body. Raises nothing that a request can cause."""
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": None}
    try:
        request = _request(body)
        reply["id"] = request["id"]
        reply["result"] = call(chain, request["method"], request.get("params"))
    except RpcError as error:
        data = {} if error.data is None else {"data": error.data}
        reply["error"] = {"code": error.code, "message": error.message, **data}
    return json.dumps(reply).encode()


def call(chain: Chain, name: str, given: object = None) -> Any:
    """The `result` of one method; `given` is the request's `params`. Raises RpcError."""
    method = METHODS.get(name)
    if method is None:
        raise RpcError(params.METHOD_NOT_FOUND, f"Method not found: the devnet serves no {name}")
    if given is not None and not isinstance(given, list):
        raise invalid("parameters come as a list")
    with chain.lock:
        try:
            return method.run(chain, *_parse(chain, method, given or []))
        except sqlite3.Error as error:
            words = f"Internal error: nothing was changed, the ledger cannot be used: {error}"
            raise RpcError(params.INTERNAL_ERROR, words) from error


def _parse(chain: Chain, method: Method, given: list[Any]) -> list[Any]:
    places = len(method.takes)
    if len(given) > places + 1:
        raise invalid(f"expected at most {places + 1} parameters")
    padded = given + [None] * (places + 1 - len(given))
    parsed = [parse(value) for parse, value in zip(method.takes, padded, strict=False)]
    return [*parsed, _options(chain, method, padded[places])]


def _options(chain: Chain, method: Method, given: object) -> Options:
    if given is None:
        return Options(chain, {})
    if not isinstance(given, dict):
        raise invalid("the last parameter is an object with options")
    unknown = sorted(given.keys() - method.options)
    if unknown:
        raise invalid(f"the devnet does not serve the option {unknown[0]!r} here: leave it out")
    return Options(chain, {key: value for key, value in given.items() if value is not None})


def _request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RpcError(params.PARSE_ERROR, "Parse error: the body is not JSON") from error
    if not isinstance(request, dict):
        raise RpcError(params.INVALID_REQUEST, "Invalid request: one object, no batch")
    sound = (
        request.get("jsonrpc") == "2.0"
        and isinstance(request.get("method"), str)
        and isinstance(request.get("id"), str | int)
    )
    if not sound:
        words = 'Invalid request: needs "jsonrpc": "2.0", an id (string or number) and a method'
        raise RpcError(params.INVALID_REQUEST, words)
    return request
