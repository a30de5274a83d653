"""Follows one wallet on one node: whatever it signed on the chain has a receipt or is a suspect.

Invariants: the cursor moves only over what was worked off, and never back; a page is worked off
when it is read, newest first, so that a theft of now is found before an hour's history is read. The
cursor does not move over what a node lists and does not show, nor over what cannot be. What a node
has thrown away before it was looked at, nobody takes for empty; what it still has is read first.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from custody.chains.errors import ChainError, NodeError
from custody.chains.solana_history import Listed, Shown
from custody.watchtower import receipts, suspects
from custody.watchtower.database import Database
from custody.watchtower.nodes import Node
from custody.watchtower.outflows import LyingNodeError, signer_place
from custody.watchtower.receipts import Cursor
from custody.watchtower.suspects import Suspect
from policies.policy import Wallet

PAUSE_SECONDS = 0.25
FAULT_SECONDS = 1.0
BEHIND_SECONDS_MAX = 5.0
LOOKED_SECONDS = 60.0  # between two notes of how far it has looked; no node forgets as fast
SHOWN_TRIES = 8
AT_ONCE_MAX = 8  # transactions asked for
INFLOWS_MAX = 100_000  # remembered, so that a look that breaks off goes on where it was
log = structlog.get_logger()


class Follower:
    """`suspected` is told of each new suspect, `revived` of a dead transaction that landed.

    `looks` counts the looks that saw everything; `seen_until` is when the last one began (Unix ms).
    """

    def __init__(
        self,
        database: Database,
        node: Node,
        wallet: Wallet,
        suspected: Callable[[Suspect], None],
        revived: Callable[[str], None],
    ) -> None:
        self.node, self.wallet = node, wallet
        self.looks = self.seen_until = 0
        self._database = database
        self._suspected, self._revived = suspected, revived
        self._cursor = receipts.cursor(database, node.name, wallet.address)
        self._caught_up = self._peeked = -BEHIND_SECONDS_MAX
        self._noted = -LOOKED_SECONDS
        self._head = ""
        self._inflows = set[str]()
        self._read = 0

    def problem(self) -> str:
        """Return why not everything up to now was seen; "" when it was."""
        if self.looks and time.monotonic() - self._caught_up <= BEHIND_SECONDS_MAX:
            return ""
        words = f"{self.wallet.name} is being caught up with on node {self.node.name}"
        return f"{words}, {self._read} transactions so far: wait, or look at the node"

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                await self.look()
                await asyncio.sleep(PAUSE_SECONDS)
            except (ChainError, LyingNodeError):  # kept as the node's problem
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                log.exception("fault", wallet=self.wallet.name, next="looking again")
                await asyncio.sleep(FAULT_SECONDS)

    async def look(self) -> None:
        """Work off everything newer than the cursor; raises when the node does not let it."""
        began, steady = self.node.wall(), time.monotonic()
        note = steady - self._noted >= LOOKED_SECONDS
        with self.node.asked(f"the history of {self.wallet.name}"):
            slot, gap = await self._kept() if note else (0, "")
            newest = await self._read_pages()
            if gap:
                raise NodeError(gap)
        if newest and newest.slot >= self._cursor.slot:
            to = Cursor(newest.transaction_id, newest.slot)
            if to != self._cursor:
                receipts.move_cursor(self._database, self.node.name, self.wallet.address, to)
                self._cursor = to
        if note:
            receipts.note_looked(self._database, self.node.name, self.wallet.address, slot)
            self._noted = steady
        self._caught_up, self.seen_until, self._read = steady, began, 0
        self.looks += 1

    async def _kept(self) -> tuple[int, str]:
        """Return the newest confirmed slot, all before which the node has for us to look at.

        And, in words, that it has thrown away what was not looked at yet, "" when it has not. Never
        back: a node that once named a slot long past would be one that threw away all since.
        """
        looked = receipts.looked_until(self._database, self.node.name, self.wallet.address)
        slot, first = await asyncio.gather(
            self.node.ask.slot("confirmed"), self.node.ask.first_block()
        )
        gap = ""
        if looked is not None and first > looked:
            gap = f"the node keeps nothing before slot {first} and was looked at up to {looked}"
            gap += ", so that a theft in between is not shown"
        return max(slot, looked or 0), gap

    async def _read_pages(self) -> Listed | None:
        """Return the newest transaction of all; pages go back to the cursor's slot."""
        newest: Listed | None = None
        before, more = "", True
        while more:
            page, more = await self.node.ask.signatures_of(
                self.wallet.address, until=self._cursor.transaction_id, before=before
            )
            # A node that does not know the cursor lists all there ever was.
            if any(listed.slot < self._cursor.slot for listed in page):
                await self._check_cursor()
            fresh = [listed for listed in page if listed.slot >= self._cursor.slot]
            more = more and len(fresh) == len(page)
            if page and not before:
                self._head, self._peeked = page[0].transaction_id, time.monotonic()
            await self._work_off(fresh, self._peek)
            self._read += len(fresh)
            if page:
                newest = newest or page[0]
                if page[-1].transaction_id == before or page[0].slot > newest.slot:
                    raise NodeError("the node's list of signatures is in no order")
                before = page[-1].transaction_id
        return newest

    async def _check_cursor(self) -> None:
        """Correct the cursor's slot, which the node may have made up when it lied."""
        reached = await self.node.ask.slot("processed")
        _, (standing,) = await self.node.ask.standings([self._cursor.transaction_id])
        if standing:
            self._cursor = replace(self._cursor, slot=standing.slot)
        elif self._cursor.slot > reached:
            self._cursor = replace(self._cursor, slot=0)

    async def _peek(self) -> None:
        """Look at what came meanwhile: anybody can make the list long, and a theft follow it."""
        if time.monotonic() - self._peeked < PAUSE_SECONDS:
            return
        page, _ = await self.node.ask.signatures_of(
            self.wallet.address, until=self._head, before=""
        )
        self._peeked = time.monotonic()
        if page:
            self._head = page[0].transaction_id
        await self._work_off([listed for listed in page if listed.slot >= self._cursor.slot])

    async def _work_off(
        self, page: Sequence[Listed], between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        uncovered, revived = receipts.see(self._database, self.wallet.name, page)
        for name in revived:
            self._revived(name)
        for start in range(0, len(uncovered), AT_ONCE_MAX):
            if between:
                await between()
            several = uncovered[start : start + AT_ONCE_MAX]
            await asyncio.gather(*(self._examine(listed) for listed in several))

    async def _examine(self, listed: Listed) -> None:
        name = listed.transaction_id
        if name in self._inflows or suspects.known(self._database, name, self.wallet.name):
            return
        shown = await self._shown(name)
        place = signer_place(shown.transaction, name, self.wallet.address)
        if place is None:
            if len(self._inflows) >= INFLOWS_MAX:
                self._inflows.clear()
            self._inflows.add(name)
            return
        lost = -shown.changes[place] if place < len(shown.changes) else 0
        suspect = Suspect(name, self.wallet.name, listed.slot, lost, shown.transaction)
        if suspects.add(self._database, suspect):
            self._suspected(suspect)

    async def _shown(self, name: str) -> Shown:
        """Return what a node lists; it may need a moment until it shows it."""
        for _ in range(SHOWN_TRIES):
            shown = await self.node.ask.shown(name)
            if shown:
                return shown
            await asyncio.sleep(PAUSE_SECONDS)
        raise NodeError(f"the node lists {name} and does not show it")
