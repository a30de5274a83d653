"""The watchtower's settings: watchtower.toml and KURA_WATCHTOWER_…, read once at start."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from custody.client_config import read_address
from custody.limits import LINK, Limits
from custody.settings import (
    read_limits,
    read_log,
    read_metrics,
    read_text,
    read_tls,
    read_tracing,
)
from custody.tls import TlsFiles
from custody.watchtower.nodes import name_of
from policies import fields
from policies.reader import EntryError, Table

NODES_MAX = 2
SIGNERS_MAX = 8


@dataclass(frozen=True, slots=True)
class WatchtowerSettings:
    """`listen` is where relays dial, and officers and the worker call.

    `nodes`: 1 or 2 Solana JSON-RPC addresses, of its own; `key`: the PEM file of its signing key;
    `audit_keys`: its signers; `data`: its SQLite file; `alarm_command`: what tells people, () for
    nobody. The rest as in `custody.settings`.
    """

    listen: str
    tls: TlsFiles
    nodes: tuple[str, ...]
    key: Path
    audit_keys: tuple[str, ...]
    data: Path
    alarm_command: tuple[str, ...]
    limits: Limits
    metrics: str
    tracing: str
    log: str


def watchtower_settings(root: Table, folder: Path) -> WatchtowerSettings:
    """Read the watchtower's settings."""
    named = "alarm_command" in root.names()
    return WatchtowerSettings(
        listen=root.value("listen", read_address),
        tls=read_tls(root, folder),
        nodes=_nodes(root),
        key=folder / root.value("key", read_text),
        audit_keys=_some(root, "audit_keys", root.values("audit_keys", fields.key), SIGNERS_MAX),
        data=folder / root.value("data", read_text),
        alarm_command=root.value("alarm_command", _command) if named else (),
        limits=read_limits(root, LINK),
        metrics=read_metrics(root),
        tracing=read_tracing(root),
        log=read_log(root),
    )


def _nodes(root: Table) -> tuple[str, ...]:
    urls = _some(root, "nodes", root.values("nodes", read_text), NODES_MAX)
    for name, times in Counter(map(name_of, urls)).items():
        if times > 1:
            raise EntryError((*root.path, "nodes"), f"{name} is named twice: name another's node")
    return urls


def _some(root: Table, name: str, values: tuple[str, ...], most: int) -> tuple[str, ...]:
    if not 0 < len(values) <= most:
        raise EntryError((*root.path, name), f"must name 1 to {most}")
    return values


def _command(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise ValueError("must be a list of a program and its arguments")
    if shutil.which(value[0]) is None:
        raise ValueError(f"{value[0]} is no program that can be run here")
    return tuple(value)
