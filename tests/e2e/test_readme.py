"""The README's first withdrawal by hand, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from custody.dev.system import BIN

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """Return the indented commands below the heading, continuation lines joined."""
    _, _, section = (ROOT / "README.md").read_text().partition("## The first withdrawal by hand")
    block = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert block is not None
    text = re.sub(r"\\\n\s+", "", block[0])
    return [line.strip() for line in text.splitlines()]


def runnable(command: str) -> str:
    """Put this very installation in the place of `make` and `.venv`."""
    command = re.sub(r"^make (up|down)$", rf"{sys.executable} -m custody.dev.\1", command)
    return command.replace(".venv/bin/custody", str(BIN / "custody"))


def test_the_first_withdrawal_by_hand_runs_as_printed(tmp_path: Path) -> None:
    printed = ""
    try:
        for command in commands():
            done = subprocess.run(  # noqa: S602 - as a person pastes it
                runnable(command),
                shell=True,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, command + done.stdout + done.stderr
            printed += done.stdout
    finally:
        stop = [sys.executable, "-m", "custody.dev.down"]
        subprocess.run(stop, cwd=tmp_path, check=True, capture_output=True)
    assert "0.25 SOL" in printed
    assert len(commands()) == 4
