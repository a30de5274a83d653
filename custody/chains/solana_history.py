"""What the watchtower asks a node besides: an address's history, many transactions at once.

As in `custody.chains.solana`, every value of an answer is checked or the answer is a NodeError.
Readings that are compared over time come with the slot that they are of, since a node may be many
machines, some of them behind.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from solders.pubkey import Pubkey
from solders.signature import Signature

from custody.chains.errors import AnswerTooLongError, NodeError, NonceUnusableError
from custody.chains.jsonrpc import integer, member
from custody.chains.solana import Commitment, SolanaNode
from custody.chains.solana_accounts import read_account, read_nonce

PAGE, SHORT_PAGE = 1000, 100  # signatures; of the short page any 100 fit into an answer
STATUSES_MAX, ACCOUNTS_MAX = 256, 100


@dataclass(frozen=True, slots=True)
class Listed:
    """A confirmed transaction that names an address. One that failed costs its fee too."""

    transaction_id: str
    slot: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A confirmed transaction's bytes, and by how much it changed each account's lamports."""

    transaction: bytes
    slot: int
    changes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a transaction has come. `err` is the chain's reason as JSON text, None if none."""

    slot: int
    commitment: Commitment
    err: str | None


class HistoryNode(SolanaNode):
    """A node that keeps the history of addresses."""

    async def signatures_of(
        self, address: str, *, until: str, before: str
    ) -> tuple[list[Listed], bool]:
        """One page of what names the address, confirmed, newest first; and whether there is more.

        Newer than `until` and older than `before`; "" for no bound.
        """
        try:
            page, limit = await self._page(address, until, before, PAGE), PAGE
        except AnswerTooLongError:  # anybody can have long memos shown here
            page, limit = await self._page(address, until, before, SHORT_PAGE), SHORT_PAGE
        return page, len(page) == limit

    async def shown(self, transaction_id: str) -> Shown | None:
        """A confirmed transaction; None if the node does not have it."""
        options = {
            "encoding": "base64",
            "commitment": "confirmed",
            "maxSupportedTransactionVersion": 1,
        }
        details = await self._rpc.call("getTransaction", [transaction_id, options])
        if details is None:
            return None
        meta = member(details, "meta")
        before, after = member(meta, "preBalances"), member(meta, "postBalances")
        try:
            text, _ = member(details, "transaction")
            raw = base64.b64decode(text, validate=True)
            changes = tuple(
                integer(new, "postBalances") - integer(old, "preBalances")
                for old, new in zip(before, after, strict=True)
            )
        except (TypeError, ValueError):
            raise NodeError("the node's transaction is malformed") from None
        return Shown(raw, integer(member(details, "slot"), "slot"), changes)

    async def standings(self, ids: Sequence[str]) -> tuple[int, list[Standing | None]]:
        """How far each transaction has come in all history, in order, as of the slot returned."""
        newest, found = 2**64, list[Standing | None]()
        for chunk in _chunks(ids, STATUSES_MAX):
            options = {"searchTransactionHistory": True}
            slot, value = await self._many("getSignatureStatuses", chunk, options)
            newest, found = min(newest, slot), found + [_standing(item) for item in value]
        return newest, found

    async def nonces(
        self, accounts: Sequence[str], wallet: str
    ) -> tuple[int, dict[str, bytes | None]]:
        """The finalized values of the wallet's nonce accounts, as of the slot returned.

        None where there is no such account.
        """
        oldest, found = 2**64, dict[str, bytes | None]()
        for chunk in _chunks(accounts, ACCOUNTS_MAX):
            options = {"encoding": "base64", "commitment": "finalized"}
            slot, value = await self._many("getMultipleAccounts", chunk, options)
            oldest = min(oldest, slot)
            found |= {
                name: _nonce(item, name, wallet) for name, item in zip(chunk, value, strict=True)
            }
        return oldest, found

    async def block_height(self, commitment: Commitment) -> int:
        """How many blocks there are: a blockhash lets transactions in for 150 of them."""
        answer = await self._rpc.call("getBlockHeight", [{"commitment": commitment}])
        return integer(answer, "block height")

    async def first_block(self) -> int:
        """The slot of the oldest block that the node keeps: 0 when it keeps all history."""
        return integer(await self._rpc.call("getFirstAvailableBlock", []), "slot")

    async def is_recent(self, blockhash: bytes) -> bool:
        """Whether transactions with this blockhash can still land."""
        name = str(Pubkey.from_bytes(blockhash))
        value = await self._value("isBlockhashValid", [name, {"commitment": "processed"}])
        if type(value) is not bool:
            raise NodeError("the node does not say whether a blockhash is valid")
        return value

    async def _page(self, address: str, until: str, before: str, limit: int) -> list[Listed]:
        bounds = {name: value for name, value in (("until", until), ("before", before)) if value}
        options = {"commitment": "confirmed", "limit": limit} | bounds
        value = await self._rpc.call("getSignaturesForAddress", [address, options])
        if not isinstance(value, list) or len(value) > limit:
            raise NodeError("the node's list of signatures is none")
        return [_listed(item) for item in value]

    async def _many(
        self, method: str, names: Sequence[str], options: dict[str, Any]
    ) -> tuple[int, list[Any]]:
        answer = await self._rpc.call(method, [list(names), options])
        slot = integer(member(member(answer, "context"), "slot"), "slot")
        value = member(answer, "value")
        if not isinstance(value, list) or len(value) != len(names):
            raise NodeError(f"the node did not answer {method} for exactly what was asked")
        return slot, value


def _chunks(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _listed(value: Any) -> Listed:
    try:
        name = str(Signature.from_string(member(value, "signature")))
    except (TypeError, ValueError):
        raise NodeError("the node lists a transaction without a signature") from None
    slot, err = integer(member(value, "slot"), "slot"), member(value, "err")
    return Listed(name, slot, failed=err is not None)


def _standing(value: Any) -> Standing | None:
    if value is None:
        return None
    slot, err = integer(member(value, "slot"), "slot"), member(value, "err")
    commitment: Commitment = member(value, "confirmationStatus")
    if commitment not in get_args(Commitment):
        raise NodeError("the node's status has an unknown commitment")
    return Standing(slot, commitment, None if err is None else json.dumps(err))


def _nonce(value: Any, account: str, wallet: str) -> bytes | None:
    if value is None:
        return None
    try:
        return read_nonce(read_account(value), account, wallet)
    except NonceUnusableError:
        return None
