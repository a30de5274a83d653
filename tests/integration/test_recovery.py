"""Every locked signer has a lawful way out, offline and by quorum: real processes, a real token."""

import ast
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import PyKCS11 as P
import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.evaluate import EARLY_MS
from policies.fields import raw_key
from policies.policy_file import parse_policy
from policies.signature_file import format_signature
from policies.statements import Recover, decode, digest, encode
from signer import doctor, recovery, token_init
from signer.chains.solana_address import encode_address
from signer.clock import look
from signer.governance import Governance
from signer.journal import Journal
from signer.pkcs11 import PinLockedError
from signer.settings import read_settings
from tests import softhsm
from tests.factories import (
    HOUR,
    STRANGER,
    key,
    make_book,
    make_change,
    make_freeze,
    make_intent,
    make_unfreeze,
    policy_file,
    public,
    sign,
    wallet_text,
)
from tests.integration.guard.orders import freeze_job, unfreeze_job
from tests.integration.test_signer_main import genesis, signed_changes
from tests.signer_host import Host, now, temporary_host
from tests.signing import (
    HELLO,
    apply_statement,
    enveloped,
    lease_job,
    nonce_advance,
    transfer,
)

STATUS = wire.Job(status=wire.Status())


@pytest.fixture(scope="module")
def in_use() -> Iterator[tuple[Host, bytes]]:
    """A signer that has a policy and an address book, and has signed."""
    with temporary_host() as host:
        init = host.done("init", "--so-pin-file", host.directory / "so-pin").split()
        keygen = host.done("keygen", "hot-sol").split()
        policy = policy_file(signer=init[2], address=keygen[keygen.index("address") + 1])
        genesis(host, policy)
        with host.serving():
            book = make_book()
            assert host.ask(apply_statement(encode(book), signed_changes(book))).applied.digest
            assert pay(host, "before", 1).HasField("signed")
        yield host, policy


@pytest.fixture
def host(in_use: tuple[Host, bytes]) -> Iterator[Host]:
    with temporary_host(in_use[0]) as copy:
        yield copy


@pytest.fixture
def policy(in_use: tuple[Host, bytes]) -> bytes:
    return in_use[1]


def pay(host: Host, name: str, nonce: int, created: int = 0) -> wire.Result:
    """Ask for a payment, dated as far ahead as a client's clock may be."""
    made = created or now() + EARLY_MS
    intent = make_intent(request_id=name, created=made, expires=made + HOUR)
    return host.ask(transfer(intent, nonce_value=bytes((nonce,)) * 32))


def signatures(statement: bytes, policy: bytes, *people: str) -> bytes:
    changes = [
        make_change(
            "recover", digest(statement), person, previous=digest(policy), expires=now() + HOUR
        )
        for person in people
    ]
    lines = [format_signature(sign(key(c.person), c)) for c in changes]
    return "".join(lines).encode()


def prepare(host: Host) -> Path:
    file = host.directory / "recover.json"
    assert "officers of that policy sign" in host.done("recover", "prepare", file)
    return file


def arguments(host: Host, file: Path, policy: bytes, *people: str) -> tuple[object, ...]:
    signed = host.file("recover.sig", signatures(file.read_bytes(), policy, *people))
    return ("recover", "apply", file, signed, host.file("policy.toml", policy))


def recover(host: Host, policy: bytes) -> str:
    return host.done(*arguments(host, prepare(host), policy, "alice", "carol"))


def lose_journal(host: Host) -> None:
    for file in host.directory.glob("journal*"):
        if file.is_file():
            file.unlink()


def test_a_lost_journal(host: Host, policy: bytes) -> None:
    before = now()
    lose_journal(host)
    assert "signer doctor" in host.refused("serve", isolated=True)
    assert "recover by quorum: signer recover prepare" in diagnosed(host)
    printed = recover(host, policy)
    assert "address book  empty" in printed
    with host.serving():
        assert host.ask(STATUS).status.locked == ""
        book = make_book()
        assert host.ask(apply_statement(encode(book), signed_changes(book))).applied.digest
        old, new = pay(host, "old", 2, created=before), pay(host, "new", 3)
    assert old.refusal.code == "INTENT_BEFORE_JOURNAL"
    assert new.refusal.code == "WINDOW_EXCEEDED", "windows start full"
    day = 24 * HOUR
    assert now() + day - HOUR < new.refusal.earliest_time < now() + day + HOUR


def test_an_older_journal_put_back(host: Host, policy: bytes) -> None:
    kept = host.directory / "kept"
    kept.mkdir()
    for file in host.directory.glob("journal*"):
        shutil.copy(file, kept)
    with host.serving():
        assert pay(host, "since", 2).HasField("signed")
    lose_journal(host)
    for file in kept.iterdir():
        shutil.copy(file, host.directory)
    with host.serving():
        assert pay(host, "again", 3).refusal.code == "JOURNAL_BEHIND"
        status = host.ask(STATUS).status
        assert status.locked == "JOURNAL_BEHIND"
        assert "the journal is an older copy: its last 3 entries are missing" in diagnosed(host)
        printed = host.done("status")
        assert "JOURNAL_BEHIND" in printed
        assert "next          put the newer journal back, or recover by quorum" in printed
    assert "put the newest journal file back, or recover by quorum" in diagnosed(host)
    assert "address book  version 1" in recover(host, policy)  # it was the newest
    [evidence] = host.directory.glob("journal.before-*")
    assert Journal(evidence / "journal").name == status.journal
    with host.serving():
        new = host.ask(STATUS).status
        assert (new.locked, evidence.name) == ("", f"journal.before-{new.journal}")
        assert pay(host, "new", 4).refusal.code == "WINDOW_EXCEEDED"


def test_whose_a_wallet_was_is_carried_on(host: Host, policy: bytes) -> None:
    """Else it takes over a wallet that another signer paid from, under the same name."""
    with closing(sqlite3.connect(host.directory / "journal")) as old, old:
        old.execute("INSERT INTO wallet VALUES ('gone', 'another')")
    recover(host, policy)
    with closing(Journal(host.directory / "journal")) as journal:
        signers = Governance(journal).signers()
    assert signers["gone"] == "another"
    assert len(signers) > 1


def test_it_takes_the_quorum_of_the_policy_that_the_token_remembers(
    host: Host, policy: bytes
) -> None:
    lose_journal(host)
    file = prepare(host)
    for people in ((), ("alice",), ("alice", "bob", "mallory")):
        assert "QUORUM_MISSING" in host.refused(*arguments(host, file, policy, *people))
    other = policy + b"# another\n"
    words = host.refused(*arguments(host, file, other, "alice", "carol"))
    assert f"the token remembers policy {digest(policy)}" in words


def test_a_crash_at_any_step_is_gone_on_from(host: Host, policy: bytes) -> None:
    file = prepare(host)
    statement = file.read_bytes()
    made = decode(Recover, statement)
    for done in range(7):
        with temporary_host(host) as copy:
            settings = read_settings(copy.directory / "signer.toml")
            path, opened = settings.journal, parse_policy(policy)
            candidate = recovery._candidate(settings)
            kept = path.with_name(f"journal.before-{made.new_journal}")
            if done > 0:
                recovery._fill(candidate, made, opened, policy)
            if done > 1:
                recovery._fill_book(candidate, path, [], book=digest(encode(make_book())))
            if done in {3, 4}:
                kept.mkdir(mode=0o700)
                path.rename(kept / "journal")
                path.with_name("journal-wal").touch()  # as a crash of serve leaves it
            if done == 4:
                path.with_name("journal-wal").rename(kept / "journal-wal")
            if done > 4:
                recovery._put_in_place(candidate, path, made.new_journal)
            if done > 5:
                recovery._begun(path, made, opened, statement).close()
            given = arguments(copy, file, policy, "alice", "carol")
            printed = copy.done(*given)
            assert "is in place; policy" in printed, done
            assert "version 1" in printed
            assert {"journal", "journal-wal"} >= {left.name for left in kept.iterdir()}
            assert (kept / "journal").stat().st_size
            assert not path.with_name("journal.recovered").exists()
            with copy.serving():
                assert copy.ask(STATUS).status.locked == ""
                assert "is in place already" in copy.done(*given)


def test_prepared_twice_it_is_the_same(host: Host, policy: bytes) -> None:
    file, again = prepare(host), host.directory / "again.json"
    assert "is never written over" in host.refused("recover", "prepare", file)
    host.done("recover", "prepare", again)
    assert again.read_bytes() == file.read_bytes()
    host.file("journal.recovered", b"a torn file")
    host.file("journal.recovered-wal", b"and its log")
    again.unlink()
    host.done("recover", "prepare", again)  # another one takes its place
    words = host.refused(*arguments(host, file, policy, "alice", "carol"))
    assert "not the one that was signed" in words
    assert not list(host.directory.glob("journal.before-*")), "nothing was moved"
    with host.serving():
        assert host.ask(STATUS).status.locked == ""
    assert "is in place;" in host.done(*arguments(host, again, policy, "alice", "carol"))


def test_what_was_signed_since_prepare_is_older_than_the_new_journal(
    host: Host, policy: bytes
) -> None:
    file = prepare(host)
    with host.serving():
        intent = make_intent(request_id="since", created=now() + EARLY_MS, expires=now() + HOUR)
        assert host.ask(transfer(intent, nonce_value=b"2" * 32)).HasField("signed")
        given = arguments(host, file, policy, "alice", "carol")
        assert "stop it, then apply again" in host.refused(*given)
        host.set(socket=host.directory / "another")
        assert "another signer" in host.refused(*given)
    host.set()
    host.done(*given)
    with host.serving():
        refusal = host.ask(transfer(intent, nonce_value=b"3" * 32)).refusal
    assert refusal.code == "INTENT_BEFORE_JOURNAL"


def test_a_recovery_is_done_once(host: Host, policy: bytes) -> None:
    file = prepare(host)
    given = arguments(host, file, policy, "alice", "carol")
    host.done(*given)
    evidence = next(host.directory.glob("journal.before-*")) / "journal"
    made = decode(Recover, file.read_bytes())
    shutil.copy(evidence, host.directory / "journal")
    words = f"done before, and now journal {made.old_journal} is in its place"
    assert words in host.refused(*given)
    lose_journal(host)
    assert "done before, and now" in host.refused(*given)
    file.unlink()
    next_file = prepare(host)
    next_given = arguments(host, next_file, policy, "alice", "carol")
    host.done(*next_given)
    assert evidence.exists()
    host.file("recover.json", encode(made))
    assert "names another old journal" in host.refused(
        "recover", "apply", host.directory / "recover.json", *given[3:]
    )


def test_only_one_signer_and_the_versions_people_are_heard(host: Host, policy: bytes) -> None:
    """A revoked officer, an older policy, another signer's statement, a clock set back."""
    second = tightened(policy, "alice")
    with host.serving():
        version = wire.PolicyVersion(file=second, changes=policy_changes(second))
        assert host.ask(wire.Job(apply=wire.Apply(policy=version))).applied.digest
        assert pay(host, "since", 2).HasField("signed")
    file = prepare(host)
    words = host.refused(*arguments(host, file, policy, "alice", "carol"))
    assert f"remembers policy {digest(second)}, this file is {digest(policy)}" in words
    words = host.refused(*arguments(host, file, second, "alice", "carol"))
    assert "the signature is not alice's" in words
    made = decode(Recover, file.read_bytes())
    for changes, said in (
        ({"audit_key": public("audit")}, "another signer's audit key"),
        ({"old_journal": "0" * 32}, "another old journal"),
        ({"created": now() + HOUR}, "later than this host's clock"),
        ({"new_journal": "0" * 32}, "not the one that was signed"),
    ):
        other = host.file("other.json", encode(replace(made, **changes)))
        assert said in host.refused(*arguments(host, other, second, "bob", "carol"))
    host.done(*arguments(host, file, second, "bob", "carol"))
    warning = "no change is possible: changes of the policy cannot do without bob or carol"
    assert warning in diagnosed(host)
    with host.serving():
        assert digest(second) in host.done("status")
        done = host.tried("doctor")
        assert (done.returncode, warning in done.stdout) == (0, True)


def test_an_address_book_of_a_lost_journal_comes_from_its_versions(
    host: Host, policy: bytes
) -> None:
    first = make_book()
    second = make_book(STRANGER, version=2, previous=digest(encode(first)))
    with host.serving():
        changes = [replace(change, previous=second.previous) for change in signed_changes(second)]
        assert host.ask(apply_statement(encode(second), changes)).applied.digest
    lose_journal(host)
    file = prepare(host)
    given = arguments(host, file, policy, "alice", "carol")
    names = [host.file(f"book-{book.version}.json", encode(book)) for book in (first, second)]
    for books, words in (
        (names[:1], f"remembers address book {digest(encode(second))}, the last file is"),
        (names[1:], "is version 2 and does not follow"),
    ):
        assert words in host.refused(*given, "--book", *books)
    other = make_book(STRANGER)
    forged = host.file("forged.json", encode(other))
    assert "does not follow" in host.refused(*given, "--book", forged, names[1])
    assert "address book  version 2" in host.done(*given, "--book", *names[::-1])
    with host.serving():
        assert host.ask(STATUS).status.book_digest == digest(encode(second))


def test_a_book_is_carried_only_when_it_is_the_one_remembered(host: Host, policy: bytes) -> None:
    with temporary_host(host) as older:  # as it was: without version 2
        second = make_book(STRANGER, version=2, previous=digest(encode(make_book())))
        with host.serving():
            changes = [
                replace(change, previous=second.previous) for change in signed_changes(second)
            ]
            assert host.ask(apply_statement(encode(second), changes)).applied.digest
        lose_journal(host)
        shutil.copy(older.directory / "journal", host.directory)
    assert "address book  empty" in recover(host, policy)


def test_a_damaged_journal_is_kept_and_its_book_not_trusted(host: Host, policy: bytes) -> None:
    path = host.directory / "journal"
    content = path.read_bytes()
    for damaged in (b"", b"no database", content[:8192], content[:4096] + bytes(len(content))):
        with temporary_host(host) as copy:
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            (copy.directory / "journal").write_bytes(damaged)
            assert "signer doctor" in copy.refused("serve", isolated=True)
            assert "put the newest copy back, or recover by quorum" in diagnosed(copy)
            assert "address book  empty" in recover(copy, policy)
            [evidence] = copy.directory.glob("journal.before-*/journal")
            assert evidence.read_bytes() == damaged or not damaged
            with copy.serving():
                assert copy.ask(STATUS).status.locked == ""


def test_a_new_instance_with_a_new_token(host: Host, policy: bytes) -> None:
    """Another token, another audit key: the policy version that names them, its digest typed."""
    with temporary_host() as new:
        new.done("init", "--so-pin-file", new.directory / "so-pin")
        new.done("keygen", "hot-sol")
        assert "a new one beside or in place of others: recover by quorum" in diagnosed(new)
        with new.serving():
            status = new.ask(STATUS).status
            address = encode_address(raw_key(status.keys[0].key))
        second = policy_file(
            version=2, previous=digest(policy), signer=status.audit_key, address=address
        )
        file = prepare(new)
        signed = new.file("recover.sig", signatures(file.read_bytes(), policy, "alice", "carol"))
        old = ("recover", "apply", file, signed, new.file("old.toml", policy))
        typed = digest(policy) + "\n"
        assert "audit key for no wallet" in new.refused(*old, typed=typed)
        given = arguments(new, file, second, "alice", "carol")
        assert "the digest typed is not this file's" in new.refused(*given, typed=typed)
        book = make_book()
        statement = new.file("book-1.json", encode(book))
        more = ("--book", statement, "--book-signatures")
        unsigned = new.file("none.sig", b"")
        typed = digest(second) + "\n"
        assert "QUORUM_MISSING: the token remembers no address book" in new.refused(
            *given, *more, unsigned, typed=typed
        )
        book_lines = "".join(
            format_signature(sign(key(change.person), change)) for change in signed_changes(book)
        )
        book_signatures = new.file("book.sig", book_lines.encode())
        assert "version 1" in new.done(*given, *more, book_signatures, typed=typed)
        with new.serving():
            assert new.ask(STATUS).status.book_digest == digest(encode(book))
            assert pay(new, "old", 1, created=now() - 1).refusal.code == "INTENT_BEFORE_JOURNAL"
            assert pay(new, "new", 2).refusal.code == "WINDOW_EXCEEDED"
            assert "and signs" in diagnosed(new)


def test_a_new_journal_begun_with_another_policy_is_not_taken(policy: bytes) -> None:
    with temporary_host() as new:
        init = new.done("init", "--so-pin-file", new.directory / "so-pin").split()
        file = prepare(new)
        made = decode(Recover, file.read_bytes())
        first, second = (policy_file(signer=init[2], cap=cap) for cap in ("50 SOL", "51 SOL"))
        settings = read_settings(new.directory / "signer.toml")
        recovery._fill(recovery._candidate(settings), made, parse_policy(first), first)
        given = arguments(new, file, second, "alice", "carol")
        words = "begun with another policy: prepare again"
        assert words in new.refused(*given, typed=digest(second) + "\n")
        file.unlink()
        file = prepare(new)
        given = arguments(new, file, second, "alice", "carol")
        new.done(*given, typed=digest(second) + "\n")


def test_a_token_without_a_record_and_one_with_two(host: Host, policy: bytes) -> None:
    with temporary_host(host) as copy:
        records(copy, lambda _: [])
        assert "JOURNAL_FOREIGN: the token holds no record of journal" in diagnosed(copy)
        file = prepare(copy)
        assert decode(Recover, file.read_bytes()).old_journal == ""
        given = arguments(copy, file, policy, "alice", "carol")
        assert "the digest typed" in copy.refused(*given)
        copy.done(*given, typed=digest(policy) + "\n")
        with copy.serving():
            assert copy.ask(STATUS).status.locked == ""
    file = prepare(host)
    given = arguments(host, file, policy, "alice", "carol")
    before = records(host, lambda kept: kept)
    host.done(*given)
    records(host, lambda kept: [*before, *kept])  # killed before the old one was destroyed
    assert "is in place" in host.done(*given)
    with host.serving():
        assert host.ask(STATUS).status.locked == ""
    [record] = records(host, lambda kept: kept)
    assert decode(Recover, file.read_bytes()).new_journal in record.decode()


def test_a_full_disk_leaves_everything_as_it_was(host: Host, policy: bytes) -> None:
    file = host.directory / "recover.json"
    for limit in (8, 64):  # with none, SoftHSM itself loses its token's own file at a login
        words = host.limited(limit, "recover", "prepare", file)
        assert "make room or mend it" in words
        assert not file.exists()
    prepare(host)
    given = arguments(host, file, policy, "alice", "carol")
    for limit in (8, 64):
        with temporary_host(host) as copy:
            moved = [str(part).replace(str(host.directory), str(copy.directory)) for part in given]
            words = copy.limited(limit, *moved)
            assert "make room or mend" in words
            assert "address book  version 1" in copy.done(*moved)
            with copy.serving():
                assert copy.ask(STATUS).status.locked == ""


def test_the_journal_may_be_a_link(host: Host, policy: bytes) -> None:
    disk = host.directory / "disk"
    disk.mkdir()
    (host.directory / "journal").rename(disk / "journal")
    (host.directory / "journal").symlink_to("disk/journal")
    recover(host, policy)
    assert (host.directory / "journal").is_symlink()
    assert len(list(disk.glob("journal.before-*/journal"))) == 1
    with host.serving():
        assert host.ask(STATUS).status.locked == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_root_makes_nothing_that_the_signers_user_cannot_open(host: Host) -> None:
    os.chown(host.directory, 4242, -1)
    words = host.refused("recover", "prepare", host.directory / "recover.json")
    assert "run it as the user that signer serve runs as" in words


def test_a_wrong_clock(host: Host, policy: bytes) -> None:
    """Set ahead while it signed, across a restart of the host; then set right."""
    for change, said, cures in (
        ("wall = wall - 3600000", "3[56].. s ahead of", False),
        ("wall = wall + 3600000", "3[56].. s behind", False),
        ("wall = wall - 3600000, boot = 'before'", "ok       journal", True),
        ("wall = wall + 3600000, boot = 'before'", "3[56].. s behind", True),
    ):
        with temporary_host(host) as copy:
            with closing(sqlite3.connect(copy.directory / "journal")) as db, db:
                db.execute(f"UPDATE meta SET {change}")  # noqa: S608
            done = copy.tried("doctor")
            assert re.search(said, done.stdout), done.stdout
            assert done.returncode == (said != "ok       journal")
            if done.returncode:
                assert "restart the host, and the watchtower's first lease" in done.stdout
            with copy.serving():
                code = pay(copy, "new", 2).refusal.code
                assert code == ("" if cures else "CLOCK_DIFFERS")
            if not cures:
                recover(copy, policy)
            assert copy.tried("doctor").returncode == 0


def test_the_last_try_of_the_so_pin_is_left_to_people() -> None:
    for flag, words in (
        (P.CKF_SO_PIN_LOCKED, "no way out but a new token"),
        (P.CKF_SO_PIN_FINAL_TRY, "one last try of the SO PIN"),
    ):
        with pytest.raises(PinLockedError, match=words):
            token_init.refuse_last_try(flag)
    token_init.refuse_last_try(P.CKF_SO_PIN_COUNT_LOW)


def test_the_doctor_uses_up_no_tries(host: Host) -> None:
    pin = host.directory / "pin"
    pin.write_text("f" * 64 + "\n")
    assert "wrong PIN, not tried again" in diagnosed(host)
    assert "so none is tried here" in diagnosed(host)
    pin.write_text(host.pin + "\n")
    assert "so none is tried here" in diagnosed(host)
    with host.serving():
        assert host.ask(STATUS).status.locked == ""
    assert "the PIN fits" in diagnosed(host)


def test_the_doctor_says_that_nobody_serves(host: Host) -> None:
    warning = "WARNING  serving   no signer serves"
    done = host.tried("doctor")
    assert (done.returncode, warning in done.stdout) == (0, True)
    with host.serving():
        assert warning not in diagnosed(host)
    lose_journal(host)
    assert warning not in diagnosed(host), "something else comes first"


def test_the_doctor_compares_policy_and_token(host: Host, policy: bytes) -> None:
    with temporary_host() as other:
        init = other.done("init", "--so-pin-file", other.directory / "so-pin").split()
        genesis(other, policy_file(signer=init[2], more=wallet_text("cold-sol")))
        assert "hot-sol's key is not in this token" in diagnosed(other)
        assert "cold-sol" not in diagnosed(other), "another signer's"
        other.done("keygen", "cold-sol")
        assert "WARNING  wallet    cold-sol is held, but" in diagnosed(other)
        other.done("keygen", "hot-sol")
        assert "hot-sol's key has another address" in diagnosed(other)
        with other.serving():
            assert "hot-sol's key has another address" in diagnosed(other)
    (host.directory / "journal").chmod(0o644)
    done = host.tried("doctor")
    assert (done.returncode, "chmod 600" in done.stdout) == (0, True)


def test_the_doctor_near_a_network_warns(host: Host) -> None:
    printed = host.done("doctor")
    assert printed.startswith("WARNING  network   this shell sees more than lo")


def test_the_doctor_says_when_the_journal_may_not_be_opened(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    settings = read_settings(host.directory / "signer.toml")
    finding = doctor._journal(settings)
    assert isinstance(finding, doctor.Finding)
    assert "may not read and write" in finding.found


def test_the_version(host: Host) -> None:
    assert host.done("--version") == f"signer {metadata.version('kura')}\n"


def test_a_lost_pin(host: Host) -> None:
    (host.directory / "pin").write_text("f" * 64 + "\n")
    found = diagnosed(host)
    assert "wrong PIN, not tried again" in found
    assert "signer pin" in found
    host.done("pin", "--so-pin-file", host.directory / "so-pin")
    with host.serving():
        assert host.ask(STATUS).status.locked == ""


def test_a_sound_signer_and_one_that_serves(host: Host) -> None:
    assert "PROBLEM" not in diagnosed(host)
    with host.serving():
        assert "WARNING  lease     none: hot wallets wait for the watchtower's" in diagnosed(host)
        assert "lease         none: hot wallets wait" in host.done("status")
        host.lease()
        assert "WARNING" not in diagnosed(host)
        order = make_freeze()
        assert host.ask(freeze_job(order)).HasField("applied")
        assert f"PROBLEM  freeze    all wallets by alice, {digest(encode(order))}" in diagnosed(
            host
        )
        said = host.done("status")
        assert re.search(r"lease +until \d{4}-", said)
        assert f"FROZEN        all wallets by alice, {digest(encode(order))}" in said


def diagnosed(host: Host) -> str:
    """Return what `signer doctor` prints."""
    return host.tried("doctor").stdout


def tightened(policy: bytes, revoked: str) -> bytes:
    """Return a second version without one of its officers, who are alice, bob and carol."""
    text = policy.decode().replace("version = 1", "version = 2", 1)
    text = text.replace('previous = ""', f'previous = "{digest(policy)}"', 1)
    text = text.replace(f'members = ["{revoked}", ', "members = [", 1)
    return re.sub(rf"\[people\.{revoked}\]\nkeys = .*\n", "", text).encode()


def policy_changes(file: bytes) -> list[wire.SignedStatement]:
    previous = parse_policy(file).previous
    changes = [
        make_change("policy", digest(file), person, previous=previous, expires=now() + HOUR)
        for person in ("alice", "carol")
    ]
    return [enveloped(change) for change in changes]


def records(host: Host, change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    """Give the token other records; return the ones that it had."""
    done = subprocess.run(
        [sys.executable, "-c", RECORDS],
        input=repr((str(softhsm.MODULE), host.pin)),
        env=host._environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    kept: list[bytes] = ast.literal_eval(done.stdout)
    after = change(kept)
    if after != kept:
        subprocess.run(
            [sys.executable, "-c", RECORDS],
            input=repr((str(softhsm.MODULE), host.pin, after)),
            env=host._environment(),
            check=True,
            text=True,
            capture_output=True,
        )
    return kept


RECORDS = """
import ast, sys
from pathlib import Path
import PyKCS11 as P
from signer.hsm import RECORD, Token, _find_records
module, pin, *after = ast.literal_eval(sys.stdin.read())
token = Token.open(Path(module), "kura", pin)
print(token.records())
if after:
    found = _find_records(token._session)
    for handles in found.values():
        for handle in handles:
            token._session.destroyObject(handle)
    data = [(P.CKA_CLASS, P.CKO_DATA), (P.CKA_TOKEN, True), (P.CKA_PRIVATE, True)]
    for value in after[0]:
        token._session.createObject([*data, (P.CKA_LABEL, RECORD), (P.CKA_VALUE, value)])
token.close()
"""


def test_the_watchtowers_orders_of_the_old_journal_mean_nothing_to_the_new(
    host: Host, policy: bytes
) -> None:
    """A new key where the quorum named one, a new epoch, and fees to advance the nonces."""
    order = make_freeze()
    with host.serving():
        frozen = host.ask(freeze_job(order)).applied.digest
        lifts = [make_unfreeze(name, frozen, expires=now() + HOUR) for name in ("alice", "carol")]
    file = host.directory / "recover.json"
    new = public("tracing")
    assert f"watchtower   {new}" in host.done("recover", "prepare", file, "--watchtower", new)
    assert decode(Recover, file.read_bytes()).watchtower == new
    host.done(*arguments(host, file, policy, "alice", "carol"))
    epoch = digest(file.read_bytes())
    with host.serving():
        status = host.ask(STATUS).status
        assert (status.epoch, status.watchtower, list(status.freezes)) == (epoch, new, [])
        assert host.ask(freeze_job(order)).refusal.code == "EPOCH_PASSED"
        assert host.ask(unfreeze_job(*lifts)).refusal.code == "EPOCH_PASSED"
        assert host.ask(nonce_advance()).HasField("signed"), "before any lease"
        hello = host.ask(HELLO)
        assert host.ask(lease_job(hello, time=now())).refusal.field == "key", "the old one's"
        assert host.ask(lease_job(hello, time=now(), key=new)).HasField("applied")
        made = now() + EARLY_MS
        intent = make_intent(request_id="since", created=made, expires=made + HOUR)
        assert host.ask(transfer(intent)).refusal.code == "WINDOW_EXCEEDED"
    words = host.tried("recover", "prepare", host.directory / "other.json", "--watchtower", "x")
    assert "ed25519" in words.stderr


def test_a_policy_version_with_another_watchtower_ends_what_a_recovery_named(
    host: Host, policy: bytes
) -> None:
    """One that names the same as before does not: that key may be why there was a recovery."""
    file = host.directory / "recover.json"
    host.done("recover", "prepare", file, "--watchtower", public("tracing"))
    host.done(*arguments(host, file, policy, "alice", "carol"))
    path = host.directory / "journal"
    before = parse_policy(policy)
    for watchtower, kept in (("watchtower", public("tracing")), ("partner", "")):
        text = policy.replace(public("watchtower").encode(), public(watchtower).encode())
        number = b"version = %d" % before.version
        text = text.replace(number, b"version = %d" % (before.version + 1), 1)
        previous = f'previous = "{before.previous}"'.encode()
        text = text.replace(previous, f'previous = "{before.digest}"'.encode(), 1)
        with closing(Journal(path)) as journal:
            next_one = parse_policy(text)
            Governance(journal).put_in_force(next_one, text, look())
            assert Governance(journal).watchtower(next_one) == (kept or next_one.watchtower)
        before, policy = next_one, text


def test_the_watchtower_that_a_recovery_named_outlives_the_next_recovery(
    host: Host, policy: bytes
) -> None:
    """The policy's key may be stolen: who has it would call what is paid dead."""
    file, new = host.directory / "recover.json", public("tracing")
    host.done("recover", "prepare", file, "--watchtower", new)
    host.done(*arguments(host, file, policy, "alice", "carol"))
    again = host.directory / "again.json"
    assert f"watchtower   {new}" in host.done("recover", "prepare", again)
    assert decode(Recover, again.read_bytes()).watchtower == new
    (host.directory / "journal").unlink()
    lost = host.directory / "lost.json"
    assert "the key that the policy names" in host.done("recover", "prepare", lost)
    assert decode(Recover, lost.read_bytes()).watchtower == ""
