"""`make demo`, as an officer runs it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demonstration_keeps_its_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "custody.dev.demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "build" / "demo.json").read_text())
    small, large = report["withdrawals"]
    assert (small["state"], large["state"]) == ("COMPLETED", "COMPLETED")
    assert (small["approvals"], large["approvals"]) == ([], ["alice", "carol"])
    refusals = [(refusal["by"], refusal["code"]) for refusal in report["refusals"]]
    assert refusals == [
        ("custody", "CAP_EXCEEDED"),
        ("custody", "DESTINATION_NOT_ALLOWED"),
        ("signer", "SIGNATURE_INVALID"),
        ("signer", "APPROVAL_INVALID"),
    ]
    (freeze,) = report["freezes"]
    assert (freeze["by"], freeze["lifted_by"], freeze["then"]) == (
        "bob",
        ["alice", "carol"],
        "COMPLETED",
    )
    hot, *customers = report["balances"]
    paid = sum(int(entry["after"]) - int(entry["before"]) for entry in customers)
    assert int(hot["before"]) - int(hot["after"]) == paid + int(hot["fee"])
    (signer,) = [process for process in report["processes"] if process["name"] == "signer"]
    assert (signer["interfaces"], signer["ports"]) == (["lo"], [])
