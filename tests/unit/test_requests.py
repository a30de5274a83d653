"""One request, one message, for ever; first sights; what is let go of, and what never is."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.statements import Destination, Intent, digest, encode
from policies.windows import Counter, Period, Scope
from signer import requests as requests_module
from signer.clock import Moment
from signer.counters import usage
from signer.journal import Journal, JournalError
from signer.requests import KEEP_MS, NonceUsed, Past, Requests, Reservation, Sight, State
from tests.factories import CUSTOMER, HOUR, NOW, SOL, STRANGER, make_intent

PLACE = ("hot-sol", "SOL")
TOTAL = Counter(Scope.WALLET)
DAY = 24 * HOUR
FORGET_EVERY = requests_module._FORGET_EVERY
FIRST = make_intent()


def at(tick: int = 0) -> Moment:
    return Moment(wall=NOW + tick, steady=tick, boot="boot-1", tick=tick)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal.create(path, at())
    yield made
    made.close()


@pytest.fixture
def requests(journal: Journal) -> Requests:
    return Requests(journal)


def name_of(intent: Intent) -> str:
    return digest(encode(intent))


def reservation(intent: Intent = FIRST, **changes: Any) -> Reservation:
    fields: dict[str, Any] = {
        "digest": name_of(intent),
        "message": b"message \0\xff",
        "nonce_index": 0,
        "nonce_value": b"\x07" * 32,
        "counters": (TOTAL,),
        "cost": 5,
    }
    return Reservation(intent=intent, **fields | changes)


def other(number: int = 2, **changes: Any) -> Reservation:
    """Another request's reservation that collides with nothing unless `changes` say so."""
    intent = make_intent(request_id=f"w-{number}")
    return reservation(intent, **{"nonce_value": number.to_bytes(32, "big")} | changes)


def test_a_reservation_and_its_signature_outlive_a_reopening(journal: Journal, path: Path) -> None:
    past = Requests(journal).reserve(reservation(), at())
    assert past == Past(1, name_of(FIRST), State.RESERVED, b"", b"message \0\xff", 5)
    journal.close()
    journal = Journal(path)
    kept = Requests(journal).find("exchange", "w-1")
    assert kept is not None
    assert kept == past
    Requests(journal).record(kept, b"s" * 64, at())
    journal.close()
    journal = Journal(path)
    signed = replace(past, state=State.SIGNED, signature=b"s" * 64)
    assert Requests(journal).find("exchange", "w-1") == signed
    journal.close()


def test_requests_are_told_apart(requests: Requests) -> None:
    requests.reserve(reservation(), at())
    requests.reserve(other(), at())
    for requester, request_id in (
        ("exchange", "w-3"),
        ("exchange", "W-1"),
        ("other", "w-1"),
        ("exchange-w", "1"),
    ):
        assert requests.find(requester, request_id) is None
    for number in (1, 2):
        found = requests.find("exchange", f"w-{number}")
        assert found
        assert found.intent == name_of(make_intent(request_id=f"w-{number}"))


def test_a_nonce_value_stands_in_one_message(journal: Journal, requests: Requests) -> None:
    first = reservation()
    requests.reserve(first, at())
    before = (journal.sequence, usage(journal, PLACE, [TOTAL]))
    with pytest.raises(NonceUsed):
        requests.reserve(other(nonce_value=first.nonce_value), at())
    assert (journal.sequence, usage(journal, PLACE, [TOTAL])) == before
    assert requests.find("exchange", "w-2") is None
    requests.reserve(other(nonce_value=first.nonce_value, nonce_index=1), at())
    elsewhere = reservation(make_intent(request_id="w-3", wallet="other-sol"))
    requests.reserve(elsewhere, at())


def test_a_nonce_value_stays_taken_when_its_request_is_ended(requests: Requests) -> None:
    past = requests.reserve(reservation(), at())
    requests.end(FIRST, past.intent, past, at())
    with pytest.raises(NonceUsed):
        requests.reserve(other(nonce_value=b"\x07" * 32), at())


def test_a_signature_is_recorded_once_and_only_for_a_reservation(
    journal: Journal, requests: Requests
) -> None:
    past = requests.reserve(reservation(), at())
    requests.record(past, b"s" * 64, at())
    ended = requests.reserve(other(), at())
    requests.end(make_intent(request_id="w-2"), ended.intent, ended, at())
    sequence = journal.sequence
    for wrong in (past, replace(past, number=99), ended):
        with pytest.raises(JournalError, match="not reserved, or signed already"):
            requests.record(wrong, b"t" * 64, at())
    assert journal.sequence == sequence
    found = requests.find("exchange", "w-1")
    assert found
    assert found.signature == b"s" * 64


def test_a_reservation_is_counted_with_it_or_not_at_all(
    journal: Journal, requests: Requests
) -> None:
    requests.reserve(reservation(), at())
    assert usage(journal, PLACE, [TOTAL])[TOTAL].spent(Period.DAY, 0) == (5, 1)
    trigger = "CREATE TRIGGER no BEFORE INSERT ON counter BEGIN SELECT RAISE(ABORT, ''); END"
    journal.db.execute(trigger)
    with pytest.raises(sqlite3.IntegrityError):
        requests.reserve(other(), at())
    assert requests.find("exchange", "w-2") is None


def test_a_tombstone_stays_and_there_is_one(journal: Journal, requests: Requests) -> None:
    requests.end(FIRST, name_of(FIRST), None, at())
    ended = requests.find("exchange", "w-1")
    assert ended == Past(1, name_of(FIRST), State.ENDED, b"", b"", 0)
    sequence = journal.sequence
    requests.end(FIRST, name_of(FIRST), ended, at(DAY))
    assert (requests.find("exchange", "w-1"), journal.sequence) == (ended, sequence)


def test_first_sights_are_kept_and_count_in_ticks(journal: Journal, path: Path) -> None:
    see = Requests(journal).see
    assert see(FIRST, name_of(FIRST), None, at(10)) == Sight(0, 0, 0)
    again = make_intent(request_id="w-2")
    assert see(again, name_of(again), None, at(15)) == Sight(0, 5, 0)
    journal.close()
    journal = Journal(path)
    later = replace(at(30), wall=NOW - DAY, boot="boot-2", steady=1)
    assert Requests(journal).see(FIRST, name_of(FIRST), None, later) == Sight(20, 20, 0)
    assert Requests(journal).see(FIRST, name_of(FIRST), 25, later) == Sight(20, 5, 0)
    journal.close()


def test_destinations_are_told_apart_whole_and_by_wallet(requests: Requests) -> None:
    requests.see(FIRST, name_of(FIRST), None, at(0))
    elsewhere: list[dict[str, Any]] = [
        {"wallet": "other-sol"},
        {"destination": STRANGER},
        {"destination": Destination(CUSTOMER.address, "7")},
        {"destination": Destination(CUSTOMER.address.lower(), "")},
    ]
    for number, changes in enumerate(elsewhere):
        intent = make_intent(request_id=f"r-{number}", **changes)
        assert requests.see(intent, name_of(intent), None, at(9)) == Sight(0, 0, 0), changes


def test_what_was_sent_adds_up_from_first_sight(requests: Requests) -> None:
    requests.see(FIRST, name_of(FIRST), None, at())
    requests.reserve(reservation(), at())
    requests.reserve(other(), at())
    new = make_intent(request_id="w-9")
    assert requests.see(new, name_of(new), None, at()) == Sight(0, 0, SOL)
    for number in (3, 4):  # more than a column holds
        huge = make_intent(request_id=f"w-{number}", amount=2**63 - 1)
        requests.reserve(reservation(huge, nonce_value=bytes([number]) * 32), at())
    sight = requests.see(new, name_of(new), None, at())
    assert sight
    assert sight.destination_sent == 2**63 - 1


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "SIGHTS_MAX", 3)


def look_at(requests: Requests, number: int, tick: int = 0, **changes: Any) -> Sight | None:
    """Return what is known of an intent; None where it found no room, so that it stays new."""
    intent = make_intent(request_id=f"r-{number}", **changes)
    sight = requests.see(intent, name_of(intent), None, at(tick))
    query, name = "SELECT 1 FROM sight WHERE intent = ?", bytes.fromhex(name_of(intent))
    noted = requests._db.execute(query, (name,)).fetchone()
    assert noted or sight.age == 0
    return sight if noted else None


def new_place(number: int) -> Destination:
    return Destination(CUSTOMER.address, str(number))


@pytest.mark.usefixtures("three")
def test_so_many_intents_may_wait_and_those_known_go_on(journal: Journal) -> None:
    requests = Requests(journal)
    assert all(look_at(requests, number) for number in range(3))
    for again in (requests, Requests(journal)):
        assert look_at(again, 3) is None
        assert look_at(again, 0, 5) == Sight(5, 5, 0)


@pytest.mark.usefixtures("three")
def test_what_expired_makes_room(requests: Requests) -> None:
    for number in range(3):
        look_at(requests, number, expires=NOW + HOUR + number)
    assert look_at(requests, 3, HOUR - FORGET_EVERY) is None
    assert look_at(requests, 3, HOUR, expires=NOW + DAY) == Sight(0, HOUR, 0)
    assert look_at(requests, 4, HOUR, expires=NOW + DAY) is None


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("how", ["sign", "end"])
def test_what_is_signed_or_ended_makes_room(requests: Requests, how: str) -> None:
    for number in range(3):
        look_at(requests, number)
    gone = make_intent(request_id="r-1")
    if how == "sign":
        requests.record(requests.reserve(reservation(gone), at()), b"s" * 64, at())
    else:
        requests.end(gone, name_of(gone), None, at())
    assert look_at(requests, 3)
    assert look_at(requests, 4) is None


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("reopened", [False, True])
def test_destinations_that_nothing_was_sent_to_are_bounded_too(
    journal: Journal, *, reopened: bool
) -> None:
    """A requester that ends each intent again would fill the disk with destinations."""
    requests = Requests(journal)
    for number in range(10):
        intent = make_intent(request_id=f"r-{number}", destination=new_place(number))
        assert look_at(requests, number, destination=new_place(number)), "intents have room"
        requests.end(intent, name_of(intent), None, at())
        requests = Requests(journal) if reopened else requests
    assert is_known(requests, new_place(0))
    assert [is_known(requests, new_place(number)) for number in range(10)] == [True] * 3 + [
        False
    ] * 7


def is_known(requests: Requests, place: Destination) -> bool:
    name = requests_module._place(make_intent(destination=place))
    query = "SELECT 1 FROM destination WHERE key = ?"
    return requests._db.execute(query, (name,)).fetchone() is not None


@pytest.mark.usefixtures("three")
def test_destinations_long_unpaid_make_room_and_paid_ones_are_kept(requests: Requests) -> None:
    paid = make_intent(destination=new_place(0))
    requests.see(paid, name_of(paid), None, at())
    requests.record(requests.reserve(reservation(paid), at()), b"s" * 64, at())
    for number in range(1, 4):
        assert look_at(requests, number, destination=new_place(number))
    forget = requests_module._FORGET_TICKS
    later = forget + FORGET_EVERY
    look_at(requests, 4, forget, destination=new_place(4), expires=NOW + DAY)
    assert not is_known(requests, new_place(4))
    fresh = {"created": NOW + forget, "expires": NOW + later + DAY}
    for number, place in ((5, 5), (6, 1)):
        known = look_at(requests, number, later, destination=new_place(place), **fresh)
        assert known == Sight(0, 0, 0)
    known = look_at(requests, 7, later, destination=new_place(0), **fresh)
    assert known == Sight(0, later, SOL // 2)


def test_what_found_no_room_is_still_counted_when_it_is_paid(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "SIGHTS_MAX", 0)
    assert look_at(requests, 1) is None
    requests.reserve(reservation(), at())
    known = requests.see(FIRST, name_of(FIRST), None, at(7))
    assert known == Sight(0, 7, FIRST.amount)


def messages(journal: Journal) -> list[int]:
    query = "SELECT number FROM message ORDER BY number"
    return [number for (number,) in journal.db.execute(query)]


def test_signed_bytes_are_kept_for_thirty_days_and_their_row_for_ever(
    journal: Journal, requests: Requests
) -> None:
    past = requests.reserve(reservation(), at())
    requests.record(past, b"s" * 64, at())
    requests.reserve(other(2), at(KEEP_MS))
    assert messages(journal) == [1, 2]
    requests.reserve(other(3), at(KEEP_MS + 1))
    assert messages(journal) == [2, 3]  # 2 is not signed yet
    signed = replace(past, state=State.SIGNED, signature=b"s" * 64, message=b"")
    assert requests.find("exchange", "w-1") == signed
    requests.reserve(other(4), at(3 * KEEP_MS))
    assert messages(journal) == [2, 3, 4]
    with pytest.raises(NonceUsed):
        requests.reserve(other(5, nonce_value=b"\x07" * 32), at(3 * KEEP_MS))


def test_messages_that_were_never_signed_hold_up_no_pruning(
    journal: Journal, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "_LOOKED_AT_ONCE", 2)
    for number in (2, 3):
        requests.reserve(other(number), at())
    requests.record(requests.reserve(other(4), at()), b"s" * 64, at())
    for number in (5, 6, 7):
        requests.reserve(other(number), at(KEEP_MS + 1))
    assert 3 not in messages(journal)
