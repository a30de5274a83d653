"""What every piece of the watchtower is given. Built once, in `custody.cli.serve`."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from custody.gateway import Gateway
from custody.keys import SigningKey
from custody.watchtower.database import Database
from policies.policy import Policy


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


@dataclass(slots=True)
class Link:
    """One signer behind its relay, for as long as the relay's stream lives."""

    gateway: Gateway
    wake: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Parts:
    """`audit_keys`: the signers that this watchtower is for.

    `links` are the signers that are connected, `policies` the versions in force as far as each
    signer said, both by audit key.
    """

    key: SigningKey
    audit_keys: frozenset[str]
    database: Database
    alarm: Alarm
    clock: Callable[[], int] = unix_ms
    links: dict[str, Link] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)

    def wake(self) -> None:
        """Have every connected signer asked at once: something changed."""
        for link in self.links.values():
            link.wake.set()
