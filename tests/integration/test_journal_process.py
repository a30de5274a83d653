"""The journal between processes: one at a time, and what it took outlives kill -9."""

import subprocess
import sys
from pathlib import Path

from policies.statements import digest, encode
from policies.windows import Counter, Period, Scope
from signer.clock import look
from signer.counters import usage
from signer.journal import Journal
from signer.requests import Past, Requests, Reservation, State
from tests.factories import make_intent

ROOT = Path(__file__).parents[2]
TOTAL = Counter(Scope.WALLET)

RESERVE = """
import sys
from pathlib import Path
from signer.clock import look
from signer.journal import Journal
from signer.requests import Requests
from tests.integration.test_journal_process import reservation
Requests(Journal(Path(sys.argv[1]))).reserve(reservation(), look())
print("reserved", flush=True)
sys.stdin.read()
"""
OPEN = """
import sys
from pathlib import Path
from signer.journal import Journal
Journal(Path(sys.argv[1]))
"""


def reservation() -> Reservation:
    intent = make_intent()
    return Reservation(
        intent=intent,
        digest=digest(encode(intent)),
        message=b"m",
        nonce_index=0,
        nonce_value=b"n" * 32,
        counters=(TOTAL,),
        cost=5,
    )


def test_kill_9_after_reserve_keeps_the_reservation_and_frees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal.create(path, look()).close()
    command, pipe = [sys.executable, "-c", RESERVE, str(path)], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "reserved\n"
        process.kill()
    journal = Journal(path)
    kept = Requests(journal).find("exchange", "w-1")
    assert kept
    assert kept == Past(kept.number, reservation().digest, State.RESERVED, kept.signature, b"m", 5)
    counted = usage(journal, ("hot-sol", "SOL"), [TOTAL])[TOTAL]
    assert counted.spent(Period.DAY, journal.last_moment().tick) == (5, 1)
    journal.close()


def test_a_second_process_is_refused_with_words(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal", look())
    command = [sys.executable, "-c", OPEN, str(tmp_path / "journal")]
    second = subprocess.run(command, capture_output=True, check=False, text=True)
    assert second.returncode
    assert "locked: is another signer serving from it?" in second.stderr
    journal.close()
    assert not subprocess.run(command, check=False).returncode
