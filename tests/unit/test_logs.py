"""Log lines in both forms: ours and the libraries', each with the withdrawal it is about."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from custody import logs


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def say() -> None:
    with structlog.contextvars.bound_contextvars(withdrawal="ab12"):
        structlog.get_logger().info("step", step="SENT")
        logging.getLogger("psycopg").warning("a library's line")
        logging.getLogger("httpx").info("GET https://node/?token=hidden")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("json")
    say()
    ours, library = map(json.loads, capsys.readouterr().out.splitlines())
    assert (ours["event"], ours["step"], ours["level"]) == ("step", "SENT", "info")
    assert library["event"] == "a library's line"
    assert {line["withdrawal"] for line in (ours, library)} == {"ab12"}


def test_a_console_gets_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("console")
    say()
    ours, library = capsys.readouterr().out.splitlines()
    for word in ("info", "step=SENT", "withdrawal=ab12"):
        assert word in ours
    assert "a library's line" in library
    assert "withdrawal=ab12" in library
