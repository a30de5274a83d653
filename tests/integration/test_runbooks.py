"""The pages under docs/runbooks, followed step by step on real signers with a real token."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from custody.dev.layout import OFFICERS, Layout
from custody.dev.system import System
from custody.keys import load_key
from policies.fields import raw_key
from policies.statements import digest, encode
from signer.chains.solana_address import encode_address
from tests.factories import make_book, policy_file
from tests.integration.test_recovery import STATUS, lose_journal, pay
from tests.integration.test_signer_main import genesis, signed_changes
from tests.memory_custody import key_file
from tests.runbooks import PAGES, Reader, agrees, sections
from tests.signer_host import Host, temporary_host
from tests.signing import apply_statement

RECOVER, PIN = sections("recover.md"), sections("pin.md")
OFFICERS_PAGE = sections("officers.md")


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
def reader(host: Host, in_use: tuple[Host, bytes], tmp_path: Path) -> Reader:
    """Somebody with the policy and the officers' keys at hand."""
    return officers(tmp_path, host, in_use[1])


def officers(folder: Path, host: Host, policy: bytes) -> Reader:
    for person in ("alice", "bob", "carol"):
        key_file(folder, person)
    (folder / "policy.toml").write_bytes(policy)
    return Reader(folder, host)


def recover(reader: Reader, host: Host) -> None:
    prepared, signed, applied, served = RECOVER["Recovery"]
    for block in (prepared, signed, applied):
        reader.follow(block)
    with host.serving():
        host.lease()
        reader.follow(served)
        assert host.ask(STATUS).status.locked == ""
        code = pay(host, "after", 9).refusal.code
    assert code in {"WINDOW_EXCEEDED", "DESTINATION_NOT_ALLOWED"}
    assert len(list(host.directory.glob("journal.before-*"))) <= 1


def test_lost_journal(reader: Reader, host: Host) -> None:
    lose_journal(host)
    [looked] = RECOVER["Lost journal"]
    reader.follow(looked)
    recover(reader, host)


def test_older_copy(reader: Reader, host: Host) -> None:
    with temporary_host(host) as before:
        with host.serving():
            assert pay(host, "since", 2).HasField("signed")
        lose_journal(host)
        for file in before.directory.glob("journal*"):
            shutil.copy(file, host.directory)
    [looked] = RECOVER["Older copy of the journal"]
    with host.serving():
        reader.follow(looked)
    recover(reader, host)
    [evidence] = host.directory.glob("journal.before-*/journal")
    assert evidence.stat().st_size


def test_a_foreign_journal(reader: Reader, host: Host) -> None:
    with temporary_host() as other:
        other.done("init", "--so-pin-file", other.directory / "so-pin")
        lose_journal(host)
        shutil.copy(other.directory / "journal", host.directory)
    [looked] = RECOVER["Journal and token do not belong together"]
    reader.follow(looked)
    recover(reader, host)


def test_a_new_signer(tmp_path: Path, in_use: tuple[Host, bytes]) -> None:
    made, brought = RECOVER["New signer with a new token"]
    with temporary_host() as new:
        reader = officers(tmp_path, new, in_use[1])
        reader.follow(made)
        with new.serving():
            status = new.ask(STATUS).status
        second = policy_file(
            version=2,
            previous=digest(in_use[1]),
            signer=status.audit_key,
            address=encode_address(raw_key(status.keys[0].key)),
        )
        (tmp_path / "policy-2.toml").write_bytes(second)
        (tmp_path / "book-1.json").write_bytes(encode(make_book()))
        reader.typed = digest(second) + "\n"
        reader.follow(brought)
        with new.serving():
            assert new.ask(STATUS).status.book_version == "1"
            assert pay(new, "after", 9).refusal.code == "WINDOW_EXCEEDED"


def test_a_token_that_is_gone(reader: Reader, host: Host) -> None:
    """The backup is older than the journal, by a payment."""
    tokens, backup = host.directory / "tokens", host.directory / "backup"
    shutil.copytree(tokens, backup)
    with host.serving():
        assert pay(host, "since", 2).HasField("signed")
    shutil.rmtree(tokens)
    tokens.mkdir(mode=0o700)
    [looked] = RECOVER["Token gone"]
    reader.follow(looked)
    shutil.copytree(backup, tokens, dirs_exist_ok=True)
    with host.serving():
        assert pay(host, "on", 3).HasField("signed")
    [token] = tokens.glob("*/token.object")
    token.write_bytes(b"")  # a login on a full disk
    reader.follow(looked)
    shutil.copy(next(backup.glob("*/token.object")), token)
    with host.serving():
        assert pay(host, "further", 4).HasField("signed")


def test_a_wrong_clock(reader: Reader, host: Host) -> None:
    [looked] = RECOVER["Wrong clock"]
    set_time(host, "wall = wall - 3600000")
    with host.serving():
        reader.follow(looked)
        assert pay(host, "early", 2).refusal.code == "CLOCK_DIFFERS"
    set_time(host, "boot = 'before a restart of the host'")
    with host.serving():
        assert pay(host, "restarted", 2).HasField("signed")
    set_time(host, "wall = wall + 3600000, boot = 'before a restart of the host'")
    with host.serving():
        assert pay(host, "behind-restarted", 3).HasField("signed"), "by its first lease"
    set_time(host, "wall = wall + 3600000")
    with host.serving():
        assert pay(host, "behind", 4).refusal.code == "CLOCK_DIFFERS"
    recover(reader, host)


def test_a_lost_user_pin(reader: Reader, host: Host) -> None:
    looked, set_anew = PIN["User PIN wrong, lost or locked"]
    (host.directory / "pin").write_text("f" * 64 + "\n")
    reader.follow(looked)
    reader.follow(set_anew)
    with host.serving():
        assert pay(host, "since", 2).HasField("signed"), "it costs nothing"


def test_a_lost_so_pin(reader: Reader, host: Host) -> None:
    (host.directory / "so-pin").write_text("f" * 64 + "\n")
    [asked] = PIN["SO PIN lost"]
    reader.follow(asked)
    with host.serving():
        assert pay(host, "since", 2).HasField("signed")


def test_no_command_is_left_out() -> None:
    assert [*RECOVER] == [
        "Recovery",
        "Lost journal",
        "Older copy of the journal",
        "Journal and token do not belong together",
        "New signer with a new token",
        "Token gone",
        "Wrong clock",
    ]
    assert [*PIN] == ["User PIN wrong, lost or locked", "SO PIN lost"]
    parts = ["Who can be spared", "An officer leaves", "A key is stolen, or may be"]
    assert [*OFFICERS_PAGE] == parts


def test_what_is_not_shown_fails() -> None:
    assert agrees("a … c\n…\nd", "a b c\nx\ny\nd\n")
    assert agrees("", "")
    for shown in ("a", "a b c\nd", "a b", "…\na"):
        assert not agrees(shown, "a b c\nx\nd\n")


def set_time(host: Host, change: str) -> None:
    """Make the journal's time another, as a wrong clock would have."""
    with closing(sqlite3.connect(host.directory / "journal")) as db, db:
        db.execute(f"UPDATE meta SET {change}")  # noqa: S608


def test_links_lead_somewhere() -> None:
    for page in PAGES.glob("*.md"):
        text = page.read_text()
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, part = target.partition("#")
            other = (page.parent / file).read_text() if file else text
            headings = [line.lstrip("# ") for line in other.splitlines() if line.startswith("#")]
            names = {heading.lower().replace(" ", "-").replace(",", "") for heading in headings}
            assert not part or part in names, (page.name, target)


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    whole = System(tmp_path_factory.mktemp("k") / "up", print, in_memory_chain=True)
    try:
        whole.up()
        yield whole
    finally:
        whole.down()


def test_officers(system: System, tmp_path: Path) -> None:
    """The whole page, in order: one leaves, her new key waits, and is vetoed."""
    layout = system.layout
    for person in OFFICERS:
        (tmp_path / f"{person}.toml").symlink_to(layout.client(person))
        shutil.copy(layout.key(person), tmp_path / f"{person}.pem")
    shutil.copy(layout.policy, tmp_path / "policy.toml")
    reader = Reader(tmp_path, given=["--config", str(layout.signer_settings)])
    reader.environment |= layout.environment
    checked, seen = OFFICERS_PAGE["Who can be spared"]
    reader.follow(checked)
    reader.follow(seen)
    shown, left = OFFICERS_PAGE["An officer leaves"]
    reader.follow(shown)
    first = (tmp_path / "policy-2.toml").read_text()
    second = first.replace("version = 1\n", "version = 2\n")
    second = second.replace('previous = ""', f'previous = "{digest(first.encode())}"')
    second = second.replace('["alice", "bob"]', '["bob"]')
    second = re.sub(r"\[people\.alice\]\nkeys = .*\n", "", second)
    (tmp_path / "policy-2.toml").write_text(second)
    reader.follow(left)
    pin_policy(layout, second)
    created, waits, stopped = OFFICERS_PAGE["A key is stolen, or may be"]
    reader.typed = "a few words of hers\n" * 2
    reader.follow(created)
    new = load_key(tmp_path / "alice-new.pem", lambda: b"a few words of hers").public
    third = first.replace("version = 1\n", "version = 3\n")
    third = third.replace('previous = ""', f'previous = "{digest(second.encode())}"')
    third = re.sub(r"(\[people\.alice\]\nkeys = ).*", rf'\1["{new}"]', third)
    (tmp_path / "policy-3.toml").write_text(third)
    reader.follow(waits)
    reader.follow(stopped)


def pin_policy(layout: Layout, policy: str) -> None:
    """Everybody puts the new digest into their settings."""
    for person in OFFICERS:
        file = layout.client(person)
        digest_now = digest(policy.encode())
        line = f'policy_digest = "{digest_now}"'
        file.write_text(re.sub("policy_digest = .*", line, file.read_text()))
