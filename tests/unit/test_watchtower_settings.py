"""watchtower.toml: what it must say, and the line that is wrong."""

from pathlib import Path
from typing import Any

import pytest

from custody.client_config import ConfigError
from custody.settings import read_settings
from custody.watchtower.settings import WatchtowerSettings, watchtower_settings
from tests.factories import public
from tests.integration.tower import shown

TLS = '[tls]\nca = "ca.pem"\ncertificate = "own.pem"\nkey = "own.key"\n'
KEYS = [public("audit")]


def read(folder: Path, **changes: Any) -> WatchtowerSettings:
    values: dict[str, Any] = {
        "listen": "0.0.0.0:9443",
        "nodes": ["http://node-1:8899"],
        "key": "watchtower.pem",
        "audit_keys": KEYS,
        "data": "watchtower.sqlite",
        **changes,
    }
    lines = [f"{name} = {shown(value)}\n" for name, value in values.items() if value is not None]
    file = folder / "watchtower.toml"
    file.write_text("".join(lines) + TLS)
    return read_settings(file, "watchtower", watchtower_settings)


def test_paths_are_beside_the_file_and_the_rest_is_optional(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.key == tmp_path / "watchtower.pem"
    assert settings.data == tmp_path / "watchtower.sqlite"
    assert (settings.alarm_command, settings.metrics, settings.tracing) == ((), "", "")
    command = ["sh", "-H", "a", "-H", "b"]
    assert read(tmp_path, alarm_command=command).alarm_command == tuple(command)


def test_the_environment_stands_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURA_WATCHTOWER_NODES", '["http://a:1", "http://b:2"]')
    assert read(tmp_path).nodes == ("http://a:1", "http://b:2")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": []}, "nodes: must name 1 to 2"),
        ({"nodes": ["http://a", "http://b", "http://c"]}, "nodes: must name 1 to 2"),
        ({"nodes": ["http://a", "http://a"]}, "nodes: says the same thing twice"),  # one is not two
        ({"nodes": ["http://a/1", "http://me@a/2"]}, "nodes: a is named twice"),
        ({"audit_keys": []}, "audit_keys: must name 1 to 8"),
        ({"audit_keys": KEYS * 2}, "audit_keys: says the same thing twice"),
        ({"audit_keys": ["ed25519:00"]}, "audit_keys"),
        ({"listen": "9443"}, "listen: must be host:port"),
        ({"data": None}, "data"),
        ({"alarm_command": "page"}, "must be a list of a program"),
        ({"alarm_command": []}, "must be a list of a program"),
        ({"alarm_command": ["/nonexistent/page"]}, "/nonexistent/page is no program that can be"),
        ({"more": "x"}, "more"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, **changes)
