"""How custody is doing, counted by the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from psycopg.rows import class_row, kwargs_row

from custody.store.database import Connection
from custody.store.signers import Frozen, Proposal, freezes_of, proposals_of


@dataclass(frozen=True, slots=True)
class Queue:
    """Withdrawals that are not at their end: in one state, for one reason."""

    state: str
    waiting_for: str
    count: int
    oldest: datetime
    first_expiry: int
    earliest: datetime

    @property
    def retried(self) -> bool:
        """True when they wait for something that custody looks for again by itself."""
        return self.waiting_for not in {"", "APPROVALS"}


@dataclass(frozen=True, slots=True)
class SignerSeen:
    """A signer as it last answered.

    `lease_until`: Unix ms, 0 without a lease; `watchtower`: the key whose leases it takes.
    `book_before`: the last version before its address book went back to `book_version`; 0 when it
    did not, or when officers have gone on from there.
    """

    audit_key: str
    policy: bytes
    policy_digest: str
    book_version: int
    locked: str
    locked_message: str
    proposals: tuple[Proposal, ...]
    freezes: tuple[Frozen, ...]
    lease_until: int
    watchtower: str
    seen: datetime
    book_before: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A wallet's books in base units, and its nonce accounts: all, and those that are free.

    `missing` is what its withdrawals that wait for funds need together.
    """

    wallet: str
    asset: str
    total: int
    in_use: int
    missing: int
    nonces: int
    nonces_free: int


async def queues(connection: Connection) -> list[Queue]:
    """Return what is under way, by state and reason."""
    query = (
        "SELECT state, CASE WHEN state = 'PENDING_APPROVAL' AND waiting_for = ''"
        " THEN 'APPROVALS' ELSE waiting_for END AS waiting_for, count(*) AS count,"
        " min(create_time) AS oldest, min(expires) AS first_expiry,"
        " greatest(min(retry_at), now()) AS earliest FROM withdrawal"
        " WHERE state IN ('PENDING_APPROVAL', 'QUEUED', 'SIGNING', 'SIGNED', 'BROADCASTING',"
        " 'CONFIRMING', 'ENDING') GROUP BY 1, 2 ORDER BY 1, 2"
    )
    async with connection.cursor(row_factory=class_row(Queue)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


async def signers(connection: Connection) -> list[SignerSeen]:
    """Return every signer that ever answered, the latest first, by the clock as signers.latest."""
    query = (
        "SELECT audit_key, policy, policy_digest, book_version, locked, locked_message, proposals,"
        " freezes, lease_until, watchtower, seen,"
        " (SELECT coalesce(max(version), 0) FROM book_version"
        " WHERE retired = signer.book_version AND version > signer.book_version) AS book_before"
        " FROM signer"
    )
    async with connection.cursor(row_factory=kwargs_row(_signer)) as cursor:
        await cursor.execute(query + " WHERE seen <= clock_timestamp() ORDER BY seen DESC")
        return await cursor.fetchall()


_Stored: TypeAlias = Sequence[Mapping[str, Any]]


def _signer(*, proposals: _Stored, freezes: _Stored, **columns: Any) -> SignerSeen:
    return SignerSeen(**columns, proposals=proposals_of(proposals), freezes=freezes_of(freezes))


async def pools(connection: Connection) -> list[Pool]:
    """Return each wallet's books and nonces."""
    query = (
        "SELECT wallet, asset, total, in_use,"
        " (SELECT coalesce(sum(amount), 0)::bigint FROM withdrawal WHERE"
        " withdrawal.wallet = balance.wallet AND state = 'QUEUED' AND waiting_for = 'FUNDS')"
        " AS missing,"
        " (SELECT count(*) FROM nonce WHERE nonce.wallet = balance.wallet) AS nonces,"
        " (SELECT count(*) FROM nonce WHERE nonce.wallet = balance.wallet AND holder IS NULL"
        " AND value IS NOT NULL AND value IS DISTINCT FROM spent) AS nonces_free"
        " FROM balance ORDER BY wallet"
    )
    async with connection.cursor(row_factory=class_row(Pool)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()
