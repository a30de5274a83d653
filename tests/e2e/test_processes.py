"""The main job over real processes, and what survives when they are killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from custody.dev.genesis import NETWORK
from custody.dev.layout import WALLET
from custody.dev.processes import seen
from custody.dev.system import BIN, PROCESSES, System
from kura.custody.v1 import custody_pb2 as wire

ROOT = Path(__file__).parents[2]
AMOUNT = 1_000_000_000


def ask(system: System, request_id: str) -> wire.Withdrawal:
    with system.client("exchange") as custody:
        return custody.create_withdrawal(
            request_id=request_id,
            wallet=WALLET,
            network=NETWORK,
            asset="SOL",
            address=system.customers[0],
            amount=AMOUNT,
        )


def kill(system: System, name: str) -> None:
    pid = system.pid(name)
    os.kill(pid, signal.SIGKILL)
    system.stop(name)


def test_the_example_in_the_readme_runs_as_printed(system: System, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example is not None
    assert len(example[1].strip().splitlines()) <= 15
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "up").symlink_to(system.layout.folder)
    done = subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[1-9A-HJ-NP-Za-km-z]{80,90} fee 5002\n", done.stdout)


def test_only_the_signer_sees_nothing_but_lo(system: System) -> None:
    everyone = {name: seen(name, system.pid(name)) for name in PROCESSES}
    assert (everyone["signer"].interfaces, everyone["signer"].ports) == (["lo"], [])
    assert everyone["api"].ports == [system.layout.port("api")]
    assert everyone["worker"].ports == [system.layout.port("worker")]
    assert everyone["relay"].ports == []


def test_each_start_is_in_the_audit_log_with_a_digest_of_the_settings(system: System) -> None:
    query = "SELECT actor, details->>'digest' FROM event WHERE event = 'START'"
    with psycopg.connect(system.layout.postgres.dsn) as connection:
        starts = connection.execute(query).fetchall()
    assert {actor for actor, _ in starts} == {"api", "worker"}
    assert len(set(starts)) == 2  # the same settings have the same digest
    assert all(re.fullmatch("[0-9a-f]{64}", told) for _, told in starts)


@pytest.mark.parametrize("victims", [("api",), ("worker",), ("signer",), ("relay",), PROCESSES])
def test_an_acknowledged_request_survives_kill_9(system: System, victims: tuple[str, ...]) -> None:
    before = system.balance(system.customers[0])
    name = ask(system, f"killed-{'-'.join(victims)}").name
    for victim in victims:
        kill(system, victim)
    for victim in victims:
        system.start(victim)
    with system.client("exchange") as custody:
        paid = custody.wait(name)
    assert paid.state == wire.WITHDRAWAL_STATE_COMPLETED
    assert system.balance(system.customers[0]) - before == AMOUNT


def test_the_database_killed_and_restarted(system: System) -> None:
    name = ask(system, "database-killed").name
    os.kill(system.pid("postgres"), signal.SIGKILL)
    system.layout.postgres.start()
    with system.client("exchange") as custody:
        assert custody.wait(name).state == wire.WITHDRAWAL_STATE_COMPLETED


def test_officers_approve_by_their_own_command(system: System) -> None:
    with system.client("exchange") as custody:
        large = custody.create_withdrawal(
            request_id="large",
            wallet=WALLET,
            network=NETWORK,
            asset="SOL",
            address=system.customers[1],
            amount=5 * AMOUNT,
        )
        for officer in ("bob", "carol"):
            config = system.layout.client(officer)
            command = [BIN / "custody", "--config", config, "approval", "approve", large.name]
            done = subprocess.run(
                [*map(str, command), "--yes"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert system.customers[1] in done.stdout
        assert custody.wait(large.name).state == wire.WITHDRAWAL_STATE_COMPLETED
