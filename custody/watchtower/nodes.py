"""The chain nodes that the watchtower listens to, one or two, and whether they can be believed.

Invariants: with two nodes the worse answer counts; a node that lies, stands still, is behind, is
not reached or is of another network only makes the watchtower pause. Texts never hold a node's URL,
whose path may be a key.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from custody.chains.errors import ChainError, NodeError
from custody.chains.solana_history import HistoryNode
from custody.watchtower.outflows import LyingNodeError

T = TypeVar("T")
CHECK_SECONDS = 1.0
TIMEOUT_SECONDS = 3.0
HEAD_START_SECONDS = 0.2
STILL_SECONDS_MAX = 5.0
BEHIND_SECONDS_MAX = 30.0
APART_MAX = 300  # slots between two nodes' answers to one question
_CHECK = "check"


@dataclass(slots=True)
class Node:
    """One node. `slot`: its newest; `steady` gives seconds, `wall` Unix ms."""

    name: str
    ask: HistoryNode
    wall: Callable[[], int]
    steady: Callable[[], float] = time.monotonic
    slot: int = 0
    genesis: str = ""
    _moved: float = 0.0
    _behind: float = 0.0
    _failures: dict[str, str] = field(default_factory=lambda: {_CHECK: "has not answered yet"})

    @contextmanager
    def asked(self, about: str) -> Iterator[None]:
        """Remember a failure to answer about something until the next good answer about it."""
        with self.failing(about):
            yield
        self.answered(about)

    @contextmanager
    def failing(self, about: str) -> Iterator[None]:
        """Remember a failure to answer about something until `answered`."""
        try:
            yield
        except (ChainError, LyingNodeError) as error:
            self._failures[about] = str(error)
            raise

    def answered(self, about: str) -> None:
        """Forget a failure: all that had to be known about something was said."""
        self._failures.pop(about, None)

    async def check(self) -> None:
        """Ask where it stands; raises when it does not say."""
        with self.asked(_CHECK):
            genesis = await self.ask.genesis_hash()
            slot, made = await asyncio.gather(
                self.ask.slot("processed"), self.ask.block_time("confirmed")
            )
        self._behind = self.wall() / 1000 - made.timestamp()
        if slot > self.slot or genesis != self.genesis:
            self.slot, self._moved = slot, self.steady()
        elif self.steady() - self._moved > STILL_SECONDS_MAX:
            self.slot = slot  # it counts when it goes on from here: it may have lied before
        self.genesis = genesis

    def problem(self) -> str:
        """Return why it does not count, with what to do; "" when it does."""
        for words in self._failures.values():
            return f"{words}: look at this node, or name another in the settings"
        still = self.steady() - self._moved
        if still > STILL_SECONDS_MAX:
            return f"stands at slot {self.slot} for {still:.0f} s: look at this node or the chain"
        if self._behind > BEHIND_SECONDS_MAX:
            words = f"its newest block is {self._behind:.0f} s old"
            return f"{words}: wait until it has caught up, or compare clocks"
        return ""


class Nodes:
    """Both nodes, or the one. `genesis`: of the network that was followed before, "" at first."""

    def __init__(
        self,
        urls: Sequence[str],
        wall: Callable[[], int],
        genesis: str = "",
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.each = [Node(name_of(url), _node(url), wall, steady) for url in urls]
        self.genesis = genesis

    async def run(self, learned: Callable[[str], None]) -> None:
        """Check each node every second. `learned` is told the network's genesis the first time."""
        async with asyncio.TaskGroup() as group:
            for node in self.each:
                group.create_task(self._check(node, learned))

    async def close(self) -> None:
        """Close the connections."""
        for node in self.each:
            await node.ask.close()

    def problem_of(self, node: Node) -> str:
        """Return why a node does not count; "" when it does."""
        if node.genesis and self.genesis not in {"", node.genesis}:
            words = "is of another network than was followed before"
            return f"{words}: name a node of the right one in the settings"
        return node.problem()

    def problem(self) -> str:
        """Return the first node's problem that has one; "" when all is well."""
        for node in self.each:
            if words := self.problem_of(node):
                return f"node {node.name}: {words}"
        return ""

    async def all(self, question: Callable[[HistoryNode], Awaitable[T]], about: str) -> list[T]:
        """Return every node's answer; raises when one has none, which stays until `answered`."""

        async def ask(node: Node) -> T:
            with node.failing(about):
                return await question(node.ask)

        return list(await asyncio.gather(*(ask(node) for node in self.each)))

    def alike(self, slots: Sequence[int], about: str) -> None:
        """NodeError, which stays until `answered`, when the nodes' slots are too far apart.

        What is noted of a far one would count for as long as the lie says.
        """
        if slots and max(slots) - min(slots) > APART_MAX:
            words = f"the nodes differ by {max(slots) - min(slots)} slots about {about}"
            for node in self.each:
                with suppress(NodeError), node.failing(about):
                    raise NodeError(words)
            raise NodeError(words)

    def answered(self, about: str) -> None:
        """Forget failures: all that had to be known about something was said."""
        for node in self.each:
            node.answered(about)

    async def first(self, question: Callable[[HistoryNode], Awaitable[T]], turn: int) -> T:
        """Return the answer of the node whose turn it is, or the first of another when it is slow.

        NodeError when there is none.
        """
        shift = turn % len(self.each)
        tasks = [
            asyncio.ensure_future(question(node.ask))
            for node in self.each[shift:] + self.each[:shift]
        ]
        try:
            await asyncio.wait(tasks[:1], timeout=HEAD_START_SECONDS)
            waiting = set(tasks)
            while waiting:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done() and not isinstance(task.exception(), ChainError):
                        return task.result()
        finally:
            for task in tasks:
                task.cancel()
            told = await asyncio.gather(*tasks, return_exceptions=True)
        raise NodeError("no node answers: " + "; ".join(str(item) for item in told))

    async def some(self, question: Callable[[HistoryNode], Awaitable[T]]) -> list[T]:
        """Return the answers of the nodes that are in order, or of any that answers.

        NodeError when there is none.
        """
        sound = [node for node in self.each if not self.problem_of(node)] or self.each
        told = await asyncio.gather(*(question(node.ask) for node in sound), return_exceptions=True)
        answers = list[T]()
        for item in told:
            if not isinstance(item, BaseException):
                answers.append(item)
            elif not isinstance(item, ChainError):
                raise item
        if not answers:
            raise NodeError("no node answers: " + "; ".join(str(item) for item in told))
        return answers

    async def _check(self, node: Node, learned: Callable[[str], None]) -> None:
        while True:
            try:
                await node.check()
                if not self.genesis:
                    self.genesis = node.genesis
                    learned(node.genesis)
            except ChainError:
                pass  # is said by problem()
            await asyncio.sleep(CHECK_SECONDS)


def name_of(url: str) -> str:
    """Return what a node is called: host and port. What was seen of it is kept under that."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _node(url: str) -> HistoryNode:
    return HistoryNode(url, timeout=TIMEOUT_SECONDS)
