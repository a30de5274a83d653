"""What the signer must never forget, in real SQLite files: once for ever, and over a reopening."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.statements import Destination
from signer.journal import Journal, JournalError, NonceUsed, Reservation
from tests.factories import CUSTOMER, STRANGER, make_book

RESERVATION = Reservation(
    requester="exchange",
    request_id="w-1",
    intent="1" * 64,
    wallet="hot-sol",
    nonce_index=0,
    nonce_value=b"\x07" * 32,
    message=b"message \0\xff",
    signature=None,
    reserved=1_800_000_000_000,
)
NETWORK = "solana:devnet"
CREATED = 1_700_000_000_000
DAY = 24 * 3_600_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal.create(path, CREATED)
    yield made
    made.close()


def reopened(journal: Journal, path: Path) -> Journal:
    journal.close()
    return Journal(path)


def other(**changes: Any) -> Reservation:
    """Another request's reservation that collides with nothing unless `changes` say so."""
    fields: dict[str, Any] = {"request_id": "w-2", "intent": "2" * 64, "nonce_value": bytes(32)}
    return replace(RESERVATION, **{**fields, **changes})


def test_a_reservation_and_its_signature_outlive_a_reopening(journal: Journal, path: Path) -> None:
    name = journal.name
    journal.reserve(RESERVATION)
    journal = reopened(journal, path)
    assert journal.find("exchange", "w-1") == RESERVATION
    journal.record(RESERVATION.intent, b"s" * 64)
    journal = reopened(journal, path)
    assert journal.find("exchange", "w-1") == replace(RESERVATION, signature=b"s" * 64)
    assert (journal.name, journal.created) == (name, CREATED)
    journal.close()


def test_every_write_waits_for_the_disk(journal: Journal) -> None:
    """NORMAL would lose the last reservations in a power cut, which no test can make."""
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_requests_are_told_apart(journal: Journal) -> None:
    journal.reserve(RESERVATION)
    journal.reserve(other())
    for requester, request_id in (("exchange", "w-3"), ("exchange", "W-1"), ("other", "w-1")):
        assert journal.find(requester, request_id) is None
    assert journal.find("exchange", "w-2") == other()


def test_one_request_has_one_message(journal: Journal) -> None:
    journal.reserve(RESERVATION)
    for again in (other(request_id="w-1"), other(intent=RESERVATION.intent)):
        with pytest.raises(sqlite3.IntegrityError):
            journal.reserve(again)
    assert journal.find("exchange", "w-1") == RESERVATION
    assert journal.find("exchange", "w-2") is None
    journal.reserve(other())  # a refused reservation leaves no open transaction


def test_a_nonce_value_stands_in_one_message(journal: Journal) -> None:
    journal.reserve(RESERVATION)
    with pytest.raises(NonceUsed):
        journal.reserve(other(nonce_value=RESERVATION.nonce_value))
    assert journal.find("exchange", "w-2") is None
    journal.reserve(other(nonce_value=RESERVATION.nonce_value, nonce_index=1))
    elsewhere = other(request_id="w-3", intent="3" * 64, wallet="other-sol")
    journal.reserve(replace(elsewhere, nonce_value=RESERVATION.nonce_value))


def test_a_signature_is_recorded_once_and_only_for_a_reservation(journal: Journal) -> None:
    journal.reserve(RESERVATION)
    journal.record(RESERVATION.intent, b"s" * 64)
    for intent in (RESERVATION.intent, "2" * 64):
        with pytest.raises(JournalError, match="not reserved, or signed already"):
            journal.record(intent, b"t" * 64)
    assert journal.find("exchange", "w-1") == replace(RESERVATION, signature=b"s" * 64)


def test_genesis_happens_once(journal: Journal, path: Path) -> None:
    assert journal.policy() is None
    journal.install_policy(1, b"the first policy \xff")
    journal = reopened(journal, path)
    for version in (1, 2):
        with pytest.raises(JournalError, match="genesis happens once"):
            journal.install_policy(version, b"another")
    assert journal.policy() == b"the first policy \xff"
    journal.close()


def test_book_versions_follow_each_other(journal: Journal, path: Path) -> None:
    assert journal.book_version() == (0, "")
    journal.apply_book(make_book(CUSTOMER), "a" * 64)
    removal = make_book(STRANGER, version=2, remove=make_book(CUSTOMER).add)
    journal.apply_book(removal, "b" * 64)
    journal = reopened(journal, path)
    assert journal.book_version() == (2, "b" * 64)
    assert not journal.in_address_book(NETWORK, CUSTOMER)
    assert journal.in_address_book(NETWORK, STRANGER)
    journal.close()


def test_a_book_version_is_applied_once_and_whole(journal: Journal) -> None:
    journal.apply_book(make_book(CUSTOMER), "a" * 64)
    with pytest.raises(sqlite3.IntegrityError):
        journal.apply_book(make_book(STRANGER, remove=make_book(CUSTOMER).add), "b" * 64)
    assert journal.book_version() == (1, "a" * 64)
    assert journal.in_address_book(NETWORK, CUSTOMER)
    assert not journal.in_address_book(NETWORK, STRANGER)


def test_the_same_entry_twice_stands_once(journal: Journal) -> None:
    journal.apply_book(make_book(CUSTOMER, CUSTOMER), "a" * 64)
    journal.apply_book(make_book(CUSTOMER, version=2), "b" * 64)
    remove = make_book(CUSTOMER).add
    journal.apply_book(make_book(version=3, add=(), remove=remove), "c" * 64)
    assert not journal.in_address_book(NETWORK, CUSTOMER)


def test_a_destination_is_compared_whole(journal: Journal) -> None:
    listed = Destination(CUSTOMER.address, "tag 7")
    journal.apply_book(make_book(listed), "a" * 64)
    assert journal.in_address_book(NETWORK, listed)
    address = listed.address
    for near in (
        Destination(address, ""),
        Destination(address, "tag 7 "),
        Destination(address, "Tag 7"),
        Destination(address, "tag%"),
        Destination(address.lower(), "tag 7"),
        Destination(address[:-1], "tag 7"),
        Destination(address + "k", "tag 7"),
        Destination(address[:6] + "%", "tag 7"),
        Destination(STRANGER.address, "tag 7"),
    ):
        assert not journal.in_address_book(NETWORK, near), near
    assert not journal.in_address_book("solana:mainnet", listed)


def opens(
    journal: Journal, message: bytes, now: int, wallet: str = "hot-sol", index: int = 0
) -> bool:
    return journal.open_nonce(wallet, index, message, now=now, most=2)


def test_attempts_to_open_a_nonce_are_counted_by_message(journal: Journal, path: Path) -> None:
    assert all(opens(journal, message, DAY) for message in (b"1", b"2", b"1"))
    journal = reopened(journal, path)
    assert not opens(journal, b"3", DAY)
    assert opens(journal, b"2", DAY)  # the same bytes again
    assert opens(journal, b"3", DAY, index=1)
    assert opens(journal, b"3", DAY, wallet="other-sol")
    assert journal._db.execute("SELECT count(*) FROM nonce_open").fetchone() == (4,)
    journal.close()


def test_attempts_count_for_a_day(journal: Journal) -> None:
    assert opens(journal, b"1", 5 * DAY)
    assert opens(journal, b"2", 5 * DAY + 1)
    assert not opens(journal, b"3", 6 * DAY - 1)
    assert opens(journal, b"3", 6 * DAY)  # the first one is a day old, the second is not
    assert not opens(journal, b"4", 6 * DAY)
    assert not opens(journal, b"4", 5 * DAY + 2)  # a clock set back empties nothing
    assert opens(journal, b"4", 3 * DAY)  # nor does one that was far ahead close it for ever
