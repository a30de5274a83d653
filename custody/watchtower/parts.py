"""What every piece of the watchtower is given. Built once, in `custody.cli.serve`."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from custody.gateway import Gateway
from custody.keys import SigningKey
from custody.watchtower.database import Database
from custody.watchtower.rules import Cause, Problem
from kura.watchtower.v1 import watchtower_pb2 as wire
from policies.policy import Policy
from policies.statements import Hello


def unix_ms() -> int:
    """Return the present time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Alarm(Protocol):
    """Tells people, once it is on the disk.

    `kind`: THEFT, UNEXPLAINED, ROLLBACK, NODE, RECEIPT. `message` says what happened, `next` what
    to do. One with a transaction's id is told once, however often it is raised; the others are
    raised when something begins, not while it lasts. `amount` in base units, None if not known.
    """

    def __call__(  # noqa: PLR0913
        self,
        kind: str,
        message: str,
        next: str,  # noqa: A002 - the word of the wire
        *,
        wallet: str = "",
        transaction_id: str = "",
        amount: int | None = None,
    ) -> None: ...


class Chain(Protocol):
    """What was seen of the chain; nothing here fails but where it says so."""

    def problem(self, audit_key: str) -> str:
        """Return why no lease is granted, in words with what to do next; "" when all is well."""

    def nodes(self) -> Sequence[wire.Node]:
        """Return how each node stands."""

    def wallets(self) -> Sequence[wire.Wallet]:
        """Return how each wallet stands."""

    async def nonce_values(self, policy: Policy, audit_key: str) -> Mapping[str, str]:
        """Return the finalised value of each of a signer's nonce accounts; or ChainError."""


NOT_YET = Problem(Cause.UNREACHABLE, "its relay has just connected: wait a moment")


@dataclass(slots=True)
class Link:
    """One signer behind its relay, for as long as the relay's stream lives.

    `audit_key` is "" until it said who it is. `heard`: when it said `hello`, and `lease_until`, in
    Unix ms, 0 without one. `problem`: why it got no lease the last time.
    """

    gateway: Gateway
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    audit_key: str = ""
    hello: Hello | None = None
    heard: int = 0
    lease_until: int = 0
    problem: Problem | None = NOT_YET


@dataclass(slots=True)
class Parts:
    """`audit_keys`: the signers that this watchtower is for.

    `relays` are all that have said whose they are, oldest first, `links` the newest of each signer,
    `policies` the versions in force as far as each signer said, `looked` the number of the newest
    look that was noted, `taken_back` the digest of the lease that last took the one before back:
    the latter by audit key. `looks` numbers the looks as they are asked for.
    """

    key: SigningKey
    audit_keys: frozenset[str]
    database: Database
    alarm: Alarm
    clock: Callable[[], int] = unix_ms
    relays: list[Link] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    looks: Iterator[int] = field(default_factory=count)
    looked: dict[str, int] = field(default_factory=dict)
    taken_back: dict[str, str] = field(default_factory=dict)

    def is_newest(self, audit_key: str, look: int) -> bool:
        """Note a look that was answered; False when one that was asked for later was before it."""
        newest = max(look, self.looked.get(audit_key, 0))
        self.looked[audit_key] = newest
        return look == newest

    def links_of(self, audit_key: str) -> list[Link]:
        """Return a signer's relays, the newest first: whoever dials in may be silent."""
        return [link for link in reversed(self.relays) if link.audit_key == audit_key]

    def wake(self) -> None:
        """Have every connected signer asked at once: something changed."""
        for link in self.links.values():
            link.wake.set()
