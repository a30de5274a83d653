"""`custody approval reject`: both are told, and nothing that custody shows or hides stops it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from custody.cli import both
from custody.cli.session import unix_ms
from kura.custody.v1 import custody_pb2 as wire
from policies.approvals import open_rejection
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import INTENT_LIFE_MAX_MS, Approval, Signed, decode
from tests.factories import CUSTOMER, policy_file
from tests.memory_custody import CallError, MemoryCustody, config_file
from tests.memory_watchtower import TARGET, MemoryWatchtower, serve_both

Run = Callable[..., tuple[int, str, str]]
Deed = Callable[[MemoryCustody, str], None]
POLICY = parse_policy(policy_file())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(both, "PATIENCE", timedelta(seconds=0.2))
    monkeypatch.setattr("custody.cli.session.PATIENCE", timedelta(seconds=0.2))


@pytest.fixture
def watchtower(monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody) -> MemoryWatchtower:
    made = MemoryWatchtower()
    serve_both(monkeypatch, custody, made)
    return made


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return config_file(tmp_path, "alice", POLICY.digest, TARGET)


def down() -> list[grpc.RpcError]:
    return [CallError(grpc.StatusCode.UNAVAILABLE, "connection refused")] * 50


def rejected(watchtower: MemoryWatchtower, pending: str) -> Approval:
    """Return the one rejection that the watchtower was handed, of this withdrawal."""
    (request,) = watchtower.sent("CreateRejection")
    signed = Signed(request.rejection.statement, request.rejection.signature)
    opened = open_rejection(POLICY, signed, unix_ms())
    assert isinstance(opened, Approval), opened
    assert f"withdrawals/{opened.intent}" == pending
    # Custody could wait until it lapses, and use approvals that were made for longer.
    assert opened.expires > unix_ms() + INTENT_LIFE_MAX_MS
    return opened


def test_both_get_the_same_rejection(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, pending: str
) -> None:
    code, out, err = run("--config", alice, "approval", "reject", pending, "--yes")
    assert (code, err) == (0, "")
    assert rejected(watchtower, pending).approver == "alice"
    (told,), (kept,) = watchtower.sent("CreateRejection"), custody.sent("CreateApproval")
    assert kept.parent == pending
    assert kept.approval.statement == told.rejection.statement
    assert "custody: rejected; it says PENDING_APPROVAL" in out
    assert "watchtower: rejected; a signer that has not heard of it gets no lease" in out


def test_an_approval_goes_to_custody_alone(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, pending: str
) -> None:
    assert run("--config", alice, "approval", "approve", pending, "--yes")[0] == 0
    assert len(custody.sent("CreateApproval")) == 1
    assert watchtower.calls == []


def test_a_watchtower_that_is_down_is_a_warning(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, pending: str
) -> None:
    watchtower.outages = down()
    code, out, err = run("--config", alice, "approval", "reject", pending, "--yes")
    assert (code, "WARNING: the watchtower at " in err) == (0, True)
    assert "custody: rejected" in out
    assert len(custody.sent("CreateApproval")) == 1


def test_once_custody_has_it_it_can_still_be_handed_to_the_watchtower(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, pending: str
) -> None:
    watchtower.outages = down()
    command = ("--config", alice, "approval", "reject", pending, "--yes")
    assert run(*command)[0] == 0
    watchtower.outages, watchtower.calls = [], []
    assert run(*command)[0] == 0
    assert rejected(watchtower, pending)


def away(custody: MemoryCustody, _: str) -> None:
    custody.outages = down()


def hidden(custody: MemoryCustody, pending: str) -> None:
    del custody.withdrawals[pending]


def altered(custody: MemoryCustody, _: str) -> None:
    def lie(item: wire.Withdrawal) -> None:
        item.destination.address = CUSTOMER.address

    custody.lie = lie


def called_ended(custody: MemoryCustody, pending: str) -> None:
    custody.withdrawals[pending].state = wire.WITHDRAWAL_STATE_CANCELLED


@pytest.mark.parametrize("deed", [away, hidden, altered, called_ended])
def test_whatever_custody_shows_or_hides_the_watchtower_gets_it(  # noqa: PLR0917
    run: Run,
    custody: MemoryCustody,
    watchtower: MemoryWatchtower,
    alice: Path,
    pending: str,
    deed: Deed,
) -> None:
    deed(custody, pending)
    code, out, err = run("--config", alice, "approval", "reject", pending, "--yes")
    assert code == 0
    assert rejected(watchtower, pending).policy == POLICY.digest
    assert ("only the digest is shown" in err) == (deed is not called_ended)
    assert pending.removeprefix("withdrawals/") in out


@pytest.mark.parametrize("refused", [0, 1, 2, 3])
def test_signers_in_other_versions_are_told_in_theirs(  # noqa: PLR0917
    run: Run,
    custody: MemoryCustody,
    watchtower: MemoryWatchtower,
    alice: Path,
    pending: str,
    refused: int,
) -> None:
    """Custody can keep a version from a signer, for which a rejection under the next is none."""
    before, after = "0a" * 32, "0b" * 32
    for policy in (before, POLICY.digest, after, ""):
        watchtower.status.signers.add(policy=policy)
    watchtower.refusals = [Refusal(Code.APPROVAL_INVALID, "not of its people")] * refused
    _, out, err = run("--config", alice, "approval", "reject", pending, "--yes")
    sent = watchtower.sent("CreateRejection")
    made = [decode(Approval, request.rejection.statement) for request in sent]
    assert {one.policy for one in made} == {before, POLICY.digest, after}
    assert {(one.decision, f"withdrawals/{one.intent}") for one in made} == {("reject", pending)}
    (kept,) = custody.sent("CreateApproval")
    assert decode(Approval, kept.approval.statement).policy == POLICY.digest
    assert ("watchtower: rejected" in out) == (refused < 3)
    assert ("the watchtower refused: APPROVAL_INVALID" in err) == (refused == 3)


def test_without_a_pin_what_custody_does_not_show_is_not_signed(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, tmp_path: Path, pending: str
) -> None:
    hidden(custody, pending)
    config = config_file(tmp_path, "alice", watchtower=TARGET)
    code, out, err = run("--config", config, "approval", "reject", pending, "--yes")
    assert (code, out) == (1, "")
    assert "NOT_FOUND" in err
    assert watchtower.calls == []


def test_unseen_too_it_asks_for_the_first_word(  # noqa: PLR0917
    run: Run,
    custody: MemoryCustody,
    watchtower: MemoryWatchtower,
    alice: Path,
    pending: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden(custody, pending)
    monkeypatch.setattr("builtins.input", lambda _: "zoo")
    code, _, err = run("--config", alice, "approval", "reject", pending)
    assert (code, "that is not the first word: nothing was signed" in err) == (1, True)
    assert watchtower.calls == []


def test_when_neither_takes_it_the_exit_code_says_so(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, pending: str
) -> None:
    custody.outages = down()
    watchtower.refusals = [Refusal(Code.APPROVALS_STALE, "for another version")]
    code, _, err = run("--config", alice, "approval", "reject", pending, "--yes")
    assert code == 1
    assert "the watchtower refused: APPROVALS_STALE" in err
    assert "NOT REJECTED: nobody took it" in err


def test_one_whom_nobody_asks_rejects_nothing(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, tmp_path: Path, pending: str
) -> None:
    config = config_file(tmp_path, "mallory", POLICY.digest, TARGET)
    code, _, err = run("--config", config, "approval", "reject", pending, "--yes")
    assert (code, "asks alice, bob, carol" in err) == (1, True)
    assert custody.sent("CreateApproval") == watchtower.calls == []
