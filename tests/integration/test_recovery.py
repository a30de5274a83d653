"""Every locked signer has a lawful way out, offline and by quorum: real processes, a real token."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.policy_file import parse_policy
from policies.signature_file import format_signature
from policies.statements import digest, encode
from signer import recovery
from signer.settings import read_settings
from tests.factories import HOUR, key, make_book, make_change, make_intent, policy_file, sign
from tests.integration.test_signer_main import genesis, signed_changes
from tests.signer_host import Host, now, temporary_host
from tests.signing import apply_statement, transfer

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
    made = created or now()
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
        assert "JOURNAL_BEHIND" in host.done("status")
    assert "put the newest journal file back, or recover by quorum" in diagnosed(host)
    assert "address book  version 1" in recover(host, policy)  # it was the newest
    [evidence] = host.directory.glob("journal.before-*[0-9a-f]")
    assert evidence.name == f"journal.before-{status.journal}"
    with host.serving():
        assert host.ask(STATUS).status.locked == ""
        assert pay(host, "new", 4).refusal.code == "WINDOW_EXCEEDED"


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
    again = host.directory / "again.json"
    host.done("recover", "prepare", again)  # a second candidate takes the first one's place
    words = host.refused(*arguments(host, file, policy, "alice", "carol"))
    assert "not the one that was signed" in words


def test_a_crash_at_any_step_is_gone_on_from(host: Host, policy: bytes) -> None:
    lose_journal(host)
    file = prepare(host)
    for done in range(3):
        with temporary_host(host) as copy:
            settings = read_settings(copy.directory / "signer.toml")
            candidate, opened = recovery._candidate(settings), parse_policy(policy)
            if done > 0:
                recovery._fill(candidate, settings.journal, opened, policy, book="")
            if done > 1:
                recovery._put_in_place(candidate, settings.journal, "x")
            given = arguments(copy, file, policy, "alice", "carol")
            assert "is in place; policy" in copy.done(*given)
            assert "is in place already" in copy.done(*given)
            with copy.serving():
                assert copy.ask(STATUS).status.locked == ""


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
        assert "and signs" in diagnosed(host)


def diagnosed(host: Host) -> str:
    """Return what `signer doctor` prints."""
    return host.tried("doctor").stdout
