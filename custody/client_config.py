"""The settings of whoever calls custody: one TOML file. It names files and holds no secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from custody.tls import TlsFiles
from policies import fields
from policies.reader import FileError, Table, read_toml

T = TypeVar("T")
PORT_MAX = 65_535


class ConfigError(Exception):
    """The settings cannot be used; the message names the file, the line and what to do."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Where custody is, and who asks.

    `target`: host:port; `name`: the requester's or person's name in the policy; `policy_digest`:
    the policy that the officer has read, 64 hex digits; `watchtower`: host:port. None for what a
    reader does without. `audit_keys`: by wallet, those of the signer that the policy names for it.
    """

    file: Path
    target: str
    tls: TlsFiles
    signing_key: Path | None
    name: str | None
    policy_digest: str | None
    watchtower: str | None
    audit_keys: Mapping[str, tuple[str, ...]]


def read_config(file: Path) -> ClientConfig:
    """Return the settings in `file`, its relative paths taken from its folder; or ConfigError."""
    try:
        return read_toml(file.read_text(), partial(_config, file))
    except FileError as error:
        raise ConfigError(f"{file}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        words = f"{file}: {reason}; name the settings with --config FILE or $KURA_CONFIG"
        raise ConfigError(words) from error


def read_address(value: object) -> str:
    """Return host:port; ValueError for what is none."""
    text = _text(value)
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise ValueError("must be host:port")
    if int(port) > PORT_MAX:
        raise ValueError(f"must be host:port, the port at most {PORT_MAX}")
    return text


def _config(file: Path, root: Table) -> ClientConfig:
    path = partial(_path, file.parent)
    return ClientConfig(
        file=file,
        target=root.value("target", read_address),
        tls=TlsFiles(
            ca=root.value("ca", path),
            certificate=root.value("certificate", path),
            key=root.value("key", path),
        ),
        signing_key=_optional(root, "signing_key", path),
        name=_optional(root, "name", fields.name),
        policy_digest=_optional(root, "policy_digest", fields.digest),
        watchtower=_optional(root, "watchtower", read_address),
        audit_keys=_audit_keys(root),
    )


def _audit_keys(root: Table) -> dict[str, tuple[str, ...]]:
    if "audit_keys" not in root.names():
        return {}
    table = root.table("audit_keys")
    return {wallet: tuple(table.values(wallet, fields.key)) for wallet in table.names()}


def _optional(table: Table, key: str, parse: Callable[[object], T]) -> T | None:
    return table.value(key, parse) if key in table.names() else None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _path(folder: Path, value: object) -> Path:
    return folder / _text(value)
