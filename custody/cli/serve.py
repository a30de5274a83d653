"""`custody serve`: the server processes. The one place where their parts are built."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import grpc
from cyclopts import App, Parameter
from grpc_health.v1 import health
from psycopg.errors import UndefinedTable

from custody import logs, metrics, tracing
from custody.api import CustodyServicer
from custody.call_log import CallLog
from custody.chains.solana import SolanaNode
from custody.cli.session import CommandError
from custody.domain.audit import Kind
from custody.flows.parts import Parts, WorkerParts, unix_ms
from custody.gateway import Gateway
from custody.keys import KeyFileError, load_key
from custody.relay import relay as carry
from custody.serving import build_server
from custody.settings import (
    ApiSettings,
    RelaySettings,
    WorkerSettings,
    api_settings,
    read_settings,
    relay_settings,
    worker_settings,
)
from custody.store import audit
from custody.store.database import Database
from custody.watchtower import counters, signers
from custody.watchtower.alarms import Alarms
from custody.watchtower.chain import Chain
from custody.watchtower.database import Database as WatchtowerDatabase
from custody.watchtower.database import DatabaseError
from custody.watchtower.metrics import WatchtowerCollector
from custody.watchtower.parts import Parts as WatchtowerParts
from custody.watchtower.relays import Relays
from custody.watchtower.schema import SCHEMA
from custody.watchtower.service import Service, denied
from custody.watchtower.settings import WatchtowerSettings, watchtower_settings
from custody.watchtower_client import WatchtowerClient
from custody.worker import work
from kura.custody.v1 import custody_pb2, custody_pb2_grpc
from kura.gateway.v1 import gateway_pb2_grpc
from kura.watchtower.v1 import watchtower_pb2, watchtower_pb2_grpc
from policies.statements import digest

GRACE_SECONDS = 3.0
STATEMENT_SECONDS = 5.0  # of the api's: no caller keeps the database busy for longer at a time
WATCHTOWER = watchtower_pb2.DESCRIPTOR.services_by_name["Watchtower"].full_name
CUSTODY = custody_pb2.DESCRIPTOR.services_by_name["Custody"].full_name

app = App(name="serve", help="Run a server process until SIGTERM.")
Settings = Annotated[Path, Parameter(name="--settings", help="The process's settings (TOML).")]


@app.command
def api(settings: Settings) -> None:
    """Serve the custody API: custody serve api --settings api.toml."""
    chosen = read_settings(settings, "api", api_settings)
    _run("api", _api(chosen), chosen)


@app.command
def worker(settings: Settings) -> None:
    """Move withdrawals on and serve the relay: custody serve worker --settings worker.toml."""
    chosen = read_settings(settings, "worker", worker_settings)
    _run("worker", _worker(chosen), chosen)


@app.command
def relay(settings: Settings) -> None:
    """Carry frames from worker and watchtower to signer: custody serve relay --settings FILE."""
    chosen = read_settings(settings, "relay", relay_settings)
    credentials = chosen.tls.channel_credentials()
    ready = f"relay ready, dialling {', '.join(chosen.gateways)}"
    _run("relay", _until_stopped(carry(chosen.gateways, credentials, chosen.socket), ready), chosen)


@app.command
def watchtower(settings: Settings) -> None:
    """Follow the chain and let the signers sign: custody serve watchtower --settings FILE."""
    chosen = read_settings(settings, "watchtower", watchtower_settings)
    _run("watchtower", _watchtower(chosen), chosen)


async def _api(settings: ApiSettings) -> None:
    database = Database(settings.database, statement_seconds=STATEMENT_SECONDS)
    node = SolanaNode(settings.node)
    calls = CallLog(database)
    server, _, checks = await build_server(
        settings.listen, settings.tls, calls.refused, [CUSTODY], settings.limits
    )
    parts = Parts(database=database, node=node)
    custody_pb2_grpc.add_CustodyServicer_to_server(CustodyServicer(parts, calls), server)
    ready = f"api ready on {settings.listen}"
    async with _open("api", settings, parts):
        with metrics.serving(settings.metrics, parts):
            await _serve(ready, server, checks, asyncio.Event().wait())


async def _worker(settings: WorkerSettings) -> None:
    database, node, gateway = Database(settings.database), SolanaNode(settings.node), Gateway()
    server, _, checks = await build_server(
        settings.listen, settings.tls, CallLog(database).refused, limits=settings.limits
    )
    gateway_pb2_grpc.add_SignerGatewayServicer_to_server(gateway, server)
    watchtower = WatchtowerClient(settings.watchtower, settings.tls)
    parts = WorkerParts(
        database=database, node=node, gateway=gateway, watchtower=watchtower, fee=settings.fee
    )
    ready = f"worker ready on {settings.listen}"
    async with _open("worker", settings, parts):
        with metrics.serving(settings.metrics, parts):
            try:
                await _serve(ready, server, checks, work(parts), gateway.close)
            finally:
                await watchtower.close()


async def _watchtower(settings: WatchtowerSettings) -> None:
    key = load_key(settings.key, _no_passphrase)
    try:
        database = WatchtowerDatabase(settings.data, SCHEMA)
    except DatabaseError as error:
        raise CommandError(str(error)) from error
    alarms = Alarms(database, unix_ms, settings.alarm_command)
    audit_keys, policies = frozenset(settings.audit_keys), signers.policies(database)
    parts = WatchtowerParts(key, audit_keys, database, alarms, policies=policies)
    chain = Chain(parts, settings.nodes)
    relays, service = Relays(parts, chain), Service(parts, chain, alarms)
    server, _, checks = await build_server(
        settings.listen, settings.tls, denied, [WATCHTOWER], settings.limits
    )
    gateway_pb2_grpc.add_SignerGatewayServicer_to_server(relays, server)
    watchtower_pb2_grpc.add_WatchtowerServicer_to_server(service, server)
    ready = f"watchtower ready on {settings.listen}"
    collector = WatchtowerCollector(parts, chain)
    try:
        with metrics.exposing(settings.metrics, counters.REGISTRY, collector):
            await _serve(ready, server, checks, _both(chain.run(), alarms.run()), relays.close)
    finally:
        database.close()


async def _both(*work: Awaitable[None]) -> None:
    await asyncio.gather(*work)  # a task of its own: a gather that is cancelled ends with an error


def _no_passphrase() -> bytes:
    words = "the watchtower's key has a passphrase, which nobody types: make one without"
    raise KeyFileError(words)


@asynccontextmanager
async def _open(name: str, settings: ApiSettings, parts: Parts) -> AsyncIterator[None]:
    """Connect, and note in the audit log with which settings: all but the DSN, as a digest."""
    await parts.database.open()
    told = digest(repr(replace(settings, database="")).encode())
    try:
        async with parts.database.transaction() as connection:
            subject = f"settings/{name}"
            await audit.record(
                connection, Kind.CONFIGURATION, "START", actor=name, subject=subject, digest=told
            )
        yield
    except UndefinedTable:
        words = "the database has no tables yet: run custody db migrate --settings"
        raise CommandError(f"{words} {name}.toml") from None
    finally:
        await parts.node.close()
        await parts.database.close()


async def _serve(
    ready: str,
    server: grpc.aio.Server,
    checks: health.aio.HealthServicer,
    work: Awaitable[object],
    close: Callable[[], None] = lambda: None,
) -> None:
    await server.start()
    try:
        await _until_stopped(work, ready)
    finally:
        await checks.enter_graceful_shutdown()  # balancers send nobody here any more
        close()
        await server.stop(GRACE_SECONDS)  # calls that are being answered still are


async def _until_stopped(work: Awaitable[object], ready: str) -> None:
    """Run `work` until it ends or the process is told to stop; first say `ready`.

    What is cut off hands itself back: a transaction is rolled back, and whoever runs next reads the
    same work from the database.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    print(ready, flush=True)
    await asyncio.wait({task})
    if not task.cancelled() and task.exception():
        raise task.exception() or AssertionError


def _run(
    name: str,
    main: Coroutine[None, None, None],
    settings: ApiSettings | RelaySettings | WatchtowerSettings,
) -> None:
    logs.set_up(settings.log)
    with tracing.exporting(f"kura-{name}", settings.tracing):
        asyncio.run(main)
