"""A24, silenced alarm: custody drops leases and freeze orders. The lease runs out, signing stops.

That a freeze reaches the signer though custody drops it: tests/e2e, with real processes.
"""

from policies.codes import Code
from policies.statements import LEASE_MS
from tests.integration.guard.payments import ask, code_of, intend, job_of, pay
from tests.signing import HELLO, SignerRig, lease_job, nonce_open


def test_without_leases_signing_stops_within_a_minute(rig: SignerRig) -> None:
    rig.leased = False
    assert rig.lease().applied.digest
    pay(rig)
    rig.now += LEASE_MS - 1
    pay(rig)
    rig.now += 1
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert code_of(rig.ask(nonce_open())) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    pay(rig)


def test_a_kept_lease_is_worth_nothing_later(rig: SignerRig) -> None:
    """Custody keeps what it dropped, and plays it when the watchtower has fallen silent."""
    rig.leased = False
    kept = [lease_job(rig.ask(HELLO), time=rig.now + 1000 * second) for second in range(0, 30, 5)]
    assert rig.ask(kept[0]).applied.digest
    pay(rig)
    rig.now += 29_000 + LEASE_MS
    for job in kept:
        rig.ask(job)
        assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    pay(rig)


def test_nor_after_a_restart_within_its_minute(rig: SignerRig) -> None:
    rig.leased = False
    kept = lease_job(rig.ask(HELLO), time=rig.now)
    assert rig.ask(kept).applied.digest
    rig.restart()
    refusal = rig.ask(kept).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "challenge")
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    pay(rig)


def test_what_was_reserved_before_waits_too(rig: SignerRig) -> None:
    """A delayed lease between two tries of one request: nothing is signed in the gap."""
    rig.leased = False
    rig.restart()
    job = job_of(rig, intend(rig))
    assert code_of(rig.ask(job)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    first = rig.ask(job).signed
    rig.now += LEASE_MS
    again = rig.ask(job).signed  # the same bytes: nothing new is signed
    assert (again.transaction, again.repeated) == (first.transaction, True)
    assert code_of(ask(rig)) is Code.LEASE_MISSING
