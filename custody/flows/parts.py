"""What every flow is given. Built once, in `main`."""

import time
from dataclasses import dataclass

from custody.chains.solana import SolanaNode
from custody.gateway import Gateway
from custody.store.database import Database
from custody.watchtower_client import Watchtower

CALENDAR_MAX = 253_402_128_000_000  # Unix ms: 9999-12-30


def unix_ms() -> int:
    """Return the present time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def within_calendar(milliseconds: int) -> int:
    """Return a time that someone else said, at the latest the last one that the database takes."""
    return min(milliseconds, CALENDAR_MAX)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the api works with."""

    database: Database
    node: SolanaNode


@dataclass(frozen=True, slots=True)
class Fee:
    """`unit_limit` in compute units, `unit_price` in micro-lamports per compute unit."""

    unit_limit: int
    unit_price: int

    @property
    def lamports(self) -> int:
        """What one signature costs: 5,000 lamports and the compute units, rounded up."""
        return 5_000 - (-self.unit_limit * self.unit_price // 1_000_000)


@dataclass(frozen=True, slots=True)
class WorkerParts(Parts):
    """What the worker works with besides."""

    gateway: Gateway
    watchtower: Watchtower
    fee: Fee
