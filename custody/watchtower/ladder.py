"""Sends a signed alarm sweep until each transaction landed or can land no more."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from custody.chains.errors import ChainError
from custody.watchtower.nodes import Node, Nodes

AGAIN_SECONDS = 1.0
DOUBT_SECONDS = 5.0  # from then on one node that does not know the blockhash is enough
STAGGER_SECONDS = 0.01  # so that they arrive in the signer's order, whatever becomes of each
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rung:
    """One signed transaction: its id, its bytes, the blockhash that lets it in."""

    transaction_id: str
    transaction: bytes
    blockhash: bytes


class Ladder:
    """The transactions of one sweep, on one blockhash."""

    def __init__(self, nodes: Nodes, rungs: Sequence[Rung] = ()) -> None:
        self.under_way = list(rungs)
        self.paid = False
        self._nodes = nodes
        self._sending: set[asyncio.Task[None]] = set()
        self._made, self._sent = time.monotonic(), 0.0

    def send(self) -> None:
        """Hand what is under way to every node at once, at most once a second."""
        now = time.monotonic()
        if now - self._sent < AGAIN_SECONDS:
            return
        self._sent = now
        for node in self._nodes.each:
            for place, rung in enumerate(self.under_way):
                task = asyncio.create_task(_send(node, rung, place * STAGGER_SECONDS))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    def stop(self) -> None:
        """Send no more."""
        for task in self._sending:
            task.cancel()

    async def look(self) -> None:
        """Learn what landed, and whether the rest still can; NodeError when no node says."""
        if not self.under_way:
            return
        ids, blockhash = [r.transaction_id for r in self.under_way], self.under_way[0].blockhash
        recent = await self._nodes.some(lambda node: node.is_recent(blockhash))
        lives = any(recent) if time.monotonic() - self._made < DOUBT_SECONDS else all(recent)
        told = await self._nodes.some(lambda node: node.standings(ids))
        each = list(zip(*(standings for _, standings in told), strict=True))
        self.paid |= any(item and item.err is None for standings in each for item in standings)
        self.under_way = [
            rung
            for rung, standings in zip(self.under_way, each, strict=True)
            if lives and not any(standings)
        ]


async def _send(node: Node, rung: Rung, wait: float) -> None:
    await asyncio.sleep(wait)
    try:
        await node.ask.send(rung.transaction, preflight=False)
    except (ChainError, ValueError) as error:  # ValueError: bytes that are no transaction
        log.warning("sweep not sent", node=node.name, id=rung.transaction_id, reason=str(error))
