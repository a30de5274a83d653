"""Settings of the server processes: one TOML file each and the environment, read once at start.

An error names the file's line or the variable, the entry and the reason.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from custody.client_config import ConfigError, read_address
from custody.environment import VariableError, read_with_environment
from custody.flows.parts import Fee
from custody.limits import LINK, Limits
from custody.logs import FORMATS
from custody.tls import TlsFiles
from policies.reader import EntryError, FileError, Table

T = TypeVar("T")
COMPUTE_UNITS_MAX = 1_400_000
LIMIT_MAX = 1_000_000
WORKERS_MAX = 8  # as many connections as the signer takes at once
_PASSWORD = re.compile(r"password\s*=|//[^/@]*:[^/@]*@")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`listen` is host:port, `database` a PostgreSQL DSN, `node` a Solana JSON-RPC address.

    `metrics` is where /metrics is served, `tracing` an OTLP/HTTP collector's address, "" for
    nowhere; `log` one of logs.FORMATS.
    """

    listen: str
    database: str
    node: str
    tls: TlsFiles
    limits: Limits
    metrics: str
    tracing: str
    log: str


@dataclass(frozen=True, slots=True)
class WorkerSettings(ApiSettings):
    """`listen` is where the relay dials, `watchtower` the watchtower's host:port."""

    watchtower: str
    fee: Fee


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """`gateways`: host:port of workers and watchtower, 1 to 8; `socket`: the signer's."""

    gateways: tuple[str, ...]
    socket: Path
    tls: TlsFiles
    tracing: str
    log: str


def read_settings(path: Path, process: str, read: Callable[[Table, Path], T]) -> T:
    """Return what `read` makes of the file and the variables KURA_<PROCESS>_….

    Relative paths are relative to the file's folder. ConfigError names file and line of what is
    wrong there, VariableError the variable.
    """
    name = f"KURA_{process.upper()}_DATABASE"
    if _PASSWORD.search(os.environ.get(name, "")):
        words = "must hold no password, since a process's environment is read by others"
        raise VariableError(f"{name}: {words}: name a passfile in it")
    try:
        return read_with_environment(
            path.read_text(), process, os.environ, lambda root: read(root, path.parent)
        )
    except FileError as error:
        raise ConfigError(f"{path}: {error}") from error


def api_settings(root: Table, folder: Path) -> ApiSettings:
    """Read the api's settings."""
    return ApiSettings(
        listen=root.value("listen", read_address),
        database=root.value("database", _dsn),
        node=root.value("node", read_text),
        tls=read_tls(root, folder),
        limits=read_limits(root, Limits()),
        metrics=read_metrics(root),
        tracing=read_tracing(root),
        log=read_log(root),
    )


def worker_settings(root: Table, folder: Path) -> WorkerSettings:
    """Read the worker's settings."""
    fee = root.table("fee")
    settings = WorkerSettings(
        listen=root.value("listen", read_address),
        database=root.value("database", _dsn),
        node=root.value("node", read_text),
        tls=read_tls(root, folder),
        limits=read_limits(root, LINK),
        metrics=read_metrics(root),
        tracing=read_tracing(root),
        log=read_log(root),
        watchtower=root.value("watchtower", read_address),
        fee=Fee(
            unit_limit=fee.value("unit_limit", _number(1, COMPUTE_UNITS_MAX)),
            unit_price=fee.value("unit_price", _number(0, 2**63 - 1)),
        ),
    )
    fee.done()
    return settings


def relay_settings(root: Table, folder: Path) -> RelaySettings:
    """Read the relay's settings."""
    return RelaySettings(
        gateways=_gateways(root),
        socket=folder / root.value("socket", read_text),
        tls=read_tls(root, folder),
        tracing=read_tracing(root),
        log=read_log(root),
    )


def read_tls(root: Table, folder: Path) -> TlsFiles:
    """Read the table `tls`."""
    table = root.table("tls")
    files = [folder / table.value(key, read_text) for key in ("ca", "certificate", "key")]
    table.done()
    return TlsFiles(*files)


def _gateways(root: Table) -> tuple[str, ...]:
    gateways = root.values("gateways", read_address)
    if not 0 < len(gateways) <= WORKERS_MAX:
        raise EntryError((*root.path, "gateways"), f"must name 1 to {WORKERS_MAX}")
    return gateways


def read_metrics(root: Table) -> str:
    return root.value("metrics", read_address) if "metrics" in root.names() else ""


def read_tracing(root: Table) -> str:
    return root.value("tracing", read_text) if "tracing" in root.names() else ""


def read_log(root: Table) -> str:
    return root.value("log", _form) if "log" in root.names() else FORMATS[0]


def _form(value: object) -> str:
    if value not in FORMATS:
        raise ValueError(f"must be one of {', '.join(FORMATS)}")
    return str(value)


def read_limits(root: Table, default: Limits) -> Limits:
    """Read the table `limits`, which may be absent, as may each of its entries."""
    if "limits" not in root.names():
        return default
    table, known = root.table("limits"), {field.name for field in fields(Limits)}
    chosen = {
        name: table.value(name, _number(1, LIMIT_MAX)) for name in table.names() if name in known
    }
    table.done()
    return replace(default, **chosen)


def _dsn(value: object) -> str:
    """Return a DSN that can be read: what PostgreSQL says of any other quotes its password."""
    text = read_text(value)
    try:
        conninfo_to_dict(text)
    except ProgrammingError:
        raise ValueError("is no PostgreSQL connection string") from None
    return text


def read_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _number(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return parse
