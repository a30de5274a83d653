"""What becomes of a wallet's signed transactions: final, or dead.

Invariants: both need every node's word. Dead needs all of: the finalised nonce value is another;
the value can never be the account's again, nor be a blockhash that lets the transaction in; every
follower looked at everything afterwards; no node has it; and either the signer's own advance is
final on the same value, so that nothing else on it can be, or every node keeps all history, so that
one that forgot it cannot be taken for one that never had it.

What custody names as a nonce value may be a recent blockhash, which the runtime tries first, or a
value that the account gets only later. So that another value stands there proves nothing by itself:
either every node showed this account with this value at finality before, or so many blocks have
gone by that no blockhash of before the receipt lets anything in or becomes a nonce's value.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from custody.chains.errors import ChainError
from custody.chains.solana_history import HistoryNode, Standing
from custody.watchtower import receipts
from custody.watchtower.database import Database
from custody.watchtower.follow import Follower
from custody.watchtower.nodes import Nodes
from custody.watchtower.receipts import State, Waiting
from policies.policy import Wallet

PAUSE_SECONDS = 0.5
FAULT_SECONDS = 1.0
# A blockhash lives for 150 blocks; as many again for a node that did not know the newest ones.
BLOCKS_MAX = 300
LOOKS = 2  # the first may have been under way
T = TypeVar("T")
Reading = tuple[int, dict[str, bytes | None]]
log = structlog.get_logger()


class Settler:
    """One wallet's. `followers` are those of the wallet, one for each node."""

    def __init__(
        self, database: Database, nodes: Nodes, wallet: Wallet, followers: Sequence[Follower]
    ) -> None:
        self._database, self._nodes, self.wallet = database, nodes, wallet
        self._followers = followers
        self.balance = 0  # at confirmed, the lower of two nodes' words
        self._about = f"what became of {wallet.name}'s transactions"
        # Transactions that can never land: the slot at which that was read, the looks before it.
        self._doomed: dict[str, tuple[int, tuple[int, ...]]] = {}

    async def run(self) -> None:
        """Settle again and again until cancelled."""
        while True:
            try:
                await self.settle()
                await asyncio.sleep(PAUSE_SECONDS)
            except ChainError:  # kept as the node's problem
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                log.exception("fault", wallet=self.wallet.name, next="settling again")
                await asyncio.sleep(FAULT_SECONDS)

    async def settle(self) -> None:
        """Move on whatever can be; raises when a node does not answer."""
        await self._finish()
        waiting = receipts.waiting(self._database, self.wallet.name)
        if waiting:
            await self._bury(waiting)
        address = self.wallet.address
        self.balance = min(await self._all(lambda node: node.balance(address, "confirmed")))
        self._nodes.answered(self._about)

    async def _finish(self) -> None:
        slots = await self._all(lambda node: node.slot("finalized"))
        ids = receipts.final_at(self._database, self.wallet.name, min(slots))
        if not ids:
            return
        answers = await self._all(lambda node: node.standings(ids))
        each = list(zip(*(standings for _, standings in answers), strict=True))
        ends = {name: _end(told) for name, told in zip(ids, each, strict=True)}
        for end in (State.FINAL, State.FAILED):
            receipts.resolve(self._database, [n for n in ids if ends[n] is end], end)
        lost = [name for name, told in zip(ids, each, strict=True) if not any(told)]
        receipts.lose_sight(self._database, lost)

    async def _bury(self, waiting: Sequence[Waiting]) -> None:
        looks = tuple(follower.looks for follower in self._followers)
        heights = await self._all(lambda node: node.block_height("processed"))
        newest = max(heights)
        final = min(await self._all(lambda node: node.block_height("finalized")))
        readings = await self._read_nonces(waiting)
        self._nodes.alike(heights, self._about)
        self._nodes.alike([slot for slot, _ in readings], self._about)
        noted = [_noted(item, readings, newest) for item in waiting]
        changed = [new for new, old in zip(noted, waiting, strict=True) if new != old]
        receipts.note_waiting(self._database, changed)
        oldest = max((slot for slot, _ in readings), default=0)
        doomed = [item.transaction_id for item in noted if _is_doomed(item, readings, final)]
        self._doomed = {name: self._doomed.get(name, (oldest, looks)) for name in doomed}
        await self._declare([name for name in doomed if self._looked_since(name, looks)])

    def _looked_since(self, name: str, looks: tuple[int, ...]) -> bool:
        return all(
            now >= then + LOOKS for then, now in zip(self._doomed[name][1], looks, strict=True)
        )

    async def _declare(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        answers = await self._all(lambda node: node.standings(ids))
        dead = [
            name
            for place, name in enumerate(ids)
            if all(
                slot >= self._doomed[name][0] and standings[place] is None
                for slot, standings in answers
            )
        ]
        spent = [name for name in dead if receipts.is_advanced(self._database, name)]
        if len(spent) < len(dead):
            first = await self._all(lambda node: node.first_block())
            spent = spent if any(first) else dead
        receipts.resolve(self._database, spent, State.DEAD)

    async def _all(self, question: Callable[[HistoryNode], Awaitable[T]]) -> list[T]:
        return await self._nodes.all(question, self._about)

    async def _read_nonces(self, waiting: Sequence[Waiting]) -> list[Reading]:
        accounts = sorted({item.nonce_account for item in waiting} - {""})
        if not accounts:
            return []
        address = self.wallet.address
        return await self._all(lambda node: node.nonces(accounts, address))


def _end(told: Sequence[Standing | None]) -> State | None:
    """Return what the nodes say finally became of it; None while they do not agree."""
    if not all(standing and standing.commitment == "finalized" for standing in told):
        return None
    failed = [standing.err is not None for standing in told if standing]
    if any(failed) != all(failed):
        return None
    return State.FAILED if any(failed) else State.FINAL


def _noted(item: Waiting, readings: Sequence[Reading], height: int) -> Waiting:
    holding = [slot for slot, values in readings if _value(item, values) == item.nonce_value]
    held = max(item.held, *holding) if readings and len(holding) == len(readings) else item.held
    return replace(item, held=held, height=item.height or height)


def _is_doomed(item: Waiting, readings: Sequence[Reading], height: int) -> bool:
    expired = height > item.height + BLOCKS_MAX
    if not item.nonce_account:
        return expired and not item.intent  # an old receipt of a withdrawal names its nonce no more
    values = [(slot, _value(item, values)) for slot, values in readings]
    if any(value == item.nonce_value for _, value in values):
        return False
    was_held = item.held and all(slot > item.held and value for slot, value in values)
    return bool(was_held) or expired


def _value(item: Waiting, values: dict[str, bytes | None]) -> str:
    """Return the account's value in hex, "" for no account."""
    return (values.get(item.nonce_account) or b"").hex()
