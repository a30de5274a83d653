"""The devnet's RPC: commitment, the forms of the answers, and what it refuses."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from solders import compute_budget
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.message import MessageV0, MessageV1, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.rpc import errors, responses
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.methods import METHODS
from custody.dev.devnet.params import RpcError
from custody.dev.devnet.rpc import answer, call
from custody.dev.devnet.slots import CONFIRMED_AFTER, FINALIZED_AFTER, MAX_AGE
from custody.dev.devnet.wire import WireError
from tests.devnet_wallet import BASE64, PROCESSED, SOL, Wallet, encoded

STRANGER = Pubkey(bytes(range(32)))
FINAL = {"commitment": "finalized"}


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with Chain(tmp_path, lambda: 1_800_000_000.0) as chain:
        yield chain


@pytest.fixture
def wallet(chain: Chain) -> Wallet:
    wallet = Wallet(lambda method, params: call(chain, method, params))
    chain.advance(FINALIZED_AFTER)
    return wallet


def raw(chain: Chain, method: str, params: list[Any]) -> str:
    request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    return answer(chain, json.dumps(request).encode()).decode()


def test_balances_and_statuses_follow_the_commitment(chain: Chain, wallet: Wallet) -> None:
    levels = ("processed", "confirmed", "finalized")
    signature = wallet.send(wallet.sign(wallet.pay(STRANGER)))

    def seen() -> tuple[list[int], str, int | None]:
        balances = [wallet.balance(STRANGER, level) // SOL for level in levels]
        status = wallet.status(signature)
        return balances, status["confirmationStatus"], status["confirmations"]

    assert seen() == ([1, 0, 0], "processed", 0)
    chain.advance(CONFIRMED_AFTER)
    wallet.send(wallet.sign(wallet.pay(STRANGER, 2 * SOL)))  # a second version of the account
    assert seen() == ([3, 1, 0], "confirmed", 1)
    chain.advance(FINALIZED_AFTER - CONFIRMED_AFTER)
    assert seen() == ([3, 3, 1], "finalized", None)
    assert wallet.balance(STRANGER) == 3 * SOL
    chain.advance(CONFIRMED_AFTER)
    assert seen() == ([3, 3, 3], "finalized", None)


def test_slot_height_and_blockhash_follow_the_commitment(chain: Chain, wallet: Wallet) -> None:
    newest = chain.slots.newest
    slots = [wallet.call("getSlot", [{"commitment": c}]) for c in ("processed", "confirmed")]
    assert [*slots, wallet.call("getSlot", [])] == [newest, newest - 1, newest - FINALIZED_AFTER]
    latest = wallet.call("getLatestBlockhash", [])
    assert latest["value"]["lastValidBlockHeight"] == newest - FINALIZED_AFTER + MAX_AGE
    young = wallet.call("getLatestBlockhash", [PROCESSED])["value"]["blockhash"]
    assert wallet.call("isBlockhashValid", [young, PROCESSED])["value"] is True
    assert wallet.call("isBlockhashValid", [young, FINAL])["value"] is False
    chain.advance(MAX_AGE + 1)
    assert wallet.call("isBlockhashValid", [young, PROCESSED])["value"] is False
    assert wallet.call("isBlockhashValid", [young, FINAL])["value"] is True
    with pytest.raises(RpcError) as caught:
        wallet.call("getSlot", [{"minContextSlot": chain.slots.newest}])
    assert caught.value.code == -32016


def test_preflight_looks_at_the_commitment_asked_for(chain: Chain, wallet: Wallet) -> None:
    poor = Wallet(wallet.call)
    final = chain.slots.blockhash(chain.slots.at("finalized"))
    tx = poor.sign(poor.pay(STRANGER), blockhash=final)
    with pytest.raises(RpcError) as caught:  # its funds are not final yet
        wallet.call("sendTransaction", [encoded(tx), BASE64])
    assert isinstance(caught.value.data, dict)
    assert caught.value.data["err"] == "AccountNotFound"
    young = wallet.sign(wallet.pay(STRANGER))
    with pytest.raises(RpcError, match="BlockhashNotFound"):
        wallet.call("sendTransaction", [encoded(young), BASE64])
    poor.send(tx, preflight=False)  # the look at the older state has left this one as it was
    assert (poor.balance(), wallet.balance(STRANGER)) == (9 * SOL - 5000, SOL)


def test_transactions_are_served_once_confirmed_with_fee_and_balances(
    chain: Chain, wallet: Wallet
) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    signature = wallet.send(tx)
    confirmed = BASE64 | {"commitment": "confirmed"}
    assert wallet.call("getTransaction", [signature, confirmed]) is None
    with pytest.raises(RpcError, match="below `confirmed`"):
        wallet.call("getTransaction", [signature, BASE64 | PROCESSED])
    slot = chain.slots.newest
    chain.advance(CONFIRMED_AFTER)
    assert wallet.call("getTransaction", [signature, BASE64]) is None
    found = wallet.call("getTransaction", [signature, confirmed])
    assert (found["slot"], found["blockTime"]) == (slot, 1_800_000_000)
    assert base64.b64decode(found["transaction"][0]) == bytes(tx)
    meta = found["meta"]
    assert (meta["err"], meta["fee"]) == (None, 5000)
    assert meta["preBalances"][:2] == [10 * SOL, 0]
    assert meta["postBalances"][:2] == [9 * SOL - 5000, SOL]
    assert any("success" in line for line in meta["logMessages"])


def test_version_0_transactions_are_served_to_who_understands_them(
    chain: Chain, wallet: Wallet
) -> None:
    message = MessageV0.try_compile(wallet.address, [wallet.pay(STRANGER)], [], wallet.newest())
    signature = wallet.send(VersionedTransaction(message, [wallet.key]))
    chain.advance(FINALIZED_AFTER)
    version = {"maxSupportedTransactionVersion": 0}
    assert wallet.call("getTransaction", [signature, BASE64 | version])["version"] == 0
    with pytest.raises(RpcError) as caught:
        wallet.call("getTransaction", [signature, BASE64])
    assert caught.value.code == -32015


def test_signatures_of_an_address_page_newest_first(chain: Chain, wallet: Wallet) -> None:
    sent = []
    for amount in range(1, 6):
        sent.append(wallet.send(wallet.sign(wallet.pay(STRANGER, amount * SOL // 10))))
        chain.advance()
    newest = sent[::-1]

    def page(**options: object) -> list[str]:
        rows = wallet.call("getSignaturesForAddress", [str(STRANGER), options])
        return [row["signature"] for row in rows]

    assert page() == newest[FINALIZED_AFTER - 1 :]
    assert page(commitment="confirmed") == newest
    chain.advance(FINALIZED_AFTER)
    assert page(limit=2) == newest[:2]
    assert page(before=newest[1], limit=2) == newest[2:4]
    assert page(before=newest[1], until=newest[4]) == newest[2:4]
    assert page(before=str(Signature.default())) == []  # unknown there


def test_simulation_tells_and_changes_nothing(wallet: Wallet) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    unsigned = VersionedTransaction.populate(tx.message, [Signature.default()])
    options = BASE64 | PROCESSED
    value = wallet.call("simulateTransaction", [encoded(unsigned), options])["value"]
    assert (value["err"], value["unitsConsumed"]) == (None, 150)
    signed = options | {"sigVerify": True}
    value = wallet.call("simulateTransaction", [encoded(unsigned), signed])["value"]
    assert value["err"] == "SignatureFailure"
    assert (wallet.balance(), wallet.balance(STRANGER)) == (10 * SOL, 0)


def test_simulation_in_an_older_bank_does_not_know_what_landed_since(
    chain: Chain, wallet: Wallet
) -> None:
    final = chain.slots.blockhash(chain.slots.at("finalized"))
    tx = wallet.sign(wallet.pay(STRANGER), blockhash=final)
    wallet.send(tx)
    for commitment, err in (("processed", "AlreadyProcessed"), ("finalized", None)):
        params = [encoded(tx), BASE64 | {"commitment": commitment}]
        assert wallet.call("simulateTransaction", params)["value"]["err"] == err


def test_status_of_old_transactions_needs_a_search_of_the_history(
    chain: Chain, wallet: Wallet
) -> None:
    signature = wallet.send(wallet.sign(wallet.pay(STRANGER)))
    chain.advance(300)
    assert wallet.call("getSignatureStatuses", [[signature]])["value"][0] is not None
    chain.advance()
    assert wallet.call("getSignatureStatuses", [[signature]])["value"] == [None]
    assert wallet.status(signature)["confirmationStatus"] == "finalized"


def test_fee_counts_signatures_and_priority(wallet: Wallet) -> None:
    budget = [
        compute_budget.set_compute_unit_limit(1000),
        compute_budget.set_compute_unit_price(10**7),
    ]
    tx = wallet.sign(*budget, wallet.pay(STRANGER))
    message = base64.b64encode(bytes(tx.message)).decode()
    assert wallet.call("getFeeForMessage", [message, PROCESSED])["value"] == 5000 + 10_000
    assert wallet.call("getFeeForMessage", [message])["value"] is None  # not recent there
    before = wallet.balance()
    wallet.send(tx)
    assert wallet.balance() == before - SOL - 15_000


def test_airdrops_of_one_slot_all_count_and_bad_ones_are_refused(wallet: Wallet) -> None:
    for _ in range(3):
        wallet.call("requestAirdrop", [str(STRANGER), SOL])
    assert wallet.balance(STRANGER) == 3 * SOL
    with pytest.raises(RpcError, match="InsufficientFundsForRent"):
        wallet.call("requestAirdrop", [str(Pubkey(bytes(31) + b"\x07")), 1])


def test_every_answer_parses_as_a_real_nodes(chain: Chain, wallet: Wallet) -> None:
    """solders holds the types of Solana's own client."""
    tx = wallet.sign(wallet.pay(STRANGER))
    signature, me = wallet.send(tx), str(wallet.address)
    blockhash = str(chain.slots.blockhash(chain.slots.newest))
    chain.advance(FINALIZED_AFTER)
    message = base64.b64encode(to_bytes_versioned(tx.message)).decode()
    fresh = wallet.sign(wallet.pay(STRANGER))
    asked: list[tuple[str, list[Any], Any]] = [
        ("getHealth", [], responses.GetHealthResp),
        ("getVersion", [], responses.GetVersionResp),
        ("getGenesisHash", [], responses.GetGenesisHashResp),
        ("getSlot", [], responses.GetSlotResp),
        ("getBlockHeight", [], responses.GetBlockHeightResp),
        ("getFirstAvailableBlock", [], responses.GetFirstAvailableBlockResp),
        ("getLatestBlockhash", [], responses.GetLatestBlockhashResp),
        ("isBlockhashValid", [blockhash], None),
        ("getBalance", [me], responses.GetBalanceResp),
        ("getAccountInfo", [me, BASE64], responses.GetAccountInfoResp),
        ("getMultipleAccounts", [[me, me], BASE64], responses.GetMultipleAccountsResp),
        (
            "getMinimumBalanceForRentExemption",
            [80],
            responses.GetMinimumBalanceForRentExemptionResp,
        ),
        ("getFeeForMessage", [message], responses.GetFeeForMessageResp),
        ("getRecentPrioritizationFees", [[me]], responses.GetRecentPrioritizationFeesResp),
        ("getSignatureStatuses", [[signature]], responses.GetSignatureStatusesResp),
        ("getSignaturesForAddress", [me], responses.GetSignaturesForAddressResp),
        ("getTransaction", [signature, BASE64], responses.GetTransactionResp),
        ("sendTransaction", [encoded(tx), BASE64], responses.SendTransactionResp),
        (
            "simulateTransaction",
            [encoded(fresh), BASE64 | PROCESSED],
            responses.SimulateTransactionResp,
        ),
        ("requestAirdrop", [me, SOL], responses.RequestAirdropResp),
    ]
    assert {method for method, _, _ in asked} == METHODS.keys()
    for method, params, form in asked:
        text = raw(chain, method, params)
        assert "result" in json.loads(text), text
        if form is not None:
            assert isinstance(form.from_json(text), form), text
    failing = encoded(wallet.sign(wallet.pay(STRANGER, 99 * SOL)))
    text = raw(chain, "sendTransaction", [failing, BASE64 | {"preflightCommitment": "processed"}])
    parsed = responses.SendTransactionResp.from_json(text)
    assert isinstance(parsed, errors.SendTransactionPreflightFailureMessage)


ME = str(STRANGER)
BAD: list[tuple[str, Any, int]] = [
    ("getWealth", [], -32601),
    ("getSlot", {"commitment": "processed"}, -32602),
    ("getSlot", [{"commitment": "recent"}], -32602),
    ("getSlot", [{"commitment": ["processed"]}], -32602),
    ("getSlot", [{"minContextSlot": True}], -32602),
    ("getSlot", ["processed"], -32602),
    ("getSlot", [{}, {}], -32602),
    ("getBalance", [], -32602),
    ("getBalance", ["0OIl"], -32602),
    ("getBalance", [ME[:-1]], -32602),
    ("getAccountInfo", [ME], -32602),
    ("getAccountInfo", [ME, {"encoding": "jsonParsed"}], -32602),
    ("getAccountInfo", [ME, {"encoding": "base64", "dataSlice": {}}], -32602),
    ("getMultipleAccounts", [[ME] * 101, BASE64], -32602),
    ("getMinimumBalanceForRentExemption", [-1], -32602),
    ("getMinimumBalanceForRentExemption", [2**40], -32602),
    ("getMinimumBalanceForRentExemption", [1.5], -32602),
    ("getFeeForMessage", ["AAAA"], -32602),
    ("getSignatureStatuses", ["x"], -32602),
    ("getSignatureStatuses", [["x"]], -32602),
    ("getSignaturesForAddress", [ME, {"limit": 0}], -32602),
    ("getSignaturesForAddress", [ME, {"limit": 1001}], -32602),
    ("getSignaturesForAddress", [ME, PROCESSED], -32602),
    ("isBlockhashValid", ["x"], -32602),
    ("sendTransaction", ["!", BASE64], -32602),
    ("sendTransaction", ["", BASE64], -32602),
    ("sendTransaction", ["A" * 1648, BASE64], -32602),
    ("requestAirdrop", [ME, "1"], -32602),
    ("requestAirdrop", [ME, 2**64], -32602),
]


@pytest.mark.parametrize(("method", "params", "code"), BAD)
def test_malformed_requests_are_refused_by_code(
    chain: Chain, method: str, params: Any, code: int
) -> None:
    reply = json.loads(raw(chain, method, params))
    assert (reply["id"], reply["error"]["code"]) == (7, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "getSlot"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', -32600),
        (b'{"jsonrpc": "2.0", "method": "getSlot"}', -32600),
    ],
)
def test_what_is_no_request_is_refused_by_code(chain: Chain, body: bytes, code: int) -> None:
    reply = json.loads(answer(chain, body))
    assert (reply["id"], reply["error"]["code"]) == (None, code)


def test_transactions_of_a_kind_not_served_are_refused(chain: Chain, wallet: Wallet) -> None:
    table = AddressLookupTableAccount(key=Pubkey(bytes(32)), addresses=[STRANGER])
    newest, pay = wallet.newest(), [wallet.pay(STRANGER)]
    looked_up = MessageV0.try_compile(wallet.address, pay, [table], newest)
    assert looked_up.address_table_lookups
    for message, words in (
        (looked_up, "lookup tables"),
        (MessageV1.try_compile(wallet.address, pay, newest), "no later version"),
    ):
        tx = VersionedTransaction(message, [wallet.key])
        with pytest.raises(RpcError, match=words):
            wallet.send(tx, preflight=False)
        encoded_message = base64.b64encode(to_bytes_versioned(message)).decode()
        with pytest.raises(RpcError, match=words):
            wallet.call("getFeeForMessage", [encoded_message])
        with pytest.raises(WireError, match=words):
            chain.submit(tx)


def test_bytes_after_a_transaction_or_message_are_refused(chain: Chain, wallet: Wallet) -> None:
    tx = wallet.sign(wallet.pay(STRANGER))
    longer = base64.b64encode(bytes(tx) + b"\0").decode()
    with pytest.raises(RpcError, match="after its end"):
        wallet.call("sendTransaction", [longer, BASE64])
    message = base64.b64encode(bytes(tx.message) + b"\0").decode()
    with pytest.raises(RpcError, match="after its end"):
        wallet.call("getFeeForMessage", [message])
