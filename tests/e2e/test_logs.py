"""What the processes of a running system write: lines for machines, and no secret."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from custody.dev.system import System
from tests.e2e.test_processes import ask


def secrets(system: System) -> Iterator[str]:
    """Yield what must never be printed: PINs, and the bodies of private keys."""
    folder = system.layout.folder
    for file in folder.rglob("*"):
        if not file.is_file() or file.stat().st_size > 10_000 or "postgres" in file.parts:
            continue
        text = file.read_bytes().decode(errors="ignore")
        if "pin" in file.name:
            yield text.strip()
        for body in re.findall(r"PRIVATE KEY-----\n(.+?)\n-----END", text, re.DOTALL):
            yield from body.split("\n")


def logs(system: System) -> dict[str, str]:
    return {file.stem: file.read_text() for file in Path(system.layout.logs).glob("*.log")}


def test_lines_are_json_name_their_withdrawal_and_hold_no_secret(system: System) -> None:
    name = ask(system, "logged").name
    with system.client("exchange") as custody:
        custody.wait(name)
    written = logs(system)
    for process in ("api", "worker", "relay"):
        lines = [line for line in written[process].splitlines() if " ready" not in line]
        parsed = [json.loads(line) for line in lines]
        assert all({"event", "level", "timestamp"} <= line.keys() for line in parsed)
    steps = [json.loads(line) for line in written["worker"].splitlines() if '"step":' in line]
    ours = [line["step"] for line in steps if f"withdrawals/{line['withdrawal']}" == name]
    assert ours == ["RESERVED", "SIGNATURE", "BROADCAST", "SENT", "FINALISED"]
    hidden = [secret for secret in secrets(system) if len(secret) > 5]
    assert len(hidden) > 10
    for process, text in written.items():
        assert not [secret for secret in hidden if secret in text], process
