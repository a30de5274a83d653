"""Two real signers on one token: a restored copy of the journal beside the one that is served."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import digest, encode
from signer.frames import FrameError
from tests import softhsm
from tests.factories import HOUR, make_book, make_intent, policy_file
from tests.integration.test_signer_main import genesis, signed_changes
from tests.signer_host import Host, now, temporary_host
from tests.signing import apply_statement, transfer

STATUS = wire.Job(status=wire.Status())
WORDS = "signer stopped: RecordsChangedError: another signer uses this token: stop it"


@pytest.fixture(scope="module")
def made() -> Iterator[Host]:
    """A host with a policy and an address book in force."""
    with temporary_host() as host:
        init = host.done("init", "--so-pin-file", host.directory / "so-pin").split()
        keygen = host.done("keygen", "hot-sol").split()
        address = keygen[keygen.index("address") + 1]
        genesis(host, policy_file(signer=init[2], address=address))
        book = make_book()
        with host.serving():
            applied = host.ask(apply_statement(encode(book), signed_changes(book))).applied
            assert applied.digest == digest(encode(book))
        yield host


@pytest.fixture
def host(made: Host) -> Iterator[Host]:
    with temporary_host(made) as copy:
        yield copy


@contextmanager
def copied(host: Host) -> Iterator[Host]:
    """Another host with a copy of everything, and the same token."""
    with temporary_host(host) as other:
        tokens = host.directory / "tokens"
        conf = other.directory / "softhsm2.conf"
        conf.write_text(softhsm._CONF.format(tokens=tokens))
        yield other


def pay(host: Host, number: int) -> wire.Result:
    created = now()
    intent = make_intent(request_id=f"w-{number}", created=created, expires=created + HOUR)
    return host.ask(transfer(intent, nonce_value=number.to_bytes(32, "big")))


def signed(host: Host, number: int) -> bool:
    """Whether an answer left, which must be a signature then."""
    try:
        return pay(host, number).HasField("signed")
    except (FrameError, OSError, AssertionError):
        return False


def put_back(backup: bytes, host: Host) -> None:
    for suffix in ("-wal", "-shm"):
        (host.directory / f"journal{suffix}").unlink(missing_ok=True)
    (host.directory / "journal").write_bytes(backup)


def test_the_second_to_write_stops_before_its_answer_leaves(host: Host) -> None:
    with copied(host) as other, host.serving(), other.serving() as second:
        assert other.ask(STATUS).status.locked == host.ask(STATUS).status.locked == ""
        assert signed(host, 1)
        assert not signed(other, 2)
        assert second.wait(60) == os.EX_SOFTWARE
        assert second.stderr
        assert WORDS in second.stderr.read()
        assert signed(host, 3)
    with copied(host) as late, late.serving():
        assert signed(late, 4), "a copy of the newest goes on"


def test_whichever_writes_first_the_other_one_stops(host: Host) -> None:
    with copied(host) as other, host.serving() as first, other.serving():
        assert signed(other, 1)
        assert not signed(host, 2)
        assert first.wait(60) == os.EX_SOFTWARE


@pytest.mark.parametrize("attempt", range(4))
def test_at_the_same_time_one_answer_leaves_at_most(host: Host, attempt: int) -> None:
    with copied(host) as other, host.serving() as first, other.serving() as second:
        with ThreadPoolExecutor(2) as pool:
            left = list(pool.map(signed, (host, other), (1, 2)))
        assert sum(left) <= 1
        for process, answered in zip((first, second), left, strict=True):
            assert answered or process.wait(60) == os.EX_SOFTWARE
        again = [signed(each, 3 + number) for number, each in enumerate((host, other))]
        assert sum(again) <= sum(left)


def test_the_one_that_stopped_is_told_that_it_is_behind(host: Host) -> None:
    with copied(host) as other:
        with host.serving():
            assert signed(host, 1)
        with other.serving():
            assert pay(other, 2).refusal.code == Code.JOURNAL_BEHIND
            status = other.ask(STATUS).status
            assert (status.locked, status.sequence) == (Code.JOURNAL_BEHIND, 2)
        with host.serving():
            assert signed(host, 3)


def test_yesterdays_journal_is_noticed_after_kill_9(host: Host) -> None:
    """What was answered is in the token, though the process had no time to tidy up."""
    backup = (host.directory / "journal").read_bytes()
    with host.serving():
        assert signed(host, 1)
    newest = [path for path in host.directory.iterdir() if path.name.startswith("journal")]
    kept = {path.name: path.read_bytes() for path in newest}
    put_back(backup, host)
    with host.serving():
        assert pay(host, 1).refusal.code == Code.JOURNAL_BEHIND
        assert "JOURNAL_BEHIND" in host.done("status")
    for suffix in ("-wal", "-shm"):
        (host.directory / f"journal{suffix}").unlink(missing_ok=True)
    for name, content in kept.items():
        (host.directory / name).write_bytes(content)
    with host.serving():
        assert signed(host, 2)
