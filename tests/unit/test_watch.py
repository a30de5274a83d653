"""What an officer is told, once, and what changed since the last list."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from custody.cli import watch as watching
from custody.cli.session import unix_ms
from policies.statements import digest
from tests.factories import CUSTOMER, HOUR, SOL, STRANGER, key, make_intent, policy_file, sign
from tests.memory_custody import CallError, MemoryCustody, config_file, shown

Run = Callable[..., tuple[int, str, str]]
HOOKS = Path(__file__).parents[2] / "docs" / "examples" / "hooks"


def program(file: Path, script: str) -> Path:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o700)
    return file


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """What the hook wrote."""
    return tmp_path / "heard"


@pytest.fixture
def hook(tmp_path: Path, heard: Path) -> Path:
    script = f'echo "$KURA_EVENT|$KURA_WITHDRAWAL|$KURA_SUBJECT" >> {heard}; cat >> {heard}.text'
    return program(tmp_path / "hook.sh", script)


def events(heard: Path) -> list[str]:
    return [line.split("|")[0] for line in heard.read_text().splitlines()] if heard.exists() else []


@pytest.fixture
def look(run: Run, alice: Path, hook: Path) -> Callable[..., tuple[int, str, str]]:
    """Look once, as a timer does: a new process each time."""
    return lambda *options, config=alice: run(
        "--config", config, "approval", "watch", "--once", "--hook", hook, *options
    )


def test_a_hook_hears_of_each_withdrawal_once(look: Run, heard: Path, pending: str) -> None:
    assert [look()[0] for _ in range(2)] == [0, 0]
    (line,) = heard.read_text().splitlines()
    event, withdrawal, subject = line.split("|")
    assert (event, withdrawal) == ("pending", pending)
    for word in ("20 SOL", "hot-sol", STRANGER.address, "exchange"):
        assert word in subject
    text = heard.with_suffix(".text").read_text()
    for word in ("tag 7", "1 of operations and 1 of risk", pending.split("/")[1]):
        assert word in text


def test_it_is_reminded_once_before_the_end(
    look: Run, heard: Path, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look()
    later = unix_ms() + 5 * HOUR // 2
    monkeypatch.setattr(watching, "unix_ms", lambda: later)
    assert [look()[0] for _ in range(2)] == [0, 0]
    assert events(heard) == ["pending", "reminder"]


def test_who_has_decided_or_has_no_empty_seat_is_not_disturbed(
    run: Run, look: Run, heard: Path, alice: Path, pending: str
) -> None:
    bob = config_file(alice.parent, "bob", pinned=digest(policy_file()))
    assert run("--config", alice, "approval", "approve", pending, "--yes")[0] == 0
    look(config=alice)
    assert events(heard) == []
    carol = config_file(alice.parent, "carol", pinned=digest(policy_file()))
    look(config=carol)
    assert events(heard) == ["pending"]
    assert run("--config", carol, "approval", "approve", pending, "--yes")[0] == 0
    look(config=bob)  # of both groups, and nobody is missing
    assert events(heard) == ["pending"]


def test_what_is_not_verified_is_never_told_as_a_request(
    look: Run, custody: MemoryCustody, heard: Path, pending: str
) -> None:
    custody.lie = lambda item: setattr(item.destination, "address", CUSTOMER.address)
    assert [look()[0] for _ in range(2)] == [0, 0]
    assert events(heard) == ["unverified"]
    assert "NOT VERIFIED" in heard.read_text()
    custody.policy = policy_file(cap="5000 SOL")
    look()
    assert events(heard) == ["unverified", "unverified"]


def test_one_lie_does_not_hide_another(
    look: Run, custody: MemoryCustody, heard: Path, pending: str
) -> None:
    custody.lie = lambda item: setattr(item, "name", "policy")
    assert [look()[0] for _ in range(2)] == [0, 0]
    custody.policy = policy_file(cap="5000 SOL")
    assert [look()[0] for _ in range(2)] == [0, 0]
    first, second = heard.read_text().splitlines()
    assert "a withdrawal that nobody signed so" in first
    assert "another policy than the one you pinned" in second


def test_a_hook_that_fails_is_told_and_run_again_and_stops_no_other(
    run: Run, custody: MemoryCustody, alice: Path, heard: Path, pending: str
) -> None:
    now = unix_ms()
    other = make_intent(amount=30 * SOL, request_id="w-2", created=now, expires=now + 3 * HOUR)
    second = shown(sign(key("exchange"), other))
    custody.withdrawals[second.name] = second
    script = f'echo "x" >> {heard}; test "$KURA_WITHDRAWAL" != {pending}'
    failing = program(alice.parent / "failing.sh", script)
    command = ("--config", alice, "approval", "watch", "--once", "--hook", failing)
    code, out, err = run(*command)
    assert (code, "exit code 1" in err, out.count("30 SOL")) == (1, True, 1)
    assert len(events(heard)) == 2
    failing.write_text("#!/bin/sh\nexit 0\n")
    code, out, _ = run(*command)
    assert (code, out.count("20 SOL"), out.count("30 SOL")) == (0, 1, 0)
    code, _, err = run(*command[:-1], alice.parent / "absent.sh")
    assert code == 0  # nothing is left to tell


def test_a_hook_that_is_not_there_is_named(run: Run, alice: Path, pending: str) -> None:
    command = ("--config", alice, "approval", "watch", "--once", "--hook", alice.parent / "none.sh")
    code, _, err = run(*command)
    assert (code, "none.sh: No such file" in err) == (1, True)


@pytest.mark.usefixtures("alice_at_home", "pending")
def test_a_watch_goes_on_when_custody_comes_back(
    run: Run, custody: MemoryCustody, hook: Path, heard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custody.outages = [CallError(grpc.StatusCode.INTERNAL, "away")]
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pause)
    with pytest.raises(SystemExit):
        run("approval", "watch", "--hook", hook)
    assert events(heard) == ["pending"]


def test_a_spoilt_memory_tells_again(look: Run, alice: Path, heard: Path, pending: str) -> None:
    memory = alice.with_suffix(".watched.json")
    look()
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    for spoilt in ("{", "[1]", '{"a": 1}', '{"a": [1]}'):
        memory.write_text(spoilt)
        look()
    assert events(heard) == ["pending"] * 5
    assert sorted(item.name for item in alice.parent.glob("*.json*")) == [memory.name]


def test_a_list_says_what_changed_since_last_time(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    command = ("--config", alice, "approval", "list")

    def row() -> str:
        return run(*command)[1].splitlines()[1]

    first, second = row(), row()
    assert first.split()[0] == "new"
    assert second.split()[0] == "20"
    for word in ("nobody yet", "needed", "exchange"):
        assert word in first
    bob = config_file(alice.parent, "bob", pinned=digest(policy_file()))
    assert run("--config", bob, "approval", "approve", pending, "--yes")[0] == 0
    third = row()
    assert third.startswith("changed: approve by bob  20 SOL")
    assert "not needed" in third
    assert row().split()[0] == "20"
    custody.withdrawals[pending].approvals.pop()
    assert row().startswith("changed: no more approve by bob  20 SOL")
    gone = custody.withdrawals.pop(pending)
    assert run(*command)[1] == "nothing waits for officers\n"
    custody.withdrawals[pending] = gone
    assert row().startswith("new")
    del custody.withdrawals[pending]
    told = f"no longer waits for officers: {pending};"
    assert [told in run(*command)[2] for _ in range(2)] == [True, False]


@pytest.mark.parametrize(("hook_name", "tool"), [("mail.sh", "sendmail"), ("chat.sh", "curl")])
@pytest.mark.usefixtures("alice_at_home", "pending")
def test_the_documented_hooks_send(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook_name: str, tool: str
) -> None:
    (tmp_path / "bin").mkdir()
    sent = tmp_path / "sent"
    program(tmp_path / "bin" / tool, f'printf "%s\\n" "$@" > {sent}; cat >> {sent}')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("KURA_MAIL_TO", "alice@example.org")
    assert run("approval", "watch", "--once", "--hook", HOOKS / hook_name)[0] == 0
    said = sent.read_text()
    assert "pending: 20 SOL from hot-sol" in said
    assert (tool == "curl") == ('{"text": "pending: ' in said)
    assert (tool == "sendmail") == ("To: alice@example.org\n" in said)
