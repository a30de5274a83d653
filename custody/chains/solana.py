"""Solana seen through one node's JSON-RPC: balances, nonces, sending, and what became of it.

Invariants: addresses and transaction ids are base58 text, hashes are 32 raw bytes, amounts are
lamports. An answer counts only after every value in it was checked for type and range; anything
else is a NodeError, never a guess. Calls are independent and safe to repeat; `send` of the same
bytes any number of times pays once. Source of names and formats: Solana RPC HTTP methods.
"""

import base64
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

import httpx
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from custody.chains.errors import AnswerTooLongError, NodeError, RejectedError, RpcError
from custody.chains.jsonrpc import JsonRpc, integer, member
from custody.chains.solana_accounts import (
    Account,
    not_a_wallet,
    read_account,
    read_hash,
    read_nonce,
)

_CLOCK = "SysvarC1ock11111111111111111111111111111111"
# slot, epoch start, epoch, leader schedule epoch, Unix seconds (solana-clock).
_CLOCK_LAYOUT = struct.Struct("<QqQQq")
_SECONDS_MAX = 2**33
Commitment = Literal["processed", "confirmed", "finalized"]

_PREFLIGHT_FAILED, _SIGNATURE_FAILED, _INVALID_PARAMS = -32002, -32003, -32602


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """`err` is the chain's reason as JSON text, None after success.

    `fee` is known once finalized, and None until the node has the details; it is taken after a
    failure too.
    """

    slot: int
    commitment: Commitment
    err: str | None
    fee: int | None


class SolanaNode:
    """One node; `timeout` in seconds holds for each request. Use with `async with`, or close."""

    def __init__(
        self, url: str, *, timeout: float = 10.0, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._rpc = JsonRpc(url, timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._rpc.close()

    async def genesis_hash(self) -> str:
        """Names the network: compare it before relying on anything else a node says."""
        return str(read_hash(await self._rpc.call("getGenesisHash", [])))

    async def slot(self, commitment: Commitment = "finalized") -> int:
        answer = await self._rpc.call("getSlot", [{"commitment": commitment}])
        return integer(answer, "slot")

    async def latest_blockhash(self, commitment: Commitment = "confirmed") -> bytes:
        value = await self._value("getLatestBlockhash", [{"commitment": commitment}])
        return bytes(read_hash(member(value, "blockhash")))

    async def minimum_rent(self, size: int) -> int:
        """Lamports that an account with `size` bytes of data must hold."""
        answer = await self._rpc.call("getMinimumBalanceForRentExemption", [size])
        return integer(answer, "rent")

    async def balance(self, address: str, commitment: Commitment = "finalized") -> int:
        value = await self._value("getBalance", [address, {"commitment": commitment}])
        return integer(value, "balance")

    async def account(self, address: str, commitment: Commitment = "finalized") -> Account | None:
        options = {"commitment": commitment, "encoding": "base64"}
        value = await self._value("getAccountInfo", [address, options])
        return None if value is None else read_account(value)

    async def block_time(self, commitment: Commitment = "finalized") -> datetime:
        """When the newest block of this commitment was made, by the chain's clock (sysvar)."""
        clock = await self.account(_CLOCK, commitment)
        if clock is None or len(clock.data) != _CLOCK_LAYOUT.size:
            raise NodeError("the node does not show the chain's clock")
        *_, seconds = _CLOCK_LAYOUT.unpack(clock.data)
        if not 0 < seconds < _SECONDS_MAX:
            raise NodeError("the chain's clock shows no time")
        return datetime.fromtimestamp(seconds, UTC)

    async def nonce_value(
        self, address: str, wallet: str, commitment: Commitment = "confirmed"
    ) -> bytes | None:
        """The value of the wallet's nonce account, None if nothing lies at the address.

        Raises NonceUnusableError if something else lies there, if only lamports sent by a stranger.
        """
        found = await self.account(address, commitment)
        return None if found is None else read_nonce(found, address, wallet)

    async def destination_problem(self, address: str, lamports: int) -> str | None:
        """Words if the chain's present state makes paying `lamports` to `address` a mistake.

        An account that does not exist yet is no mistake, if the amount can keep it alive.
        """
        try:
            Pubkey.from_string(address)
        except ValueError:
            return "the destination is no Solana address: copy it again"
        try:
            found = await self.account(address, "confirmed")
        except AnswerTooLongError:
            return "the destination holds more data than any wallet: it belongs to a program"
        if found is not None and (problem := not_a_wallet(found)):
            return problem
        # Whatever the account holds now may be gone when the transfer lands, and a transfer that
        # cannot land keeps its nonce: so every amount must be able to open the account.
        minimum = await self.minimum_rent(0)
        if lamports < minimum:
            return f"an account cannot be opened with less: pay at least {minimum} lamports"
        return None

    async def send(self, transaction: bytes, *, preflight: bool = True) -> None:
        """Hands a signed transaction to the node; also returns if the chain has it already.

        Raises RejectedError if the node's simulation refuses it; without `preflight` there is none.
        """
        name = str(Transaction.from_bytes(transaction).signatures[0])
        options = {
            "encoding": "base64",
            "skipPreflight": not preflight,
            "preflightCommitment": "confirmed",
        }
        try:
            encoded = base64.b64encode(transaction).decode()
            answer = await self._rpc.call("sendTransaction", [encoded, options])
        except RpcError as error:
            await self._settle(name, error)
        else:
            if answer != name:
                raise NodeError("the node took the transaction under another id")

    async def status(self, transaction_id: str) -> TransactionStatus | None:
        """What became of a transaction; None if the node knows nothing of it (yet)."""
        options = {"searchTransactionHistory": True}
        value = await self._value("getSignatureStatuses", [[transaction_id], options])
        if not isinstance(value, list) or len(value) != 1:
            raise NodeError("the node did not answer for exactly one transaction")
        return None if value[0] is None else await self._status(transaction_id, value[0])

    async def transaction(self, transaction_id: str) -> bytes | None:
        """The bytes of a finalized transaction; None if the node has none of that name."""
        options = {"encoding": "base64", "commitment": "finalized"}
        details = await self._rpc.call("getTransaction", [transaction_id, options])
        if details is None:
            return None
        try:
            text, _ = member(details, "transaction")
            return base64.b64decode(text, validate=True)
        except (TypeError, ValueError):
            raise NodeError("the node's transaction is malformed") from None

    async def _status(self, name: str, value: Any) -> TransactionStatus:
        slot, err = integer(member(value, "slot"), "slot"), member(value, "err")
        commitment: Commitment = member(value, "confirmationStatus")
        if commitment not in get_args(Commitment):
            raise NodeError("the node's status has an unknown commitment")
        fee = await self._fee(name, slot, err) if commitment == "finalized" else None
        return TransactionStatus(slot, commitment, None if err is None else json.dumps(err), fee)

    async def _fee(self, name: str, slot: int, err: Any) -> int | None:
        options = {"encoding": "base64", "commitment": "finalized"}
        details = await self._rpc.call("getTransaction", [name, options])
        if details is None:
            return None
        meta = member(details, "meta")
        if member(details, "slot") != slot or member(meta, "err") != err:
            raise NodeError("the node tells two stories about one transaction")
        return integer(member(meta, "fee"), "fee")

    async def _settle(self, name: str, error: RpcError) -> None:
        """Return if the chain has the transaction all the same, else raise what went wrong."""
        if error.code not in {_PREFLIGHT_FAILED, _SIGNATURE_FAILED, _INVALID_PARAMS}:
            raise error
        err = error.data.get("err") if isinstance(error.data, dict) else None
        if err == "AlreadyProcessed":
            return
        # A durable transaction that landed has used up its own nonce: simulated again it looks
        # like one with an unknown blockhash.
        if err == "BlockhashNotFound" and await self.status(name) is not None:
            return
        raise RejectedError(str(error), "" if err is None else json.dumps(err)) from None

    async def _value(self, method: str, params: list[Any]) -> Any:
        answer = await self._rpc.call(method, params)
        integer(member(member(answer, "context"), "slot"), "slot")
        return member(answer, "value")
