"""What the adapter makes of a node's answers, most of them malformed, without a socket."""

import base64
import json
import struct
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair

from custody.chains.errors import NodeError, NonceUnusableError, RejectedError
from custody.chains.jsonrpc import ANSWER_LIMIT
from custody.chains.solana import SolanaNode, TransactionStatus
from signer.chains import solana
from signer.chains.solana_address import encode_address, transaction_id

SYSTEM = "11111111111111111111111111111111"
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
KEY = Keypair.from_seed(bytes(range(32)))
WALLET = str(KEY.pubkey())
HASH = encode_address(b"\x07" * 32)
URL = "https://node.example/secret-token"
RENT = 890_880

Answers = dict[str, Any]


def in_context(value: Any) -> dict[str, Any]:
    return {"context": {"slot": 5}, "value": value}


def unread(answer: dict[str, Any]) -> httpx.Response:
    """A response that, as from a socket, has not been read yet."""
    return httpx.Response(200, stream=httpx.ByteStream(json.dumps(answer).encode()))


def node_answering(answers: Answers, requests: list[dict[str, Any]] | None = None) -> SolanaNode:
    """A node with a fixed `result` per method; a dict under "!method" is an error instead."""

    def handle(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if requests is not None:
            requests.append(asked)
        answer = {"jsonrpc": "2.0", "id": asked["id"]}
        if "!" + asked["method"] in answers:
            return unread(answer | {"error": answers["!" + asked["method"]]})
        return unread(answer | {"result": answers[asked["method"]]})

    return SolanaNode(URL, transport=httpx.MockTransport(handle))


def account(**changed: Any) -> dict[str, Any]:
    fields = {"lamports": 10**9, "owner": SYSTEM, "executable": False}
    return fields | {"rentEpoch": 2**64 - 1, "space": 0, "data": ["", "base64"]} | changed


def encoded(data: bytes) -> list[str]:
    return [base64.b64encode(data).decode(), "base64"]


def nonce_account(version: int = 1, state: int = 1, authority: str = WALLET) -> dict[str, Any]:
    key = bytes(KEY.pubkey()) if authority == WALLET else b"\x09" * 32
    data = struct.pack("<II32s32sQ", version, state, key, b"\x07" * 32, 5000)
    return account(data=encoded(data))


def a_transaction() -> bytes:
    message = solana.transfer_message(
        source=bytes(KEY.pubkey()),
        nonce_account=b"\x06" * 32,
        nonce_value=b"\x07" * 32,
        destination=b"\x08" * 32,
        lamports=RENT,
        memo="",
        fee=solana.Fee(1000, 0),
    )
    return solana.transaction(message, bytes(KEY.sign_message(message)))


SENT = a_transaction()
NAME = transaction_id(SENT[1:65])


async def test_good_answers_are_read() -> None:
    requests: list[dict[str, Any]] = []
    answers = {
        "getGenesisHash": HASH,
        "getSlot": 7,
        "getLatestBlockhash": in_context({"blockhash": HASH, "lastValidBlockHeight": 9}),
        "getMinimumBalanceForRentExemption": RENT,
        "getBalance": in_context(2**64 - 1),
        "getAccountInfo": in_context(account(data=encoded(bytes(200)))),
    }
    async with node_answering(answers, requests) as node:
        assert await node.genesis_hash() == HASH
        assert await node.slot() == 7
        assert await node.latest_blockhash() == b"\x07" * 32
        assert await node.minimum_rent(0) == RENT
        assert await node.balance(WALLET) == 2**64 - 1
        found = await node.account(WALLET)
    assert found is not None
    assert (found.lamports, found.owner, found.data) == (10**9, SYSTEM, bytes(200))
    assert requests[4]["params"] == [WALLET, {"commitment": "finalized"}]
    assert len({request["id"] for request in requests}) == len(requests)


@pytest.mark.parametrize(
    "value", ["5", 5.0, True, None, -1, 2**64, [], {}, {"value": 5}, float("nan"), float("inf")]
)
async def test_a_balance_that_is_no_unsigned_integer_is_refused(value: Any) -> None:
    async with node_answering({"getBalance": in_context(value)}) as node:
        with pytest.raises(NodeError):
            await node.balance(WALLET)


@pytest.mark.parametrize("result", [5, None, {"value": 5}, {"context": {}, "value": 5}, [], "5"])
async def test_a_balance_without_its_context_is_refused(result: Any) -> None:
    async with node_answering({"getBalance": result}) as node:
        with pytest.raises(NodeError):
            await node.balance(WALLET)


@pytest.mark.parametrize(
    "changed",
    [
        {"lamports": "5"},
        {"lamports": -1},
        {"owner": "not an address"},
        {"owner": 5},
        {"executable": "false"},
        {"executable": 0},
        {"data": ""},
        {"data": None},
        {"data": ["", "base58"]},
        {"data": ["", "base64", ""]},
        {"data": ["*", "base64"]},
        {"data": [5, "base64"]},
        {"data": {"parsed": {}, "program": "nonce"}},
    ],
)
async def test_a_malformed_account_is_refused(changed: dict[str, Any]) -> None:
    async with node_answering({"getAccountInfo": in_context(account(**changed))}) as node:
        with pytest.raises(NodeError):
            await node.account(WALLET)


async def test_a_nonce_is_read_and_an_absent_one_is_none() -> None:
    async with node_answering({"getAccountInfo": in_context(nonce_account())}) as node:
        assert await node.nonce_value(HASH, WALLET) == b"\x07" * 32
    async with node_answering({"getAccountInfo": in_context(None)}) as node:
        assert await node.nonce_value(HASH, WALLET) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (account(), "not a nonce account"),
        (nonce_account() | {"owner": TOKEN}, "not a nonce account"),
        (account(data=encoded(bytes(165))), "not a nonce account"),
        (nonce_account(state=0), "initialized"),
        (nonce_account(version=0), "initialized"),
        (nonce_account(authority="another"), "authority"),
    ],
)
async def test_something_else_at_a_nonces_address_is_named(
    found: dict[str, Any], words: str
) -> None:
    async with node_answering({"getAccountInfo": in_context(found)}) as node:
        with pytest.raises(NonceUnusableError, match=words):
            await node.nonce_value(HASH, WALLET)


@pytest.mark.parametrize(
    ("found", "lamports", "words"),
    [
        (account(), RENT, None),
        (account(), RENT - 1, "at least 890880 lamports"),
        (None, RENT, None),
        (None, RENT - 1, "at least 890880 lamports"),
        (account(executable=True), RENT, "program"),
        (account(owner=TOKEN, data=encoded(bytes(165))), RENT, TOKEN),
        (nonce_account(), RENT, "nonce account"),
        (account(data=encoded(bytes(ANSWER_LIMIT))), RENT, "more data"),
    ],
)
async def test_destinations_are_judged(
    found: dict[str, Any] | None, lamports: int, words: str | None
) -> None:
    answers = {"getAccountInfo": in_context(found), "getMinimumBalanceForRentExemption": RENT}
    async with node_answering(answers) as node:
        problem = await node.destination_problem(HASH, lamports)
        assert problem is None if words is None else words in str(problem)
        assert await node.destination_problem("l0l", lamports) is not None


async def test_sending_asks_for_preflight_and_compares_the_id() -> None:
    requests: list[dict[str, Any]] = []
    async with node_answering({"sendTransaction": NAME}, requests) as node:
        await node.send(SENT)
    text, options = requests[0]["params"]
    assert base64.b64decode(text) == SENT
    assert options["skipPreflight"] is False
    async with node_answering({"sendTransaction": "1" * 64}) as node:
        with pytest.raises(NodeError, match="another id"):
            await node.send(SENT)


def refusal(err: Any, code: int = -32002) -> dict[str, Any]:
    return {"code": code, "message": "Transaction simulation failed", "data": {"err": err}}


def one_status(**changed: Any) -> dict[str, Any]:
    good = {"slot": 5, "err": None, "confirmations": None, "confirmationStatus": "confirmed"}
    return in_context([good | changed])


async def test_a_transaction_the_chain_has_counts_as_sent() -> None:
    async with node_answering({"!sendTransaction": refusal("AlreadyProcessed")}) as node:
        await node.send(SENT)
    spent = {"!sendTransaction": refusal("BlockhashNotFound")}
    async with node_answering(spent | {"getSignatureStatuses": one_status()}) as node:
        await node.send(SENT)


@pytest.mark.parametrize(
    ("error", "err"),
    [
        (refusal("BlockhashNotFound"), '"BlockhashNotFound"'),
        (
            refusal({"InstructionError": [3, {"Custom": 1}]}),
            '{"InstructionError": [3, {"Custom": 1}]}',
        ),
        (refusal(None), ""),
        ({"code": -32002, "message": "no data"}, ""),
        ({"code": -32003, "message": "signature verification failure", "data": None}, ""),
        ({"code": -32602, "message": "base64 encoded too large"}, ""),
    ],
)
async def test_a_refusal_before_sending_is_rejected(error: dict[str, Any], err: str) -> None:
    answers = {"!sendTransaction": error, "getSignatureStatuses": in_context([None])}
    async with node_answering(answers) as node:
        with pytest.raises(RejectedError) as caught:
            await node.send(SENT)
    assert caught.value.err == err


@pytest.mark.parametrize("code", [-32005, -32004, -32603, -32601, 429])
async def test_a_node_with_troubles_of_its_own_rejects_nothing(code: int) -> None:
    async with node_answering({"!sendTransaction": refusal("AlreadyProcessed", code)}) as node:
        with pytest.raises(NodeError, match=str(code)):
            await node.send(SENT)


async def test_status_with_fee_once_finalized() -> None:
    details = {"slot": 5, "meta": {"err": None, "fee": 5001}, "transaction": {}}
    answers = {"getSignatureStatuses": one_status(), "getTransaction": details}
    async with node_answering(answers) as node:
        assert await node.status(NAME) == TransactionStatus(5, "confirmed", None, None)
    answers["getSignatureStatuses"] = one_status(confirmationStatus="finalized")
    async with node_answering(answers) as node:
        assert await node.status(NAME) == TransactionStatus(5, "finalized", None, 5001)
    async with node_answering(answers | {"getTransaction": None}) as node:
        assert await node.status(NAME) == TransactionStatus(5, "finalized", None, None)
    async with node_answering({"getSignatureStatuses": in_context([None])}) as node:
        assert await node.status(NAME) is None
    failed = {"getSignatureStatuses": one_status(err={"InstructionError": [3, "Custom"]})}
    async with node_answering(failed) as node:
        status = await node.status(NAME)
    assert status is not None
    assert status.err == '{"InstructionError": [3, "Custom"]}'


@pytest.mark.parametrize(
    ("status", "details"),
    [
        (in_context([]), None),
        (in_context([None, None]), None),
        (in_context(None), None),
        (in_context([7]), None),
        (in_context([{"slot": 5, "err": None}]), None),
        (in_context([{"slot": 5, "confirmationStatus": "finalized"}]), None),
        (one_status(slot="5"), None),
        (one_status(confirmationStatus="rooted"), None),
        (one_status(confirmationStatus=None), None),
        (one_status(confirmationStatus=["finalized"]), None),
        (one_status(confirmationStatus="finalized"), {"slot": 6, "meta": {"err": None, "fee": 1}}),
        (one_status(confirmationStatus="finalized"), {"slot": 5, "meta": {"err": "x", "fee": 1}}),
        (
            one_status(confirmationStatus="finalized"),
            {"slot": 5, "meta": {"err": None, "fee": 1.0}},
        ),
        (one_status(confirmationStatus="finalized"), {"slot": 5, "meta": None}),
    ],
)
async def test_a_malformed_status_is_refused(status: Any, details: Any) -> None:
    async with node_answering({"getSignatureStatuses": status, "getTransaction": details}) as node:
        with pytest.raises(NodeError):
            await node.status(NAME)
