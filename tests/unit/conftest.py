"""What the tests of the command `custody` share: a way to run it, a custody to talk to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from custody.cli.session import unix_ms
from custody.main import main
from policies.statements import Destination, digest
from tests.factories import HOUR, SOL, STRANGER, key, make_intent, policy_file, sign
from tests.memory_custody import MemoryCustody, config_file, serve, shown

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("KURA_CONFIG", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(item) for item in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def custody(monkeypatch: pytest.MonkeyPatch) -> MemoryCustody:
    return serve(monkeypatch, MemoryCustody(policy_file()))


@pytest.fixture
def pending(custody: MemoryCustody) -> str:
    """A withdrawal of 20 SOL that waits for operations and risk."""
    now = unix_ms()
    to = Destination(STRANGER.address, "tag 7")
    intent = make_intent(amount=20 * SOL, destination=to, created=now, expires=now + 3 * HOUR)
    withdrawal = shown(sign(key("exchange"), intent))
    custody.withdrawals[withdrawal.name] = withdrawal
    return withdrawal.name


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return config_file(tmp_path, "alice", pinned=digest(policy_file()))


@pytest.fixture
def alice_at_home(run: Run, alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make alice's settings the ones that need not be named."""
    monkeypatch.setenv("KURA_CONFIG", str(alice))
