"""Custody's moving parts in one process: real PostgreSQL, chain, token, journal and guard.

The one part of ours that is played is the gateway (`mischief.LocalGateway`). Nothing sleeps: the
time of day is `Clock`'s, slots are advanced, and what waits is made due.
"""

import asyncio
import re
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString

from psycopg.conninfo import make_conninfo
from solders.pubkey import Pubkey

from custody.chains.solana import SolanaNode
from custody.dev.devnet.chain import Chain
from custody.flows.parts import Fee, WorkerParts
from custody.store import balances, withdrawals
from custody.store.balances import Balance
from custody.store.database import POOL_MAX, Database
from custody.store.withdrawals import Row
from custody.worker import LINES
from policies.fields import key_text
from policies.policy import Policy
from policies.policy_file import parse_policy
from signer.anchor import begin
from signer.chains.solana_address import encode_address
from signer.clock import Moment, look
from signer.governance import Governance
from signer.guard import Guard
from signer.hsm import Token
from signer.journal import Journal
from signer.keys import AUDIT_LABEL
from tests.factories import public
from tests.integration.local_tower import LocalTower
from tests.integration.mischief import Crash, LocalGateway, NodeLine

EXAMPLE = Path(__file__).parents[2] / "policies" / "example.toml"
WALLET = "hot-sol"
FEE = Fee(unit_limit=2_000, unit_price=1_000)
ROUNDS_MAX = 40
_HELD: LiteralString = (
    "SELECT digest, reserved FROM withdrawal"
    " WHERE wallet = %s AND reserved > 0 AND state IN"
    " ('SIGNING', 'SIGNED', 'BROADCASTING', 'CONFIRMING', 'ENDING')"
)


@dataclass
class Clock:
    """Takes the place of the module `time` where custody and the guard ask for the time of day."""

    ahead_ms: int = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.ahead_ms * 1_000_000

    def now(self) -> int:
        return self.time_ns() // 1_000_000

    def look(self) -> Moment:
        """What the signer's host shows: time passes there too."""
        seen = look()
        ahead = self.ahead_ms
        return replace(seen, wall=seen.wall + ahead, steady=seen.steady + ahead)


class Works:
    """Custody, its hot wallet and its signer. `parts` are the worker's, and serve the api too."""

    parts: WorkerParts
    gateway: LocalGateway
    tower: LocalTower
    node_line: NodeLine
    journal: Journal
    file: bytes
    policy: Policy
    lost: frozenset[str] = frozenset()  # what a lying node made unable to land

    def __init__(self, dsn: str, node_url: str, chain: Chain, token: Token, folder: Path) -> None:
        self.node_url, self.chain, self.token = node_url, chain, token
        # What is tested are crashes of processes, not of machines: commits need not wait for disks.
        self.dsn = make_conninfo(dsn, options="-c synchronous_commit=off")
        self.clock, self._folder = Clock(), folder
        self.wallet = encode_address(token.generate(WALLET))
        self.audit_key = key_text(token.generate(AUDIT_LABEL))
        self.tower = LocalTower(self.clock.now, {self.audit_key}, lambda: self.policy.change_delay)

    def genesis(self, file: bytes) -> None:
        """Give the signer a journal of its own with this policy in force."""
        self.file, self.policy = file, parse_policy(file)
        self._journal_path = self._folder / f"journal-{self.policy.digest[:8]}"
        journal = Journal.create(self._journal_path, self.clock.look())
        begin(self.token, journal)
        Governance(journal).install(self.policy, file, self.clock.look())
        journal.close()

    async def start(self) -> None:
        """Start custody and signer on what is stored."""
        self.journal = Journal(self._journal_path)
        self.gateway = LocalGateway(Guard(self.token, self.journal, self.clock.look), self.tower)
        self.node_line = NodeLine()
        node = SolanaNode(self.node_url, transport=self.node_line)
        database = Database(self.dsn)
        await database.open()
        self.tower.node = SolanaNode(self.node_url, transport=NodeLine())
        self.parts = WorkerParts(
            database=database, node=node, gateway=self.gateway, watchtower=self.tower, fee=FEE
        )

    async def recover(self) -> None:
        """Give the signer a new journal with the same policy and an empty address book."""
        await self.stop()
        for file in self._folder.glob(f"{self._journal_path.name}*"):
            file.unlink()
        self.genesis(self.file)
        await self.start()

    async def stop(self) -> None:
        await self.parts.node.close()
        await self.tower.node.close()
        await self.parts.database.close()
        self.journal.close()

    async def dies(self, work: Awaitable[object]) -> bool:
        """Tell whether the work met a Crash; then custody and signer start again."""
        try:
            await work
        except Crash:
            await self.stop()
            await self.start()
            return True
        return False

    async def step(self) -> None:
        """Run the worker's steps and the chain until nothing changes any more."""
        before: object = None
        for _ in range(ROUNDS_MAX):
            await self.make_due()
            await self.tower.renew(self.gateway.guard, always=True)
            for steps in LINES.values():
                for step in steps:
                    await step(self.parts)
            self.chain.advance(4)
            stored = await self._stored()
            if stored == before:
                return
            before = stored
        raise AssertionError("custody never comes to rest")

    async def make_due(self) -> None:
        """Let nothing wait for its time any more; who waited longest still comes first."""
        await self.sql(
            "UPDATE withdrawal SET retry_at = least(retry_at, now()), introduce_at ="
            " introduce_at - interval '1 hour'"
        )
        await self.sql("UPDATE nonce SET retry_at = now()")
        await self.sql("UPDATE advance SET retry_at = now()")
        await self.sql("UPDATE policy_version SET ask_at = now()")
        await self.sql("UPDATE veto SET ask_at = now()")

    def pay(self, address: str, lamports: int) -> None:
        """Somebody pays to an address, and it is final."""
        self.chain.submit(self.chain.airdrop(Pubkey.from_string(address), lamports))
        self.chain.advance(4)

    async def row(self, row: Row) -> Row:
        async with self.parts.database.transaction() as connection:
            found = await withdrawals.get(connection, row.digest)
        assert found is not None
        return found

    async def on_chain(self, address: str) -> int:
        return await self.parts.node.balance(address)

    async def balance(self) -> Balance:
        """Return custody's own books of the wallet."""
        async with self.parts.database.transaction() as connection:
            (balance,) = await balances.page(connection, "", 2)
        return balance

    async def sql(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        async with self.parts.database.transaction() as connection:
            cursor = await connection.execute(query, values)
            return await cursor.fetchall() if cursor.description else []

    async def check(self) -> None:
        """Books, reservations, nonces and chain agree, whatever happened."""
        for name, total, in_use, aside in await self.sql(
            "SELECT wallet, total, in_use, set_aside FROM balance"
        ):
            sums = "SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entry WHERE wallet = %s"
            assert [(total,)] == await self.sql(sums, name)
            held = await self.sql(_HELD, name)
            opening = await self.sql("SELECT reserved FROM nonce WHERE wallet = %s", name)
            advances = await self.sql("SELECT reserved FROM advance WHERE wallet = %s", name)
            assert in_use == sum(row[-1] for row in held + opening + advances)
            holders = await self.sql(
                "SELECT holder FROM nonce WHERE holder IS NOT NULL AND wallet = %s", name
            )
            assert {row[0] for row in holders} == {row[0] for row in held} - self.lost
            asides = "SELECT coalesce(sum(set_aside), 0)::bigint FROM withdrawal WHERE wallet = %s"
            assert [(aside,)] == await self.sql(asides, name)
            chain = await self.on_chain(self.wallet)
            assert total - in_use <= chain, (name, total, in_use, chain)

    async def open_connections(self) -> None:
        """Fill the pool, so that what runs at the same time does not queue for a connection."""
        await asyncio.gather(*(self.sql("SELECT pg_sleep(0.02)") for _ in range(POOL_MAX)))

    async def _stored(self) -> object:
        return [
            await self.sql("SELECT digest, state, waiting_for, nonce_index FROM withdrawal"),
            await self.sql("SELECT count(*) FROM event WHERE position IS NULL"),
            await self.sql(
                "SELECT wallet, index, value, spent, holder, opening_id, acknowledged, reserved"
                " FROM nonce ORDER BY wallet, index"
            ),
            await self.sql("SELECT * FROM balance"),
            await self.sql(
                "SELECT wallet, index, value, transaction_id, acknowledged, done FROM advance"
            ),
            await self.sql("SELECT digest, acknowledged FROM withdrawal WHERE NOT acknowledged"),
            await self.sql("SELECT version, applied, refusal FROM book_version"),
            await self.sql("SELECT digest, state, refusal_code FROM policy_version"),
            await self.sql("SELECT change, person, state FROM veto"),
        ]


def policy_file(address: str, audit_key: str) -> bytes:
    """Return policies/example.toml with the keys of the tests' people and of this signer."""
    text = EXAMPLE.read_text()
    for name in ("alice", "bob", "carol", "exchange"):
        text = re.sub(rf'(\[\w+\.{name}\]\nkeys = \[")[^"]+', rf"\g<1>{public(name)}", text)
    text = re.sub(r'(?m)^(address = ")[^"]+', rf"\g<1>{address}", text)
    text = re.sub(r'(\[watchtower\]\nkey = ")[^"]+', rf"\g<1>{public('watchtower')}", text)
    return re.sub(r'(?m)^(signer = ")[^"]+', rf"\g<1>{audit_key}", text).encode()
