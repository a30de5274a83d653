"""The journal's file: made once, closed to others, and refused with words when it is not whole."""

import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from signer.clock import Moment
from signer.governance import Governance
from signer.journal import Journal, JournalError
from tests.factories import NOW, make_policy, policy_file
from tests.integration.mischief import Crash

AT = Moment(wall=NOW, steady=1, boot="boot-1", tick=NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal.create(path, AT)
    yield made
    made.close()


def test_a_journal_is_made_once_and_closed_to_others(journal: Journal, path: Path) -> None:
    Governance(journal).install(make_policy(), policy_file(), AT)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    with pytest.raises(JournalError, match="exists already: signer init runs once"):
        Journal.create(path, AT)
    assert Governance(journal).policy() == policy_file()
    assert Journal.create(path.with_name("second"), AT).name != journal.name


def test_an_unfinished_journal_is_made_anew(path: Path) -> None:
    """A power cut during `signer init` leaves at most the file that was being made."""
    path.with_name("journal.new").write_bytes(b"half")
    Journal.create(path, AT).close()
    assert [file.name for file in path.parent.iterdir()] == ["journal"]


def test_a_journal_in_use_is_refused(journal: Journal, path: Path) -> None:
    with pytest.raises(JournalError, match="locked: is another signer serving from it"):
        Journal(path)
    Governance(journal).install(make_policy(), policy_file(), AT)  # and the first one goes on


def test_a_missing_journal_is_not_made_by_opening_it(path: Path) -> None:
    with pytest.raises(JournalError, match="does not exist: signer doctor says what to do"):
        Journal(path)
    assert not path.exists()


def overwrite(path: Path, start: int, end: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\x5a" * (end - start))


def run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a text": lambda path: path.write_text("somebody saved this under the wrong name\n" * 100),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:4096]),
    "header lost": lambda path: overwrite(path, 0, 16),
    "first page lost": lambda path: overwrite(path, 100, 4096),
    "another program's": lambda path: run(path, "DROP TABLE meta"),
    "without its name": lambda path: run(path, "DELETE FROM meta"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_is_no_whole_journal_is_refused(
    path: Path, damage: Callable[[Path], object]
) -> None:
    """Each is to be restored, and nobody is told to look for a second signer."""
    Journal.create(path, AT).close()
    damage(path)
    with pytest.raises(JournalError, match="signer doctor says what to do"):
        Journal(path)


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_kill_while_the_log_moves_leaves_a_whole_journal(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    """Before the first move, between number and second move, after it; and again at once."""

    def killed_after(done: int) -> Callable[[Journal], None]:
        left = iter(range(done))

        def move(journal: Journal) -> None:
            if next(left, None) is None:
                raise Crash
            honest(journal)

        return move

    honest = Journal._move_log
    with journal.entry(AT, "first"):
        pass
    for number in range(3):
        copied = path.with_name(f"copy-{number}")
        journal._logged = 10**6
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "_move_log", killed_after(moves))
            with suppress(Crash), journal.entry(AT, "lost"):
                raise Crash
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copied}{end}")
        with closing(Journal(copied)) as again:
            assert (again.sequence, again.head) == (journal.sequence, journal.head)
            with again.entry(AT, "more"):
                pass
        with closing(Journal(copied)) as again:
            assert again.sequence == journal.sequence + 1
