"""Alarms: kept, told by a real command, again after a failure or restart, never waited for."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from custody.watchtower import alarms
from custody.watchtower.alarms import SCHEMA, Alarms
from custody.watchtower.counters import ALARMS
from custody.watchtower.database import Database
from tests.factories import NOW
from tests.integration.link import SECONDS_MAX, running

HOOK = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
if (folder / "broken").exists():
    (folder / "failed").touch()
    sys.exit(3)
with (folder / "told").open("ab") as file:
    file.write(sys.stdin.buffer.read() + b"\\n")
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "watchtower.sqlite", [SCHEMA])
    yield made
    made.close()


@asynccontextmanager
async def telling(database: Database, *command: str) -> AsyncIterator[Alarms]:
    made = Alarms(database, lambda: NOW, command)
    async with running(made.run()):
        yield made


def hook(folder: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", HOOK, str(folder))


async def told(folder: Path, count: int) -> list[dict[str, Any]]:
    """Return what the command was told, once it is as much."""
    file = folder / "told"
    async with asyncio.timeout(SECONDS_MAX):
        while not file.exists() or len(file.read_bytes().splitlines()) < count:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)
    return [json.loads(line) for line in file.read_bytes().splitlines()]


async def test_each_kind_is_counted_from_zero_on(database: Database) -> None:
    async with telling(database):
        pass
    (family,) = ALARMS.collect()
    counted = {item.labels["kind"] for item in family.samples if item.name.endswith("_total")}
    assert counted == {*alarms.KINDS}


async def test_each_alarm_is_told_once_whole(database: Database, tmp_path: Path) -> None:
    async with telling(database, *hook(tmp_path)) as alarm:
        for _ in range(2):  # the same transaction is one alarm
            alarm("THEFT", "$(reboot)", "freeze", wallet="hot-sol", transaction_id="tx", amount=7)
        alarm("NODE", "stands", "look")
        first, second = await told(tmp_path, 2)
    assert first == {
        "time": NOW,
        "kind": "THEFT",
        "wallet": "hot-sol",
        "transaction_id": "tx",
        "amount": "7",
        "message": "$(reboot)",
        "next": "freeze",
    }
    assert (second["kind"], second["amount"]) == ("NODE", "")
    assert [item.kind for item in alarm.newest()] == ["NODE", "THEFT"]


async def test_what_could_not_be_told_is_told_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "AGAIN_SECONDS", 0.05)
    (tmp_path / "broken").touch()
    async with telling(database, *hook(tmp_path)) as alarm:
        alarm("NODE", "stands", "look")
        async with asyncio.timeout(SECONDS_MAX):
            while not (tmp_path / "failed").exists():  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
        (tmp_path / "broken").unlink()
        assert len(await told(tmp_path, 1)) == 1


async def test_what_was_raised_before_a_restart_is_told_after_it(
    database: Database, tmp_path: Path
) -> None:
    Alarms(database, lambda: NOW, hook(tmp_path))("NODE", "stands", "look")
    async with telling(database, *hook(tmp_path)):
        assert len(await told(tmp_path, 1)) == 1


@pytest.mark.parametrize("program", ["/no/such/program", "sleep"])
async def test_a_command_that_does_not_work_holds_up_nothing(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(alarms, "COMMAND_SECONDS", 0.05)
    async with telling(database, program, "1000") as alarm:
        alarm("NODE", "stands", "look")
        query = "SELECT told FROM alarm"
        assert database.rows(query) == [(0,)]
        assert len(alarm.newest()) == 1
    reason = await alarms._run((program, "1000"), b"{}")
    assert "cannot be started" in reason or "took longer" in reason


async def test_what_the_command_started_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One alarm is told again every 30 s: what each try leaves behind would fill the host."""
    monkeypatch.setattr(alarms, "COMMAND_SECONDS", 2.0)
    seconds = str(random.uniform(1e6, 1e7))  # nobody else sleeps for so long
    reason = await alarms._run(("sh", "-c", 'sleep "$0" & wait', seconds), b"{}")
    assert "took longer" in reason
    async with asyncio.timeout(SECONDS_MAX):
        while seconds in arguments():  # noqa: ASYNC110 - the kernel's doing
            await asyncio.sleep(0.02)


def arguments() -> set[str]:
    """Return the arguments of all that runs; what is dead has none."""
    found = set[str]()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {*file.read_bytes().decode(errors="replace").split("\0")}
    return found


async def test_an_alarm_of_no_kind_is_a_fault(database: Database) -> None:
    with pytest.raises(ValueError, match="of the kind WHATEVER"):
        Alarms(database, lambda: NOW)("WHATEVER", "", "")


async def test_a_database_that_takes_nothing_silences_no_alarm(
    database: Database, tmp_path: Path
) -> None:
    with database.transaction() as db:
        db.execute("DROP TABLE alarm")
    async with telling(database, *hook(tmp_path)) as alarm:
        before = ALARMS.labels("NODE")._value.get()
        alarm("NODE", "stands", "look")
        assert ALARMS.labels("NODE")._value.get() == before + 1


async def test_a_theft_is_told_before_what_was_raised_by_the_hundred(
    database: Database, tmp_path: Path
) -> None:
    silent = Alarms(database, lambda: NOW)
    for number in range(20):  # custody sends without handing receipts in
        silent("RECEIPT", "late", "look", transaction_id=f"tx{number}")
    async with telling(database, *hook(tmp_path)) as alarm:
        await told(tmp_path, 2)
        alarm("THEFT", "stolen", "freeze", transaction_id="theft")
        kinds = [item["kind"] for item in await told(tmp_path, 21)]
    assert kinds.index("THEFT") < 10, kinds


async def test_what_anybody_raises_by_the_hundred_pushes_no_theft_out(database: Database) -> None:
    alarm = Alarms(database, lambda: NOW)
    alarm("THEFT", "stolen", "freeze", transaction_id="theft")
    for number in range(100):
        alarm("RECEIPT", "late", "look", transaction_id=f"tx{number}")
        alarm("NODE", "stands", "look")
    shown = [(item.kind, item.transaction_id) for item in alarm.newest()]
    assert shown[:2] == [("NODE", ""), ("RECEIPT", "tx99")]
    assert shown[-1] == ("THEFT", "theft")
    assert len(shown) == 41


FAILING_ONCE = """
import pathlib, sys
folder, alarm = pathlib.Path(sys.argv[1]), sys.stdin.buffer.read()
if b'"THEFT"' in alarm and not (folder / "failed").exists():
    (folder / "failed").touch()
    sys.exit(3)
with (folder / "told").open("ab") as file:
    file.write(alarm + b"\\n")
"""


async def test_a_theft_that_could_not_be_told_does_not_wait_for_all_the_rest(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "AGAIN_SECONDS", 0.05)
    silent = Alarms(database, lambda: NOW)
    for number in range(40):
        silent("RECEIPT", "late", "look", transaction_id=f"tx{number}")
    silent("THEFT", "stolen", "freeze", transaction_id="theft")
    async with telling(database, sys.executable, "-c", FAILING_ONCE, str(tmp_path)):
        kinds = [item["kind"] for item in await told(tmp_path, 41)]
    assert kinds.index("THEFT") < 20, kinds
