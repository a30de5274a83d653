"""Settings of the server processes: one TOML file each, read once at start.

An error names the file's line, the entry and the reason (policies.reader.FileError).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from custody.flows.parts import Fee
from custody.limits import LINK, Limits
from custody.tls import TlsFiles
from policies.reader import Table, read_toml

T = TypeVar("T")
COMPUTE_UNITS_MAX = 1_400_000
LIMIT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`listen` is host:port, `database` a PostgreSQL DSN, `node` a Solana JSON-RPC address."""

    listen: str
    database: str
    node: str
    tls: TlsFiles
    limits: Limits


@dataclass(frozen=True, slots=True)
class WorkerSettings(ApiSettings):
    """`listen` is where the relay dials."""

    fee: Fee


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """`gateway` is the worker's host:port, `socket` the signer's Unix socket."""

    gateway: str
    socket: Path
    tls: TlsFiles


def read_settings(path: Path, read: Callable[[Table, Path], T]) -> T:
    """Return what `read` makes of the file; relative paths are relative to its folder."""
    return read_toml(path.read_text(), lambda root: read(root, path.parent))


def api_settings(root: Table, folder: Path) -> ApiSettings:
    """Read the api's settings."""
    return ApiSettings(
        listen=root.value("listen", _text),
        database=root.value("database", _text),
        node=root.value("node", _text),
        tls=read_tls(root, folder),
        limits=_limits(root, Limits()),
    )


def worker_settings(root: Table, folder: Path) -> WorkerSettings:
    """Read the worker's settings."""
    fee = root.table("fee")
    settings = WorkerSettings(
        listen=root.value("listen", _text),
        database=root.value("database", _text),
        node=root.value("node", _text),
        tls=read_tls(root, folder),
        limits=_limits(root, LINK),
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
        gateway=root.value("gateway", _text),
        socket=folder / root.value("socket", _text),
        tls=read_tls(root, folder),
    )


def read_tls(root: Table, folder: Path) -> TlsFiles:
    """Read the table `tls`."""
    table = root.table("tls")
    files = [folder / table.value(key, _text) for key in ("ca", "certificate", "key")]
    table.done()
    return TlsFiles(*files)


def _limits(root: Table, default: Limits) -> Limits:
    """Read the table `limits`, which may be absent, as may each of its entries."""
    if "limits" not in root.names():
        return default
    table, known = root.table("limits"), {field.name for field in fields(Limits)}
    chosen = {
        name: table.value(name, _number(1, LIMIT_MAX)) for name in table.names() if name in known
    }
    table.done()
    return replace(default, **chosen)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _number(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return parse
