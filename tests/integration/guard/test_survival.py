"""What was counted stays counted: restart, crash anywhere, reboot, another policy, another name."""

from collections.abc import Callable
from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.policy_file import parse_policy
from policies.windows import Counter, Period, Scope
from signer.anchor import Anchored
from signer.counters import usage
from signer.governance import Governance
from signer.hsm import Token
from signer.requests import Requests, State
from tests.factories import (
    CUSTOMER,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    WINDOWS,
    make_intent,
    policy_file,
    rule_text,
)
from tests.integration.guard.payments import FEE, SMALL, ask, code_of, full, intend, job_of, pay
from tests.integration.mischief import Crash, crash_in
from tests.signing import SignerRig, transfer

MakeRig = Callable[[bytes], SignerRig]
WIDTH = Period.DAY.width
TWO = {**WINDOWS, "wallet": ["24 hours", "1000 SOL", 2]}
PLACE = ("hot-sol", "SOL")


def counted(rig: SignerRig, scope: Scope = Scope.WALLET, holder: str = "") -> tuple[int, int]:
    """Return (amount, count) of a day's counter."""
    counter = Counter(scope, holder)
    tick = rig.guard._clock.now().tick
    return usage(rig.journal, PLACE, [counter])[counter].spent(Period.DAY, tick)


def put_in_force(rig: SignerRig, **changes: Any) -> None:
    """Put the next version in force, as if its delay were over."""
    of = {"version": rig.policy.version + 1, "previous": rig.policy.digest}
    file = policy_file(**of | changes)
    rig.policy = parse_policy(file)
    Governance(rig.journal).put_in_force(rig.policy, file, rig.guard._clock.now())
    rig.restart()


def test_a_restart_keeps_every_counter(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows=TWO))
    for _ in range(2):
        pay(rig)
        rig.restart()
    assert full(ask(rig)) == NOW + 25 * WIDTH
    rig.now = NOW + 25 * WIDTH - 1
    rig.restart()
    full(ask(rig))
    rig.now += 1
    pay(rig)


CRASHES = [
    (Requests, "see", 0),
    (Requests, "reserve", 1),
    (Token, "sign", 1),
    (Requests, "record", 1),
    (Token, "replace_records", 1),
]


@pytest.mark.parametrize("when", ["after", "before"])
@pytest.mark.parametrize("point", CRASHES, ids=[item[1] for item in CRASHES])
def test_a_crash_counts_once_what_may_have_been_signed(
    make_rig: MakeRig,
    monkeypatch: pytest.MonkeyPatch,
    point: tuple[type, str, int],
    when: str,
) -> None:
    """Whatever the point: nothing lost, nothing twice, and the same message in the end."""
    where, effect, after = point
    rig = make_rig(policy_file(windows=TWO))
    intent = intend(rig)
    with monkeypatch.context() as patch:
        if when == "after":
            crash_in(where, effect, patch)
        else:
            patch.setattr(where, effect, dead)
            after -= effect in {"see", "reserve"}
        with pytest.raises(Crash):
            rig.ask(job_of(rig, intent))
    assert counted(rig)[1] == max(after, 0)
    rig.restart()
    first = rig.signed(job_of(rig, intent))
    assert counted(rig) == (SMALL + FEE, 1)
    rig.restart()
    again = rig.signed(job_of(rig, intent, nonce_value=b"\x01" * 32))
    assert (again.transaction, again.repeated) == (first.transaction, True)
    assert counted(rig) == (SMALL + FEE, 1)
    pay(rig)
    full(ask(rig))


def dead(*_: object) -> None:
    raise Crash


def test_a_crash_before_the_tokens_record_answers_nothing_and_loses_nothing(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(policy_file(windows=TWO))
    rig.leased = False  # it has one
    with monkeypatch.context() as patch:
        patch.setattr(Anchored, "settle", dead)
        for _ in range(2):
            with pytest.raises(Crash):
                ask(rig)
    rig.restart()
    rig.leased = True
    assert rig.ask(wire.Job(status=wire.Status())).status.locked == ""
    full(ask(rig))


def test_what_is_reserved_goes_on_where_the_window_is_full(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was counted when it was reserved, and never fills its own window."""
    rig = make_rig(policy_file(windows={**TWO, "wallet": ["24 hours", "0.3 SOL", 9]}))
    intents = [intend(rig, SOL // 8) for _ in range(2)]
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        for intent in intents:
            with pytest.raises(Crash):
                rig.ask(job_of(rig, intent))
            rig.restart()
    full(ask(rig))
    assert all(rig.signed(job_of(rig, intent)) for intent in intents)
    assert counted(rig) == (2 * (SOL // 8 + FEE), 2)
    full(ask(rig))


def test_what_is_reserved_obeys_a_tighter_policy(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(policy_file())
    intent = intend(rig)
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(job_of(rig, intent))
    rig.restart()
    put_in_force(rig, windows={**WINDOWS, "wallet": ["24 hours", "0.1 SOL", 9]})
    assert rig.refused(job_of(rig, intent)) is Code.LIMIT_EXCEEDED  # with its fee it never fits
    put_in_force(rig, enabled=False)
    assert rig.refused(job_of(rig, intent)) is Code.WALLET_DISABLED
    found = rig.find(intent.request_id)
    assert found
    assert found.state is State.RESERVED


def test_a_new_version_resets_nothing(make_rig: MakeRig) -> None:
    """Nor does one that renames the rule, splits it, or asks for a window that was not there."""
    rig = make_rig(policy_file(windows=TWO))
    pay(rig)
    pay(rig)
    put_in_force(rig, windows=TWO)
    assert full(ask(rig)) == NOW + 25 * WIDTH
    rename = policy_file(windows=TWO, version=3, previous=rig.policy.digest)
    renamed = rename.replace(b'"customers"', b'"clients"')
    assert renamed != rename
    rig.policy = parse_policy(renamed)
    Governance(rig.journal).put_in_force(rig.policy, renamed, rig.guard._clock.now())
    rig.restart()
    assert full(ask(rig)) == NOW + 25 * WIDTH
    put_in_force(rig, windows=TWO, more=rule_text("any", destination="any"))
    assert full(ask(rig)) == NOW + 25 * WIDTH
    several = [(scope, *limits) for scope, limits in WINDOWS.items()]
    put_in_force(rig, windows=[*several, ("wallet", "28 days", "1000 SOL", 2)])
    assert full(ask(rig)) == (NOW // Period.MONTH.width + 25) * Period.MONTH.width
    put_in_force(rig, windows=[*several, ("destination", "7 days", "1000 SOL", 2)])
    assert full(ask(rig), "destination") == (NOW // Period.WEEK.width + 25) * Period.WEEK.width


def test_a_version_that_drops_a_window_and_one_that_brings_it_back(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows=TWO))
    pay(rig)
    put_in_force(rig)
    pay(rig)
    pay(rig)
    assert counted(rig)[1] == 3
    put_in_force(rig, windows=TWO)
    assert full(ask(rig)) == NOW + 25 * WIDTH


DAY = 24 * HOUR


@pytest.mark.parametrize(
    "set_to", [NOW + DAY, NOW + 40 * DAY, NOW - DAY, NOW + 30_001, NOW - 30_001]
)
def test_no_setting_of_the_hosts_clock_empties_a_window(make_rig: MakeRig, set_to: int) -> None:
    """Attack A22 in small: refused with the words, and all is as it was when the clock is right."""
    rig = make_rig(policy_file(windows=TWO))
    paid = transfer(make_intent())
    rig.signed(paid)
    pay(rig)
    rig.set_clock(set_to)
    way = "ahead of" if set_to > NOW else "behind"
    words = f"the host's clock is {abs(set_to - NOW) // 1000} s {way} the time that the signer"
    for restarts in (False, True):
        if restarts:
            rig.restart()
        for job in (paid, transfer(make_intent(created=set_to, expires=set_to + 1))):
            result = rig.ask(job)
            assert code_of(result) is Code.CLOCK_DIFFERS
            assert result.refusal.message.startswith(words)
        status = rig.ask(wire.Job(status=wire.Status())).status
        assert (status.locked, status.locked_message[: len(words)]) == (Code.CLOCK_DIFFERS, words)
    rig.now += HOUR  # time passes all the same
    rig.set_clock(NOW + HOUR)
    assert full(ask(rig)) == NOW + 25 * WIDTH
    assert rig.signed(paid).repeated
    assert rig.ask(wire.Job(status=wire.Status())).status.locked == ""


@pytest.mark.parametrize("off", [30_000, -30_000])
def test_a_clock_that_is_off_by_little_is_believed_and_moves_no_window(
    make_rig: MakeRig, off: int
) -> None:
    rig = make_rig(policy_file(windows=TWO))
    pay(rig)
    pay(rig)
    rig.set_clock(NOW + off)
    assert full(ask(rig)) == NOW + off + 25 * WIDTH, "as far from now as before"
    rig.now += 25 * WIDTH - 1
    full(ask(rig))
    rig.now += 1
    pay(rig)


def reboot(rig: SignerRig, name: str, now: int) -> None:
    """Go on with the host after it was off until `now`, as its clock says."""
    rig.stop()
    rig.boot, rig.now = name, now
    rig.steady = NOW - rig.now - HOUR + 5_000  # since boot
    rig.start()


def test_how_long_the_host_was_off_only_the_watchtower_says(make_rig: MakeRig) -> None:
    """Its own clock may say anything then."""
    rig = make_rig(policy_file(windows=TWO))
    pay(rig)
    rig.now += 3 * HOUR
    pay(rig)  # the last moment that the journal knows
    rig.leased = False
    for boot in ("boot-2", "boot-3"):
        reboot(rig, boot, rig.now + 2 * HOUR)
        assert rig.guard._clock.now().tick == NOW + 3 * HOUR
        assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    assert full(ask(rig)) == NOW + 25 * WIDTH
    reboot(rig, "boot-4", NOW + 25 * WIDTH - 1)
    assert rig.lease().applied.digest
    assert full(ask(rig)) == NOW + 25 * WIDTH
    rig.now += 1
    pay(rig)


def test_after_a_reboot_a_clock_ahead_empties_no_window(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows=TWO))
    pay(rig)
    pay(rig)
    reboot(rig, "boot-2", NOW + 40 * DAY)
    rig.leased = False
    assert rig.lease(time=NOW).refusal.field == "time", "the watchtower knows better"
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert counted(rig)[1] == 2


def test_after_a_reboot_the_clock_may_not_be_behind_what_was_seen(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows=TWO))
    pay(rig)
    rig.stop()
    rig.boot, rig.now, rig.off = "boot-2", NOW - DAY, DAY
    rig.steady = NOW - rig.now - HOUR + 5_000
    rig.start()
    assert code_of(ask(rig)) is Code.CLOCK_DIFFERS
    rig.set_clock(NOW + 60_000)
    assert code_of(ask(rig)) is Code.CLOCK_DIFFERS, "it is not far enough behind to believe"
    rig.set_clock(NOW)
    pay(rig)
    full(ask(rig))


def test_a_destinations_counter_is_let_go_of_when_every_window_has(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(destination="any"))

    def holders() -> list[str]:
        query = "SELECT scope, holder FROM counter ORDER BY scope, holder"
        return [f"{scope} {holder}".strip() for scope, holder in rig.journal.db.execute(query)]

    to, new = f"destination {CUSTOMER.address}", f"destination {STRANGER.address}"
    pay(rig)
    rig.now += 28 * DAY + 2 * Period.MONTH.width
    pay(rig, destination=STRANGER)
    assert holders() == [new, to, "requester exchange", "wallet"]
    rig.now += 1
    pay(rig, destination=STRANGER)
    assert holders() == [new, "requester exchange", "wallet"]
