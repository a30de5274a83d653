"""The state machine's own house: made anew for each trial, with ways to die in the middle."""

import asyncio
import itertools
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from custody.chains.solana import SolanaNode
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from custody.dev.postgres import EmbeddedPostgres
from custody.flows import parts
from custody.store import advances, balances, nonces, receipts, withdrawals
from custody.store.database import migrate
from signer.anchor import Anchored
from signer.requests import Requests
from tests.factories import SOL
from tests.integration.house import House
from tests.integration.local_tower import LocalTower
from tests.integration.mischief import Crash, LocalGateway, crash_in
from tests.integration.works import policy_file
from tests.softhsm import softhsm_token

T = TypeVar("T")
TEMPLATE = "trial_template"
FUNDS = 2 * SOL
# Where a process can die, right after the effect: in the signer, on a wire, inside a transaction.
SIGNER_DEATHS = (
    (Requests, "see"),
    (Requests, "reserve"),
    (Requests, "record"),
    (Requests, "end"),
    (Anchored, "settle"),
)
DEATHS: tuple[tuple[object, str], ...] = (
    (LocalGateway, "ask"),
    (SolanaNode, "send"),
    (SolanaNode, "status"),
    (withdrawals, "move"),
    (withdrawals, "insert"),
    (balances, "reserve"),
    (balances, "release"),
    (balances, "put_back"),
    (balances, "book"),
    (nonces, "take"),
    (nonces, "give_back"),
    (receipts, "acknowledge"),
    (receipts, "put_off"),
    (advances, "want"),
    (advances, "signed"),
    (advances, "done"),
    (LocalTower, "submit_receipts"),
    (LocalTower, "dead_transactions"),
)
_numbers = itertools.count()


class Trial:
    """A house and the one event loop that its works live in."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path) -> None:
        self._stack, self._runner = ExitStack(), asyncio.Runner()
        self.patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        self._stack.callback(structlog.reset_defaults)
        name = f"trial_{next(_numbers)}"
        folder /= name
        dsn = self._stack.enter_context(_database(self._runner, postgres, name))
        token = self._stack.enter_context(softhsm_token(folder / "softhsm")).open()
        chain = self._stack.enter_context(Chain(None))
        url = self._stack.enter_context(serve(chain))
        self.house = House(dsn, url, chain, token, folder)
        self.patch.setattr(parts, "time", self.house.clock)
        self.house.genesis(policy_file(self.house.wallet, self.house.audit_key))
        self.run(self.house.start())
        self.run(self.house.ready(lamports=FUNDS))

    def run(self, work: Awaitable[T]) -> T:
        async def running() -> T:
            return await work

        return self._runner.run(running())

    def dies(self, work: Awaitable[object], where: object, effect: str) -> bool:
        """Do the work; die when that effect is there. True when it died and started again."""
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(where, type) and where in {Anchored, Requests}:
                crash_in(where, effect, patch)
            else:
                _crash_in_async(where, effect, patch)
            try:
                self.run(work)
            except Crash:
                died = True
            else:
                died = False
        if died:
            self.restart()
        return died

    def restart(self) -> None:
        self.run(self.house.stop())
        self.run(self.house.start())

    def close(self) -> None:
        try:
            self.run(self.house.stop())
        finally:
            self._runner.close()
            self._stack.close()


def _crash_in_async(where: object, effect: str, patch: pytest.MonkeyPatch) -> None:
    original = getattr(where, effect)

    async def done_and_dead(*arguments: object, **named: object) -> None:
        await original(*arguments, **named)
        raise Crash

    patch.setattr(where, effect, done_and_dead)


@contextmanager
def _database(runner: asyncio.Runner, postgres: EmbeddedPostgres, name: str) -> Iterator[str]:
    """A migrated database of this trial's own, copied from a template made once."""
    made, template = sql.Identifier(name), sql.Identifier(TEMPLATE)
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if not admin.execute(query, (TEMPLATE,)).fetchone():
            admin.execute(sql.SQL("CREATE DATABASE {}").format(template))
            runner.run(_migrate(make_conninfo(postgres.dsn, dbname=TEMPLATE)))
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, template))
        yield make_conninfo(postgres.dsn, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))


async def _migrate(dsn: str) -> None:
    await migrate(dsn)
