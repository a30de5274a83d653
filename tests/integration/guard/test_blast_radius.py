"""What the blast radius says is what an optimal drainer gets out of the real guard.

Real token, real journal, real signatures; only the clocks are moved. 200 policies, other ones each
time: the seed is printed, and BLAST_SEED sets it.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from policies.blast_radius import sources
from policies.outflow import most
from policies.statements import digest, encode
from policies.windows import Period
from tests.drainer import LISTED_MAX, Drainer, thief
from tests.factories import make_book
from tests.generated_policies import Case, generate
from tests.signing import SignerRig, apply_book
from tests.softhsm import softhsm_token

POLICIES, PARTS = 200, 4
SEED = os.environ.get("BLAST_SEED") or secrets.token_hex(4)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory if there is one: thousands of fsyncs, and nobody cuts the power here."""
    monkeypatch.setattr("signer.hsm.os.sync", lambda: None)
    shared = Path("/dev/shm")  # noqa: S108 - a new folder of our own below it
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_drainer_gets_what_the_bound_says(memory: Path, part: int) -> None:
    with softhsm_token(memory) as softhsm:
        for number in range(part, POLICIES, PARTS):
            case = generate(Random(f"{SEED} {number}"))
            # Shown when it fails.
            print(f"BLAST_SEED={SEED}: policy {number}\n{case.file.decode()}")  # noqa: T201
            rig = SignerRig(softhsm, memory / f"journal-{number}", case.file)
            try:
                _compare(case, _drain(case, rig))
            finally:
                rig.stop()


def _drain(case: Case, rig: SignerRig) -> Drainer:
    """Return a drainer that took all it could, from tick -1 of its own count for 28 days."""
    first, listed = make_book(), case.places or LISTED_MAX
    book = make_book(*map(thief, range(listed)), version=2, previous=digest(encode(first)))
    assert rig.ask(apply_book(book, "alice", "carol")).applied.digest
    drainer = Drainer(case, rig)
    begin = rig.now + -rig.guard._clock.now().tick % Period.MONTH.width  # there, every bucket ends
    tick = -1
    while tick <= Period.MONTH.value:
        rig.now = begin + tick
        drainer.drain(tick)
        tick = drainer.next_tick(tick)
    return drainer


def _compare(case: Case, drainer: Drainer) -> None:
    for source in sources(case.policy, case.wallet, case.position, case.destinations):
        for period in Period:
            bound, _ = most([source], period.value)
            ticks = {sent.tick for sent in drainer.sent} | {-1}
            left = [drainer.left_within(source.name, tick, period.value) for tick in ticks]
            assert max(left) <= bound, (source, period)
            if size := drainer.ranges.get(source.name):
                assert max(left) >= bound - size.least - case.wallet.maximum_fee, (source, period)
