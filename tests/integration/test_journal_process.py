"""The journal between processes: one at a time, and what it took outlives kill -9."""

import subprocess
import sys
from pathlib import Path

from signer.journal import Journal, Reservation

RESERVE = """
import sys
from pathlib import Path
from signer.journal import Journal, Reservation
journal = Journal(Path(sys.argv[1]))
journal.reserve(Reservation("exchange", "w-1", "1" * 64, "hot", 0, b"n" * 32, b"m", None, 5))
print("reserved", flush=True)
sys.stdin.read()
"""
OPEN = """
import sys
from pathlib import Path
from signer.journal import Journal
Journal(Path(sys.argv[1]))
"""


def test_kill_9_after_reserve_keeps_the_reservation_and_frees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal.create(path, 1).close()
    command, pipe = [sys.executable, "-c", RESERVE, str(path)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "reserved\n"
        process.kill()
    journal = Journal(path)
    kept = Reservation("exchange", "w-1", "1" * 64, "hot", 0, b"n" * 32, b"m", None, 5)
    assert journal.find("exchange", "w-1") == kept
    journal.close()


def test_a_second_process_is_refused_with_words(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal", 1)
    command = [sys.executable, "-c", OPEN, str(tmp_path / "journal")]
    second = subprocess.run(command, capture_output=True, check=False, text=True)
    assert second.returncode
    assert "locked: is another signer serving from it?" in second.stderr
    journal.close()
    assert not subprocess.run(command, check=False).returncode
