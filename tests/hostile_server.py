"""The api as a process of its own, to be attacked: python -m tests.hostile_server FOLDER DSN AGE.

Its servers, limits and roles are the real ones; WatchWithdrawals never ends and is as fast as its
reader, and ListWallets answers a lot. FOLDER/NAME.full is there once NAME held all it may. With AGE
a connection may live and be silent for so many seconds, whatever LIMITS says.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from custody.api import CustodyServicer
from custody.call_log import CallLog
from custody.chains.solana import SolanaNode
from custody.dev.layout import HOSTS
from custody.dev.pki import Authority
from custody.flows.parts import Parts
from custody.identity import Identity, Role
from custody.limits import Limits
from custody.serving import build_server
from custody.store.database import Database, migrate
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.codes import Code
from tests.hostile_clients import say

LIMITS = Limits(
    calls_per_second=40,  # a flood on a busy machine still exceeds it
    calls_burst=80,
    connections=100,
    handshake_seconds=1,
    idle_seconds=2,
    silent_seconds=1,
    request_seconds=1,
    connection_seconds=5,
)
LARGE = "x" * 1_000_000


class Servicer(CustodyServicer):
    async def WatchWithdrawals(  # noqa: N802
        self, request: wire.WatchWithdrawalsRequest, context: Any
    ) -> AsyncIterator[wire.WatchWithdrawalsResponse]:
        while True:
            yield wire.WatchWithdrawalsResponse(cursor=LARGE)

    async def ListWallets(  # noqa: N802
        self, request: wire.ListWalletsRequest, context: Any
    ) -> wire.ListWalletsResponse:
        return wire.ListWalletsResponse(next_page_token=LARGE)


async def main(folder: Path, dsn: str, limits: Limits) -> None:
    await migrate(dsn)
    parts = Parts(database=Database(dsn), node=SolanaNode("http://127.0.0.1:9"))
    await parts.database.open()
    tls = Authority(folder).issue(Identity(Role.SERVER, "api"), HOSTS)

    async def denied(who: Identity | None, method: str, code: Code, rule: str) -> None:
        if who and code is Code.RATE_EXCEEDED:  # by places first: there are fewer than tokens
            (folder / f"{who.name}.full").touch()

    server, port, _ = await build_server("127.0.0.1:0", tls, denied, limits=limits)
    custody_pb2_grpc.add_CustodyServicer_to_server(Servicer(parts, CallLog(parts.database)), server)
    await server.start()
    say(str(port))
    await server.wait_for_termination()


if __name__ == "__main__":
    chosen = LIMITS
    for age in map(int, sys.argv[3:]):
        chosen = replace(LIMITS, connection_seconds=age, silent_seconds=age)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], chosen))
