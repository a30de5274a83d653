"""The signer's settings: one TOML file, read once at start. No secret stands in it."""

from dataclasses import dataclass
from pathlib import Path

from policies.reader import Table, read_toml


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the signer's parts are.

    `module`: the PKCS#11 library; `token`: the token's label; `pin_file`: a file only its owner can
    read, None to ask on the terminal; `peer_uid`: the Unix user whose relay may connect.
    """

    module: Path
    token: str
    pin_file: Path | None
    journal: Path
    socket: Path
    peer_uid: int


def read_settings(path: Path) -> Settings:
    """Return the settings in `path`; FileError with line and reason, OSError when unreadable."""
    return read_toml(path.read_text(), _settings)


def _settings(root: Table) -> Settings:
    return Settings(
        module=root.value("module", _path),
        token=root.value("token", _text),
        pin_file=root.value("pin_file", lambda value: None if value == "" else _path(value)),
        journal=root.value("journal", _path),
        socket=root.value("socket", _path),
        peer_uid=root.value("peer_uid", _uid),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _path(value: object) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _uid(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("must be the number of a Unix user")
    return value
