"""The journal's head in the token: an older, another or a forked journal signs nothing."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import PyKCS11 as P
import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Veto, digest, encode
from signer import hsm
from signer.anchor import Anchor, begin, find_lock, newest
from signer.guard import Guard
from signer.hsm import RecordsChangedError, Token
from signer.journal import Journal, JournalError
from tests.factories import WINDOWS, make_book, make_intent, policy_file, public
from tests.integration.guard.payments import ask, code_of, intend, job_of, pay
from tests.integration.guard.test_end import end
from tests.integration.mischief import Crash
from tests.signing import HELLO, SignerRig, apply_book, enveloped, lease_job, nonce_open, transfer

STATUS = wire.Job(status=wire.Status())


def every_verb(rig: SignerRig) -> list[wire.Job]:
    book = make_book(version=2, previous=digest(encode(make_book())))
    veto = Veto(key=public("alice"), person="alice", change="0" * 64)
    return [
        transfer(make_intent(request_id="new")),
        transfer(make_intent()),
        end(make_intent(request_id="new")),
        nonce_open(),
        apply_book(book, "alice", "carol"),
        wire.Job(apply=wire.Apply(veto=enveloped(veto))),
        wire.Job(),
    ]


def locked(rig: SignerRig, code: Code, words: str) -> bool:
    """True when every verb is refused so, only the status is told, and nothing is written."""
    before, records = rig.journal.sequence, rig.token.records()
    status = rig.ask(STATUS).status
    assert status.locked == code
    assert words in status.locked_message
    assert "signer doctor says what to do" in status.locked_message
    assert (status.audit_key, status.policy != b"") == (public("audit"), True)
    results = rig.guard.answer([*every_verb(rig), STATUS])
    assert {result.refusal.code for result in results[:-1]} == {code}
    assert {result.refusal.message for result in results[:-1]} == {status.locked_message}
    assert results[-1].status.locked == code
    return (rig.journal.sequence, rig.token.records()) == (before, records)


@contextmanager
def stopped(rig: SignerRig) -> Iterator[Path]:
    """Stop the signer, let somebody work on its journal file, start it again."""
    rig.stop()
    yield rig.path
    rig.start()


def copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def test_an_older_copy_of_the_journal_signs_nothing(rig: SignerRig, tmp_path: Path) -> None:
    """Attack A19 in small."""
    rig.signed(transfer(make_intent()))
    with stopped(rig) as path:
        copy(path, tmp_path / "backup")
    pay(rig)
    with stopped(rig) as path:
        copy(path, tmp_path / "newest")
        copy(tmp_path / "backup", path)
    assert locked(rig, Code.JOURNAL_BEHIND, "an older copy: its last 3 entries are missing")
    rig.restart()
    assert locked(rig, Code.JOURNAL_BEHIND, "an older copy: its last 3 entries are missing")
    with stopped(rig) as path:
        copy(tmp_path / "newest", path)
    pay(rig)


def test_one_entry_less_is_noticed(rig: SignerRig, tmp_path: Path) -> None:
    with stopped(rig) as path:
        copy(path, tmp_path / "backup")
    rig.ask(end(make_intent()))
    with stopped(rig) as path:
        copy(tmp_path / "backup", path)
    assert locked(rig, Code.JOURNAL_BEHIND, "its last 1 entries are missing")


def test_another_journal_is_foreign(rig: SignerRig) -> None:
    with stopped(rig) as path:
        other = path.with_name("other")
        copy(path, other)
        with closing(sqlite3.connect(other)) as db, db:
            db.execute("UPDATE meta SET journal = ?", ("5" * 32,))
        name = rig.journal.name
        copy(other, path)
    assert locked(rig, Code.JOURNAL_FOREIGN, f"belongs to journal {name}, this is {'5' * 32}")


def test_another_history_is_noticed(rig: SignerRig, tmp_path: Path) -> None:
    """As long as, or longer than, what the token remembers: other entries all the same."""
    with stopped(rig) as path:
        copy(path, tmp_path / "fork")
        token, journal = rig.softhsm.open(), Journal(tmp_path / "fork")
        before = token.records()
        fork = Guard(token, journal, rig.look)
        lease = lease_job(fork.answer([HELLO])[0], time=rig.now)
        assert fork.answer([lease, job_of(rig, intend(rig))])[1].HasField("signed")
        assert fork.answer([job_of(rig, intend(rig))])[0].HasField("signed")
        put_back(token, before)
        token.close()
        journal.close()
    pay(rig)
    with stopped(rig) as path:
        copy(path, tmp_path / "own")
        copy(tmp_path / "fork", path)
    assert locked(rig, Code.JOURNAL_BEHIND, "another history than the token remembers")
    with stopped(rig) as path:
        journal = Journal(path)
        for number in range(5):
            with journal.entry(journal.last_moment(), "more", number):
                pass
        journal.close()
    assert locked(rig, Code.JOURNAL_BEHIND, "another history than the token remembers")
    with stopped(rig) as path:
        copy(tmp_path / "own", path)
    pay(rig)


def put_back(token: Token, records: list[bytes]) -> None:
    (record,) = records
    token.replace_records(frozenset(token.records()), record)


def test_a_journal_ahead_of_the_token_is_what_a_crash_leaves(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> None:
        raise Crash

    intents = [intend(rig) for _ in range(3)]
    rig.leased = False  # it has one
    with monkeypatch.context() as patch:
        patch.setattr(Token, "replace_records", dead)
        for intent in intents:
            with pytest.raises(Crash):
                rig.ask(job_of(rig, intent))
    (record,) = rig.token.records()
    behind = newest([record])
    assert behind
    assert int(behind.sequence) < rig.journal.sequence
    rig.restart()
    rig.leased = True
    assert rig.ask(STATUS).status.locked == ""
    assert rig.token.records() == [Anchor.of(rig.journal).encode()]
    assert all(rig.signed(job_of(rig, intent)).repeated for intent in intents)


def test_a_crash_between_new_record_and_old_leaves_two_and_is_fine(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(os, "sync", dead)
        with pytest.raises(Crash):
            ask(rig)
    assert len(rig.token.records()) == 2
    rig.restart()
    assert rig.ask(STATUS).status.locked == ""
    assert len(rig.token.records()) == 1
    pay(rig)


def record_count(rig: SignerRig) -> int:
    template = [(P.CKA_CLASS, P.CKO_DATA), (P.CKA_LABEL, hsm.RECORD)]
    return len(rig.token._session.findObjects(template))


def test_the_token_holds_one_record_however_often_it_starts(rig: SignerRig) -> None:
    for _ in range(3):
        rig.restart()
        assert record_count(rig) == 1
    pay(rig)
    rig.ask(STATUS)
    assert record_count(rig) == 1


def test_the_record_is_there_before_the_answer(rig: SignerRig) -> None:
    for job in (nonce_open(), end(make_intent(request_id="w-7")), transfer(make_intent())):
        rig.ask(job)
        assert rig.token.records() == [Anchor.of(rig.journal).encode()]
    assert find_lock(rig.journal, rig.token.records()) is None


def destroy_records(token: Token) -> None:
    for handle in token._session.findObjects([(P.CKA_LABEL, hsm.RECORD)]):
        token._session.destroyObject(handle)


def write_record(token: Token, value: bytes) -> None:
    template = [(P.CKA_CLASS, P.CKO_DATA), (P.CKA_TOKEN, True), (P.CKA_PRIVATE, True)]
    values = [(P.CKA_LABEL, hsm.RECORD), (P.CKA_VALUE, value)]
    token._session.createObject([*template, *values])


def test_a_token_without_a_record_belongs_to_no_journal(rig: SignerRig) -> None:
    """Somebody took it away: any journal would look new."""
    destroy_records(rig.token)
    rig.restart()
    assert locked(rig, Code.JOURNAL_FOREIGN, f"no record of journal {rig.journal.name}")
    assert rig.token.records() == []


GARBLED = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"7",
    b"{}",
    b'{"journal":"x"}',
    b'{"book":"","head":"","journal":"","policy":"","sequence":"ten"}',
    b'{"book":"","head":"","journal":"","policy":"","sequence":null}',
    b'{"book":"","head":"","journal":"","policy":"","sequence":1e999}',
    b'{"book":"","head":"","journal":"","more":"","policy":"","sequence":"1"}',
    b"[" * 10_000,
]


@pytest.mark.parametrize("garbled", GARBLED)
@pytest.mark.parametrize("beside", [False, True])
def test_a_garbled_record_is_no_record(rig: SignerRig, garbled: bytes, *, beside: bool) -> None:
    if not beside:
        destroy_records(rig.token)
    write_record(rig.token, garbled)
    rig.restart()
    assert locked(rig, Code.JOURNAL_FOREIGN, "no record of journal")


def test_a_record_of_another_that_appears_while_it_serves_stops_it(rig: SignerRig) -> None:
    write_record(rig.token, b'{"another":"signer"}')
    with pytest.raises(RecordsChangedError, match="another signer uses this token: stop it"):
        ask(rig)


def test_a_record_written_at_the_same_moment_stops_it(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both looked before either wrote: so each looks again after it wrote."""
    honest = hsm._find_records

    def overtaken(session: Any) -> dict[bytes, list[Any]]:
        found = honest(session)
        monkeypatch.setattr(hsm, "_find_records", honest)
        write_record(rig.token, b'{"another":"signer"}')
        return found

    monkeypatch.setattr(hsm, "_find_records", overtaken)
    with pytest.raises(RecordsChangedError):
        ask(rig)
    assert len(rig.token.records()) == 3, "nothing was taken away"


def test_of_two_guards_on_one_token_the_second_to_write_stops(
    rig: SignerRig, tmp_path: Path
) -> None:
    """Each with its own copy of the journal; both may have signed, one answer leaves."""
    with stopped(rig) as path:
        copy(path, tmp_path / "copy")
    other = Journal(tmp_path / "copy")
    second = Guard(rig.token, other, rig.look)
    assert second.answer([STATUS])[0].status.locked == ""
    pay(rig)
    with pytest.raises(RecordsChangedError):
        second.answer([job_of(rig, intend(rig))])
    pay(rig)
    assert find_lock(other, rig.token.records())
    other.close()


def test_begin_takes_the_token_for_another_journal(rig: SignerRig, tmp_path: Path) -> None:
    new = Journal.create(tmp_path / "new", rig.look())
    begin(rig.token, new)
    assert (find_lock(new, rig.token.records()), record_count(rig)) == (None, 1)
    new.close()
    rig.restart()
    assert locked(rig, Code.JOURNAL_FOREIGN, f"belongs to journal {new.name}")


def wal(path: Path) -> Path:
    """Return the file in which SQLite keeps what it wrote since its last checkpoint."""
    return path.with_name(path.name + "-wal")


@contextmanager
def killed(rig: SignerRig, tmp_path: Path) -> Iterator[Path]:
    """Leave both files as kill -9 would, let somebody work on them, start the signer again."""
    kept = tmp_path / "killed"
    for file in (rig.path, wal(rig.path)):
        copy(file, kept.with_name("killed" + file.name.removeprefix(rig.path.name)))
    rig.stop()
    for file in (rig.path, wal(rig.path)):
        copy(kept.with_name("killed" + file.name.removeprefix(rig.path.name)), file)
    yield rig.path
    rig.start()


def test_an_older_copy_beside_the_newest_log_signs_nothing(
    make_rig: Callable[[bytes], SignerRig], tmp_path: Path
) -> None:
    """The log holds the newest head, the older file counters that are empty."""
    once = ["24 hours", "1000 SOL", 1]
    rig = make_rig(policy_file(windows={**WINDOWS, "wallet": once}))
    with stopped(rig) as path:
        copy(path, tmp_path / "backup")
    pay(rig)
    rig.restart()
    assert code_of(ask(rig)) is Code.WINDOW_EXCEEDED
    with killed(rig, tmp_path) as path:
        assert wal(path).stat().st_size
    assert code_of(ask(rig)) is Code.WINDOW_EXCEEDED, "what a kill leaves is whole"
    with killed(rig, tmp_path) as path:
        copy(path, tmp_path / "newest")
        copy(wal(path), tmp_path / "log")
        copy(tmp_path / "backup", path)
        with pytest.raises(JournalError, match="an older copy beside a newer log: signer doctor"):
            Journal(path)
        copy(tmp_path / "newest", path)
        copy(tmp_path / "log", wal(path))
    assert code_of(ask(rig)) is Code.WINDOW_EXCEEDED
