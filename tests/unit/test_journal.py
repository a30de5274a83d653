"""What the signer must never forget, in real SQLite files: whole or not at all, and in a chain."""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from signer import journal as journals
from signer.clock import Moment
from signer.frames import JOBS_MAX
from signer.journal import Journal

AT = Moment(wall=1_700_000_000_000, steady=5_000, boot="boot-1", tick=7)
WRITE = "INSERT INTO veto VALUES (?, 'alice')"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal.create(path, AT)
    yield made
    made.close()


def reopened(journal: Journal, path: Path) -> Journal:
    journal.close()
    return Journal(path)


def write(journal: Journal, what: str, at: Moment = AT, fault: BaseException | None = None) -> None:
    with journal.entry(at, "test", what) as db:
        db.execute(WRITE, (what,))
        if fault:
            raise fault


def written(journal: Journal) -> list[str]:
    return [what for (what,) in journal.db.execute("SELECT change FROM veto ORDER BY change")]


def test_every_write_waits_for_the_disk(journal: Journal) -> None:
    """NORMAL would lose the last reservations in a power cut, which no test can make."""
    assert journal.db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert journal.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_new_journal_has_a_name_of_its_own_and_no_entry(journal: Journal, path: Path) -> None:
    assert len(bytes.fromhex(journal.name)) == 16
    assert (journal.created, journal.recovered) == (AT.wall, None)
    assert (journal.sequence, journal.head, journal.head_at(0)) == (0, bytes(32), bytes(32))
    assert journal.last_moment() == AT
    other = Journal.create(path.with_name("other"), AT, recovered=True)
    assert (other.recovered, other.name == journal.name) == (AT.tick, False)
    other.close()


def test_an_entry_outlives_a_reopening(journal: Journal, path: Path) -> None:
    name, later = journal.name, Moment(AT.wall + 1, 6_000, "boot-2", 8)
    write(journal, "a", later)
    head = journal.head
    journal = reopened(journal, path)
    assert (journal.name, journal.created, journal.sequence) == (name, AT.wall, 1)
    assert (journal.head, journal.head_at(1), written(journal)) == (head, head, ["a"])
    assert journal.last_moment() == later
    journal.close()


def test_an_entry_that_fails_leaves_nothing(journal: Journal, path: Path) -> None:
    write(journal, "a")
    before = (journal.sequence, journal.head, journal.last_moment())
    for fault in (ValueError(), KeyboardInterrupt()):
        with pytest.raises(type(fault)):
            write(journal, "b", replace(AT, tick=99), fault)
    with pytest.raises(sqlite3.IntegrityError):
        write(journal, "a")
    assert (journal.sequence, journal.head, journal.last_moment()) == before
    assert journal.head_at(2) is None
    write(journal, "c")
    journal = reopened(journal, path)
    assert (journal.sequence, written(journal)) == (2, ["a", "c"])
    journal.close()


def test_the_head_covers_every_entry_before_it(journal: Journal) -> None:
    """SHA-256 over the head before and each part behind its length of 4 bytes."""
    expected = bytes(32)
    for parts in (("reserve", b"\xff\0", 12), ("reserve", b"", 12)):
        with journal.entry(AT, *parts):
            pass
        framed = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        data = b"".join(len(part).to_bytes(4, "big") + part for part in framed)
        expected = hashlib.sha256(expected + data).digest()
        assert journal.head == journal.head_at(journal.sequence) == expected


def test_entries_that_differ_in_anything_have_different_heads(tmp_path: Path) -> None:
    heads = set()
    histories: list[list[tuple[str | bytes, ...]]] = [
        [("a", "b")],
        [("ab",)],
        [("a", "b", "")],
        [("b", "a")],
        [("a",), ("b",)],
        [("b",), ("a",)],
    ]
    for number, history in enumerate(histories):
        journal = Journal.create(tmp_path / str(number), AT)
        for parts in history:
            with journal.entry(AT, *parts):
                pass
        heads.add(journal.head)
        journal.close()
    assert len(heads) == len(histories)


def test_the_last_heads_are_kept(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_HEADS_KEPT", 3)
    heads = [journal.head]
    for number in range(6):
        write(journal, str(number))
        heads.append(journal.head)
    journal = reopened(journal, path)
    assert [journal.head_at(number) for number in range(8)] == [None] * 4 + heads[4:] + [None]
    journal.close()


def test_more_heads_are_kept_than_the_jobs_of_a_frame_can_make() -> None:
    """Else a crash before the token's record is written would look like another history."""
    assert journals._HEADS_KEPT > 4 * JOBS_MAX  # forget, see, reserve, sign
