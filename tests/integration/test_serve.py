"""`custody serve`, `custody db`: what is wrong with settings or around them is told in a line."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from custody.dev.layout import Layout, write_settings
from custody.main import main
from custody.store import database as databases

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Settings and certificates as a development system has them."""
    made = Layout(tmp_path)
    write_settings(made)
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], layout: Layout) -> Iterator[Run]:
    def run(*command: str, settings: Path) -> tuple[int, str, str]:
        code = main([*command, "--settings", str(settings)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield run
    structlog.reset_defaults()


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("process", "change", "words"),
    [
        ("api", ("listen = ", "lisen = "), "line 1: listen is missing"),
        ("api", ("listen = ", 'spy = "x"\nlisten = '), "line 1: spy: is not known here"),
        ("api", ('listen = "', 'listen = 5 # "'), "line 1: listen: must be text"),
        ("api", ("listen = ", "listen "), "line 1: is not TOML"),
        ("api", ('node = "http', 'node = "" # "'), "line 3: node: must be text"),
        ("api", ("[tls]", "[tsl]"), "line 1: tls is missing"),
        ("api", ("ca = ", "ac = "), "line 4: tls: ca is missing"),
        ("api", ("key = ", 'pin = "1234"\nkey = '), "line 7: tls.pin: is not known here"),
        ("worker", ("[fee]", "[fees]"), "line 1: fee is missing"),
        ("worker", ("[fee]", '[fee]\ntip = "1"'), "line 10: fee.tip: is not known here"),
        ("worker", ("unit_price = 1000", "unit_price = -1"), "line 11: fee.unit_price: must be"),
        ("worker", ("unit_limit = 2000", "unit_limit = 0"), "line 10: fee.unit_limit: must be"),
        ("worker", ("unit_limit = 2000", "unit_limit = true"), "line 10: fee.unit_limit: must be"),
        ("worker", ("unit_limit = 2000", "unit_limit = 2e3"), "line 10: fee.unit_limit: must be"),
        ("worker", ("watchtower = ", "tower = "), "line 1: watchtower is missing"),
        ("worker", ('watchtower = "', 'watchtower = "x" # "'), "line 4: watchtower: must be host"),
        ("worker", ("database = ", "database = 1 #"), "line 2: database: must be text"),
        ("relay", ("gateways = ", "workers = "), "line 1: gateways is missing"),
        (
            "relay",
            ("socket = ", 'listen = "127.0.0.1:1"\nsocket = '),
            "line 2: listen: is not known",
        ),
        ("relay", ('socket = "', 'socket = "" # "'), "line 2: socket: must be text"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_line(
    layout: Layout, run: Run, process: str, change: tuple[str, str], words: str
) -> None:
    spoil(layout.settings(process), *change)
    code, out, err = run("serve", process, settings=layout.settings(process))
    assert (code, out) == (1, "")
    assert err.startswith(f"{layout.settings(process)}: {words}")


@pytest.mark.parametrize("process", ["api", "worker", "relay"])
def test_files_that_are_not_there_are_named(layout: Layout, run: Run, process: str) -> None:
    nowhere = layout.folder / "nowhere.toml"
    code, _, err = run("serve", process, settings=nowhere)
    assert (code, err) == (1, f"{nowhere}: No such file or directory\n")
    (layout.folder / "pki" / "ca.pem").unlink()
    code, _, err = run("serve", process, settings=layout.settings(process))
    assert code == 1
    assert "ca.pem: No such file or directory" in err


@pytest.mark.parametrize("process", ["api", "worker"])
def test_a_port_that_is_taken_is_told(layout: Layout, run: Run, process: str) -> None:
    with socket.create_server(("127.0.0.1", layout.port(process))):
        code, _, err = run("serve", process, settings=layout.settings(process))
    assert code == 1
    assert err.startswith(f"cannot listen on 127.0.0.1:{layout.port(process)}: is the port free")


def test_certificates_that_are_none_are_told(layout: Layout, run: Run) -> None:
    (layout.folder / "pki" / "server-api.pem").write_text("not a certificate\n")
    code, _, err = run("serve", "api", settings=layout.settings("api"))
    assert code == 1
    assert "must be PEM files" in err


def test_a_database_that_is_not_there_is_told_without_its_password(
    layout: Layout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "WAIT_SECONDS", 0.2)
    dsn = "host=/nonexistent password=tiger"
    for process in ("api", "worker"):
        file = layout.settings(process)
        spoil(file, '"""' + layout.postgres.dsn, '"""' + dsn)
        code, _, err = run("serve", process, settings=file)
        assert code == 1
        assert "the database did not answer" in err
        assert "tiger" not in err
    code, _, err = run("db", "migrate", settings=layout.settings("api"))
    assert code == 1
    assert "the database did not answer" in err
    assert "tiger" not in err


def test_migrating_twice_changes_nothing(layout: Layout, run: Run, database: str) -> None:
    file = layout.settings("api")
    spoil(file, '"""' + layout.postgres.dsn, '"""' + database)
    assert run("db", "migrate", settings=file) == (0, "applied 0001_first.sql\n", "")
    assert run("db", "migrate", settings=file) == (0, "nothing to apply\n", "")
