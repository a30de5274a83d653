"""`custody dev serve`, and the example backend against it, killed again and again."""

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from custody.dev.system import BIN, System

ROOT = Path(__file__).parents[2]
BACKEND = ROOT / "docs" / "examples" / "backend.py"
ORDERS, LAMPORTS = 8, 100_000_000
PAID = ["CREATED", "RESERVED", "SIGNATURE", "BROADCAST", "SENT", "FINALISED"]
SEED = random.randrange(2**32)


def until(what: str, look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)


@contextmanager
def double(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run `custody dev serve`; yield the process and what it prints."""
    printed = folder.with_suffix(".out")
    command = [BIN / "custody", "dev", "serve", "--in-memory-chain", "--folder", folder, *options]
    with printed.open("wb") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out)
    try:
        until("it", lambda: b"Ctrl-C" in printed.read_bytes() or process.poll() is not None)
        yield process, printed
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def processes_of(folder: Path) -> list[str]:
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(file.read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [command for command in commands if str(folder) in command]


def pasted(printed: Path) -> str:
    match = re.search(r"Paste into Python:\n\n(.*?)\n\nAbove", printed.read_text(), re.DOTALL)
    assert match
    return textwrap.dedent(match[1])


def test_one_command_serves_what_it_prints_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "double"
    with double(folder) as (process, printed):
        command = [sys.executable, "-c", pasted(printed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"\w{80,90} fee 5002\n", done.stdout)
        assert not (folder / "devnet").exists()
    assert process.returncode == 0
    assert not folder.exists()
    assert processes_of(folder) == []


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with double(tmp_path) as (process, printed):
        assert process.wait() == 1
    assert "is not empty" in printed.read_text()
    assert (tmp_path / "mine").read_text() == "keep"


class Backend:
    """The example, run as a program of its own."""

    def __init__(self, folder: Path, system: System) -> None:
        self._command = [sys.executable, str(BACKEND)]
        self._files = [str(folder / "orders.db"), str(system.layout.client("exchange"))]
        self._system = system
        self._process: subprocess.Popen[bytes] | None = None

    def order(self, name: str) -> None:
        what = [name, self._system.customers[0], str(LAMPORTS)]
        subprocess.run([*self._command, "order", *self._files, *what], check=True)

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, "serve", *self._files])

    def kill(self) -> None:
        assert self._process
        assert self._process.poll() is None
        self._process.kill()
        self._process.wait()

    def rows(self, query: str) -> list[tuple[str, ...]]:
        with sqlite3.connect(self._files[0], timeout=30) as orders:
            rows = orders.execute(query).fetchall()
        orders.close()
        return rows

    def changes(self) -> int:
        return len(self.rows("SELECT 1 FROM changes"))


def test_the_example_backend_is_killed_and_deals_with_every_change_once(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201
    chance, folder = random.Random(SEED), tmp_path / "double"
    with double(folder):
        system = System(folder, print, in_memory_chain=True)
        before = system.balance(system.customers[0])
        backend = Backend(tmp_path, system)
        for number in range(ORDERS):
            backend.order(f"order-{number}")
        backend.order("order-0")  # again
        backend.start()
        for kills, seen in enumerate(sorted(chance.sample(range(1, 6 * ORDERS), 4))):
            until("changes", lambda seen=seen: backend.changes() >= seen)  # type: ignore[misc]
            backend.kill()
            if kills == 1:
                os.kill(system.pid("api"), signal.SIGKILL)
                system.stop("api")
                system.start("api")
            backend.start()
        paid = "SELECT 1 FROM orders WHERE state = 'COMPLETED' AND transaction_id <> ''"
        until("all paid", lambda: len(backend.rows(paid)) == ORDERS)
        backend.kill()
        assert system.balance(system.customers[0]) - before == ORDERS * LAMPORTS
        for number in range(ORDERS):
            query = f"SELECT event FROM changes WHERE id = 'order-{number}' ORDER BY rowid"  # noqa: S608
            events = [event for (event,) in backend.rows(query)]
            assert [event for event in events if event != "RETURNED"] == PAID, events
