"""Cooling and delays, by what this signer saw itself and when; and how much it can have seen."""

from collections.abc import Callable
from typing import Any

import pytest

from policies.codes import Code
from policies.statements import Book, Destination, Intent, digest, encode
from signer import requests as requests_module
from signer.governance import Governance
from signer.requests import Requests
from tests.factories import (
    COLD_ADDRESS,
    CUSTOMER,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    make_approval,
    make_book,
    make_intent,
    policy_file,
)
from tests.integration.guard.payments import SMALL, ask, code_of, intend, job_of, pay
from tests.integration.guard.test_end import end
from tests.integration.mischief import Crash, crash_in
from tests.signing import SignerRig, apply_book, transfer

MakeRig = Callable[[bytes], SignerRig]
COOLING = {"cooling_period": "24 hours", "cooling_amount": "0.3 SOL"}
DAY = 24 * HOUR


def cools_until(rig: SignerRig, amount: int = SMALL, **changes: object) -> int:
    result = ask(rig, amount, **changes)
    assert code_of(result) is Code.COOLING, result
    assert result.refusal.rule == "customers"
    return int(result.refusal.earliest_time)


def list_in_book(rig: SignerRig, destination: Destination) -> None:
    version, previous = Governance(rig.journal).book_version()
    book = make_book(destination, version=version + 1, previous=previous)
    job = apply_book(book, "alice", "carol", expires=rig.now + HOUR)
    assert rig.ask(job).applied.digest == digest(encode(book))


def test_any_destination_cools_from_when_it_was_first_seen(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(destination="any", **COOLING))
    to, other = {"destination": STRANGER}, {"destination": Destination(COLD_ADDRESS, "")}
    rig.now = first = NOW + HOUR
    assert cools_until(rig, SOL, **to) == first + DAY
    rig.now += HOUR
    assert cools_until(rig, SOL, **to) == first + DAY, "not from the second look"
    assert cools_until(rig, SOL, **other) == rig.now + DAY
    rig.restart()
    rig.now = first + DAY - 1
    assert cools_until(rig, SOL, **to) == first + DAY
    rig.now += 1
    pay(rig, SOL, **to)
    assert cools_until(rig, SOL, **other) == first + HOUR + DAY


def test_a_listed_destination_cools_from_its_entry_in_the_book(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(**COOLING))
    rig.now = NOW + 10 * HOUR
    assert code_of(ask(rig, SOL, destination=STRANGER)) is Code.DESTINATION_NOT_ALLOWED
    assert cools_until(rig, SOL) == NOW + DAY, "the book took it at NOW"
    rig.now = applied = NOW + 15 * HOUR
    list_in_book(rig, STRANGER)
    rig.now += HOUR
    assert cools_until(rig, SOL, destination=STRANGER) == applied + DAY
    rig.restart()
    rig.now = applied + DAY - 1
    assert cools_until(rig, SOL, destination=STRANGER) == applied + DAY
    rig.now += 1
    pay(rig, SOL, destination=STRANGER)


def test_an_entry_that_was_removed_and_added_cools_anew(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(**COOLING))
    rig.now = NOW + 2 * DAY
    pay(rig, SOL)
    entry = make_book().add
    book = Book(version=2, previous=digest(encode(make_book())), add=(), remove=entry)
    for version in (book, make_book(version=3, previous=digest(encode(book)))):
        job = apply_book(version, "alice", "carol", expires=rig.now + HOUR)
        assert rig.ask(job).applied.digest
    assert cools_until(rig) == rig.now + DAY
    again = make_book(version=4, previous=Governance(rig.journal).book_version()[1])
    rig.now += HOUR
    rig.ask(apply_book(again, "alice", "carol", expires=rig.now + HOUR))
    assert cools_until(rig) == rig.now - HOUR + DAY, "one that is there stays as old as it is"


def test_a_probe_warms_nothing_and_the_total_counts(make_rig: MakeRig) -> None:
    """Attack A15 in small: the cooling amount is for all payments together."""
    rig = make_rig(policy_file(destination="any", **COOLING))
    pay(rig, 1)
    assert cools_until(rig, 3 * SMALL) == NOW + DAY
    pay(rig, SMALL)
    pay(rig, 2 * SMALL - 1)
    rig.restart()
    rig.now += 23 * HOUR
    assert cools_until(rig, 1) == NOW + DAY
    pay(rig, 3 * SMALL, destination=STRANGER)
    assert cools_until(rig, 1, destination=STRANGER) == rig.now + DAY
    pay(rig, 3 * SMALL, destination=Destination(CUSTOMER.address, "of another customer"))
    rig.now = NOW + DAY
    pay(rig, SOL)


def test_what_is_reserved_is_not_added_to_itself(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(policy_file(destination="any", **COOLING))
    intent = intend(rig, 3 * SMALL)
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(job_of(rig, intent))
    rig.restart()
    assert cools_until(rig, 1) == NOW + DAY
    assert rig.signed(job_of(rig, intent))
    assert cools_until(rig, 1) == NOW + DAY


DELAYED = {"1 SOL": [], "10 SOL": {"people": [["1 of operations"]], "delay": "6 hours"}}
LARGE = make_intent(amount=5 * SOL, expires=NOW + DAY)


def test_a_delay_counts_from_first_sight_even_of_a_refused_one(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(tiers=DELAYED))
    rig.now = first = NOW + HOUR
    assert rig.refused(transfer(LARGE)) is Code.APPROVALS_MISSING
    rig.restart()
    rig.now += HOUR
    yes = make_approval(rig.policy, LARGE, expires=NOW + DAY)
    for rig.now in (NOW + 2 * HOUR, first + 6 * HOUR - 1):
        refusal = rig.ask(transfer(LARGE, yes)).refusal
        assert (refusal.code, refusal.rule) == (Code.DELAY, "customers")
        assert refusal.earliest_time == first + 6 * HOUR
    rig.now += 1
    assert rig.signed(transfer(LARGE, yes))


def test_a_delay_of_one_intent_is_no_others(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(tiers=DELAYED))
    rig.refused(transfer(LARGE))
    rig.now += 6 * HOUR
    other = make_intent(amount=LARGE.amount, expires=NOW + DAY + 1)
    yes = make_approval(rig.policy, other, expires=NOW + DAY)
    assert rig.ask(transfer(other, yes)).refusal.earliest_time == rig.now + 6 * HOUR


def test_who_has_no_right_to_ask_leaves_no_first_sight(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(tiers=DELAYED))
    forged = transfer(LARGE)
    forged.transfer.intent.signature = bytes(64)
    before = rig.journal.sequence
    assert rig.refused(forged) is Code.SIGNATURE_INVALID
    assert rig.journal.sequence == before


def test_no_clock_shortens_a_delay(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(tiers=DELAYED))
    rig.refused(transfer(LARGE))
    yes = make_approval(rig.policy, LARGE, expires=NOW + DAY)
    rig.set_clock(NOW + 7 * HOUR)
    assert rig.refused(transfer(LARGE, yes)) is Code.CLOCK_DIFFERS
    rig.stop()
    rig.boot, rig.leased = "boot-2", False
    rig.start()  # after a reboot the clock of the day is believed, but not by the watchtower
    assert rig.lease(time=NOW).refusal.field == "time"
    assert rig.refused(transfer(LARGE, yes)) is Code.LEASE_MISSING


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "SIGHTS_MAX", 3)


def delayed_until(rig: SignerRig, intent: Intent) -> int:
    result = rig.ask(job_of(rig, intent, "alice"))
    assert code_of(result) is Code.DELAY, result
    return int(result.refusal.earliest_time)


def lasting(rig: SignerRig, **changes: Any) -> Intent:
    return intend(rig, 5 * SOL, expires=rig.now + DAY, **changes)


@pytest.mark.usefixtures("three")
def test_what_finds_no_room_stays_new_and_all_else_goes_on(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(tiers=DELAYED))
    first = NOW + 6 * HOUR
    waiting = [lasting(rig) for _ in range(4)]
    for _ in range(2):
        assert [delayed_until(rig, intent) for intent in waiting[:3]] == [first] * 3
        rig.now += HOUR
        assert delayed_until(rig, waiting[3]) == rig.now + 6 * HOUR
        pay(rig)
        rig.restart()
    rig.now = first
    assert rig.signed(job_of(rig, waiting[0], "alice"))
    assert delayed_until(rig, waiting[3]) == first + 6 * HOUR, "one that was signed made room"
    rig.now += HOUR
    assert delayed_until(rig, waiting[3]) == first + 6 * HOUR


@pytest.mark.usefixtures("three")
def test_what_expires_makes_room(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(tiers=DELAYED))
    for _ in range(3):
        delayed_until(rig, intend(rig, 5 * SOL))  # for an hour
    late = lasting(rig)
    rig.now += HOUR - 2 * requests_module._FORGET_EVERY
    assert delayed_until(rig, late) == rig.now + 6 * HOUR
    rig.now = NOW + HOUR
    assert delayed_until(rig, late) == NOW + 7 * HOUR
    rig.now += HOUR
    assert delayed_until(rig, late) == NOW + 7 * HOUR


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("ends", [False, True])
def test_a_flood_of_destinations_holds_up_no_delay(make_rig: MakeRig, *, ends: bool) -> None:
    """One requester fills the table of destinations, for as long as they are remembered."""
    rig = make_rig(policy_file(destination="any", tiers=DELAYED, **COOLING))
    for number in range(5):
        flood = intend(rig, SOL, destination=Destination(STRANGER.address, str(number)))
        assert rig.refused(job_of(rig, flood)) is Code.COOLING
        if ends:
            assert rig.ask(end(flood)).HasField("ended")
    rig.now += DAY  # CUSTOMER is listed, and warm; the flood's intents have expired
    lawful = lasting(rig)
    first = delayed_until(rig, lawful)
    rig.now += HOUR
    assert delayed_until(rig, lawful) == first
    new = Destination(STRANGER.address, "new")
    assert cools_until(rig, SOL, destination=new) == rig.now + DAY
    rig.now += HOUR
    assert cools_until(rig, SOL, destination=new) == rig.now + DAY, "it stays new"


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("years", [-1, 1, 30_000])
def test_what_is_not_valid_now_takes_no_room(make_rig: MakeRig, years: int) -> None:
    """Intents dated far ahead would never expire, so no delay would ever be counted again."""
    rig = make_rig(policy_file(destination="any", tiers=DELAYED, **COOLING))
    rig.now += 2 * 365 * DAY
    made = rig.now + years * 365 * DAY
    for number in range(4):
        to = Destination(STRANGER.address, str(number))
        dated = intend(rig, 5 * SOL, created=made, expires=made + DAY, destination=to)
        before = rig.journal.sequence
        assert rig.refused(job_of(rig, dated)) in {Code.INTENT_EARLY, Code.INTENT_EXPIRED}
        assert rig.journal.sequence == before
    lawful = lasting(rig)
    first = delayed_until(rig, lawful)
    rig.now += HOUR
    assert delayed_until(rig, lawful) == first
