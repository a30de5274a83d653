"""The signer's journal with 10 million withdrawals: size, start, memory, look-up, one payment.

    python -m bench.journal [--count N] [--limits]

Fills a journal with the rows that reserving and signing leave, then opens it as the signer does, in
a process of its own, and measures. Writes build/journal.json; with --limits it fails above them.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from signer.clock import Moment, look
from signer.journal import Journal
from signer.requests import KEEP_MS, Requests, Reservation, State, _key
from tests.factories import make_intent

LIMITS = {"bytes": 2 * 10**9, "start_s": 2.0, "lookup_ms_p99": 1.0, "rss_mb": 150.0}
_CHUNK = 100_000
_LOOKUPS = 10_000
_LIVE = 20_000  # of which the signed bytes are still there


def main() -> int:
    options = _parser().parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.count)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "journal"
        started = time.monotonic()
        fill(path, options.count)
        print(f"\nfilled in {time.monotonic() - started:.0f} s", flush=True)
        command = [sys.executable, "-m", "bench.journal", "--measure", str(path)]
        done = subprocess.run(
            [*command, "--count", str(options.count)], capture_output=True, text=True, check=True
        )
        report: dict[str, Any] = json.loads(done.stdout)
        report["bytes"] = sum(file.stat().st_size for file in Path(folder).iterdir())
    report |= {"withdrawals": options.count, "limits": LIMITS}
    out = Path("build/journal.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    above = [name for name, most in LIMITS.items() if report[name] > most]
    for name, value in report.items():
        print(f"{name:16} {value}")
    print(f"above the limit: {', '.join(above) or 'nothing'}; written to {out}")
    return 1 if above and options.limits else 0


def fill(path: Path, count: int) -> None:
    """Leave what `count` signed withdrawals leave, in the order of the clock."""
    at = look()
    Journal.create(path, at).close()
    journal = Journal(path)
    journal.db.execute("PRAGMA cache_size = -1000000")
    for start in range(0, count, _CHUNK):
        rows = _rows(start, min(_CHUNK, count - start), at)
        with journal.entry(at, "fill", start) as db:
            db.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        print(f"\r{start + _CHUNK:,} of {count:,}", end="", flush=True)
    with journal.entry(at, "live") as db:
        first = max(1, count - _LIVE)
        values = ((number, bytes(400), at.wall) for number in range(first, count + 1))
        db.executemany("INSERT INTO message VALUES (?, ?, ?)", values)
    journal.close()


def _rows(start: int, count: int, at: Moment) -> Iterator[tuple[object, ...]]:
    for number in range(start + 1, start + count + 1):
        intent = hashlib.sha256(b"%d" % number).digest()
        signature = hashlib.sha512(intent).digest()
        nonce = int.from_bytes(signature[:8], "big") >> 1
        key = _key("exchange", _request_id(number))
        time, cost = at.wall - KEEP_MS, 10**9 + number  # as much as a large payment takes
        yield (number, key, intent, State.SIGNED, signature, nonce, time, cost)


def measure(path: Path, count: int) -> dict[str, float]:
    """Start as the signer does, look up, pay once: in a process that did nothing else."""
    before = time.monotonic()
    journal = Journal(path)
    requests = Requests(journal)
    start = time.monotonic() - before
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    taken = []
    for _ in range(_LOOKUPS):
        number = chance.randint(1, count)
        before = time.perf_counter()
        past = requests.find("exchange", _request_id(number))
        taken.append((time.perf_counter() - before) * 1000)
        if past is None or past.number != number:
            raise AssertionError(f"seed {seed}: request {number} is forgotten")
    if requests.find("exchange", "never asked"):
        raise AssertionError("a request was made up")
    paid = [_pay(requests, number) for number in range(200)]
    journal.close()
    return {
        "start_s": round(start, 3),
        "lookup_ms_p50": round(median(taken), 4),
        "lookup_ms_p99": round(quantiles(taken, n=100)[98], 4),
        "payment_ms_p50": round(median(paid), 3),
        "rss_mb": _peak_mb(),
        "seed": seed,
    }


def _pay(requests: Requests, number: int) -> float:
    before = time.perf_counter()
    intent = make_intent(request_id=f"bench-{number}")
    reservation = Reservation(
        intent=intent,
        digest=hashlib.sha256(b"bench %d" % number).hexdigest(),
        message=bytes(400),
        nonce_index=0,
        nonce_value=number.to_bytes(32, "big"),
        counters=(),
        cost=1,
    )
    requests.record(requests.reserve(reservation, look()), bytes(64), look())
    return (time.perf_counter() - before) * 1000


def _peak_mb() -> float:
    """Return this process's own peak, not that of the one it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return round(int(peak) / 1024, 1)


def _request_id(number: int) -> str:
    return f"order-{number:012}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000, help="withdrawals (10 million)")
    parser.add_argument(
        "--folder", help="where to put the journal; the system's choice if left out"
    )
    parser.add_argument("--limits", action="store_true", help="fail above the limits")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
