"""A22, clock: the signer host's clock is moved back or a day ahead, with and without a reboot."""

from collections.abc import Callable

import pytest

from policies.codes import Code
from tests.factories import HOUR, NOW, SOL, WINDOWS, policy_file
from tests.integration.guard.payments import FEE, ask, code_of, full, pay
from tests.signing import SignerRig

DAY = 24 * HOUR
TIGHT = policy_file(windows={**WINDOWS, "wallet": ["24 hours", "1 SOL", 100]})
UNTIMELY = {Code.LEASE_MISSING, Code.INTENT_EARLY, Code.INTENT_EXPIRED, Code.CLOCK_DIFFERS}
MakeRig = Callable[[bytes], SignerRig]
each_lie = pytest.mark.parametrize("off", [DAY, 400 * DAY, -DAY, 31_000, -31_000])


def drained(make_rig: MakeRig) -> SignerRig:
    """Return a signer whose window of a day is spent."""
    rig = make_rig(TIGHT)
    pay(rig, SOL - FEE)
    full(ask(rig))
    return rig


@each_lie
def test_a_moved_clock_opens_no_window(make_rig: MakeRig, off: int) -> None:
    rig = drained(make_rig)
    rig.set_clock(rig.now + off)
    assert code_of(ask(rig)) is Code.CLOCK_DIFFERS
    rig.set_clock(rig.now - off)
    full(ask(rig))
    rig.now += 26 * HOUR
    pay(rig)


@each_lie
def test_nor_after_a_reboot_where_nothing_else_tells_the_time(make_rig: MakeRig, off: int) -> None:
    """The watchtower's clock is right, so its leases are refused until the host's is too."""
    rig = drained(make_rig)
    rig.leased = False
    truth = rig.now
    rig.stop()
    rig.boot, rig.steady = "boot-2", -HOUR
    rig.set_clock(truth + off)
    rig.start()
    refusal = rig.lease(time=truth).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "time")
    assert f"{abs(off) // 1000} s off this host's clock" in refusal.message
    refused = code_of(ask(rig, created=truth, expires=truth + HOUR))
    assert refused in UNTIMELY
    rig.set_clock(truth)
    assert rig.lease().applied.digest
    full(ask(rig))
    rig.stop()
    rig.boot = "boot-3"
    rig.start()
    assert rig.lease().applied.digest
    rig.leased = True
    full(ask(rig))
    rig.now += 26 * HOUR
    pay(rig)


def test_a_watchtower_a_day_ahead_empties_nothing_and_locks_nothing(make_rig: MakeRig) -> None:
    rig = drained(make_rig)
    for time in (rig.now + DAY, rig.now + 400 * DAY, rig.now - DAY, NOW + 10**13):
        assert rig.lease(time=time).refusal.field == "time"
        full(ask(rig))
    rig.now += 26 * HOUR
    pay(rig)


def test_leases_half_a_minute_ahead_do_not_add_up(make_rig: MakeRig) -> None:
    """A lying watchtower stays within 30 s of the host's clock, however many leases it makes."""
    rig = drained(make_rig)
    rig.leased = False
    for _ in range(100):
        assert rig.lease(time=rig.now + 30_000).applied.digest
    until = full(ask(rig))
    assert until >= NOW + 24 * HOUR - 30_000
    assert rig.lease(time=rig.now).refusal.field == "time", "it has one of half a minute later"
    rig.now += 30_000
    assert rig.lease(time=rig.now).applied.digest
    rig.leased = True
    rig.now += 26 * HOUR
    pay(rig)
