"""A19, rollback: yesterday's journal, alone or with yesterday's token; yesterday's custody.

Custody's own restored database is `tests/integration/test_backup.py`; what a custody that forgot
can do to the signer is ask again, and that is tried here.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from policies.codes import Code
from signer.anchor import begin
from tests.factories import SOL, WINDOWS, policy_file
from tests.integration.guard.payments import FEE, ask, code_of, full, intend, job_of, pay
from tests.integration.guard.test_end import end, ended
from tests.signing import HELLO, STATUS, SignerRig

TIGHT = policy_file(windows={**WINDOWS, "wallet": ["24 hours", "2 SOL", 100]})
MakeRig = Callable[[bytes], SignerRig]


def test_a_custody_that_forgot_gets_the_same_bytes(make_rig: MakeRig) -> None:
    """It asks anew for everything, with other nonces and fees: the limits stand, nothing twice."""
    rig = make_rig(TIGHT)
    intents = [intend(rig, SOL - FEE) for _ in range(2)]
    sent = [rig.signed(job_of(rig, intent)).transaction for intent in intents]
    full(ask(rig))
    for number in range(10):
        chain = {"nonce_value": bytes([number]) * 32, "nonce_index": number % 4}
        again = [rig.signed(job_of(rig, intent, **chain)) for intent in intents]
        assert [item.transaction for item in again] == sent
        assert all(item.repeated for item in again)
    full(ask(rig))
    rig.now += 26 * 3_600_000
    pay(rig)


def test_yesterdays_journal_is_named_and_signs_nothing(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(TIGHT)
    pay(rig, SOL - FEE)
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    pay(rig, SOL - FEE)
    full(ask(rig))
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "today")
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    status = rig.ask(STATUS).status
    assert status.locked == Code.JOURNAL_BEHIND
    assert "older copy" in status.locked_message
    assert code_of(ask(rig)) is Code.JOURNAL_BEHIND
    assert rig.ask(HELLO).refusal.code == Code.JOURNAL_BEHIND  # so no lease can be made
    rig.stop()
    shutil.copyfile(tmp_path / "today", rig.path)
    rig.start()
    full(ask(rig))
    rig.now += 26 * 3_600_000
    pay(rig)


def test_yesterdays_journal_with_yesterdays_token(make_rig: MakeRig, tmp_path: Path) -> None:
    """Nothing on the signer's host remembers the day; the watchtower does."""
    rig = make_rig(TIGHT)
    rig.leased = False
    assert rig.lease().applied.digest
    pay(rig, SOL - FEE)
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    assert rig.lease().applied.digest
    pay(rig, SOL - FEE)
    seen = rig.ask(STATUS).status
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "today")
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    begin(rig.token, rig.journal)  # as root, who puts the old token's files back
    rig.restart()
    assert not rig.ask(STATUS).status.locked
    refusal = rig.lease(sequence=seen.sequence, head=seen.head).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "sequence")
    assert "older copy" in refusal.message
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    rig.stop()
    shutil.copyfile(tmp_path / "today", rig.path)
    rig.start()
    begin(rig.token, rig.journal)
    rig.restart()
    assert rig.lease().applied.digest
    full(ask(rig))
    rig.now += 26 * 3_600_000
    assert rig.lease().applied.digest
    pay(rig)


def test_yesterdays_journal_ends_nothing_that_was_paid_today(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """Refund and pay: what was forgotten would be ended, and what was signed for it still pays."""
    rig = make_rig(TIGHT)
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    paid, never = intend(rig), intend(rig)
    rig.signed(job_of(rig, paid))
    rig.stop()
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    begin(rig.token, rig.journal)  # as root, who puts the old token's files back
    rig.restart()
    rig.leased = False  # the watchtower has seen a later entry
    for intent in (paid, never):
        assert code_of(rig.ask(end(intent))) is Code.LEASE_MISSING
    rig.leased = True  # it lost its memory too, or the journal is the newest after all
    ended(rig, never)
    rig.restart()
    rig.leased = False
    ended(rig, never)
