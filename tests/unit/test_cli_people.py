"""Officers and requesters at their terminals, before a custody that may lie."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from custody.cli.session import unix_ms
from custody.words import digest_words
from kura.custody.v1 import custody_pb2 as wire
from policies.approvals import open_approval
from policies.codes import Refusal
from policies.policy_file import parse_policy
from policies.statements import Approval, Intent, Signed, decode, digest
from tests.factories import (
    CUSTOMER,
    HOUR,
    SOL,
    STRANGER,
    key,
    make_intent,
    policy_file,
    public,
    sign,
)
from tests.memory_custody import Lie, MemoryCustody, config_file, key_file, shown

Run = Callable[..., tuple[int, str, str]]
POLICY = policy_file()
ASK = {"--request-id": "w-9", "--wallet": "hot-sol", "--to": CUSTOMER.address, "--memo": "7"}


def approval_sent(custody: MemoryCustody) -> Approval | Refusal:
    (request,) = custody.sent("CreateApproval")
    signed = Signed(request.approval.statement, request.approval.signature)
    intent = request.parent.removeprefix("withdrawals/")
    return open_approval(parse_policy(POLICY), intent, signed)


def create(run: Run, config: Path, **changes: str) -> tuple[int, str, str]:
    ask = ASK | {f"--{name}": value for name, value in changes.items()}
    options = [item for pair in ask.items() for item in pair]
    return run("--config", config, "withdrawal", "create", *options)


def test_a_withdrawal_is_created_in_exact_base_units(
    run: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    config = config_file(tmp_path, "exchange", pinned=digest(POLICY))
    code, out, err = create(run, config, amount="1.000000001 SOL")
    assert (code, err) == (0, "")
    (request,) = custody.sent("CreateWithdrawal")
    intent = decode(Intent, request.intent.statement)
    assert (intent.amount, intent.network, intent.asset) == (1_000_000_001, "solana:devnet", "SOL")
    assert (intent.destination.address, intent.destination.memo) == (CUSTOMER.address, "7")
    assert "1.000000001 SOL = 1000000001 base units" in out


@pytest.mark.parametrize(
    "wrong", [{"amount": "1,5 SOL"}, {"amount": "1.5"}, {"amount": "1 SOL", "wallet": "hot-2"}]
)
def test_a_withdrawal_that_is_not_understood_is_not_sent(
    run: Run, custody: MemoryCustody, tmp_path: Path, wrong: dict[str, str]
) -> None:
    assert create(run, config_file(tmp_path, "exchange"), **wrong)[0] == 1
    assert custody.sent("CreateWithdrawal") == []


def test_a_custody_that_lies_about_decimals_gets_no_withdrawal(
    run: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    custody.policy = POLICY.replace(b"decimals = 9", b"decimals = 10")
    config = config_file(tmp_path, "exchange", pinned=digest(POLICY))
    code, _, err = create(run, config, amount="1 SOL")
    assert code == 1
    assert "policy digest" in err
    assert custody.sent("CreateWithdrawal") == []


def test_waiting_for_a_withdrawal_that_was_not_paid_is_exit_code_1(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    custody.withdrawals[pending].state = wire.WITHDRAWAL_STATE_REJECTED
    assert run("--config", alice, "withdrawal", "wait", pending)[0] == 1
    custody.withdrawals[pending].state = wire.WITHDRAWAL_STATE_COMPLETED
    assert run("--config", alice, "withdrawal", "wait", pending.split("/")[1])[0] == 0


def test_a_withdrawal_shows_why_it_was_refused_and_what_to_do(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    custody.withdrawals[pending].refusal.CopyFrom(
        wire.Refusal(by="signer", code="NO_RULE", message="no rule", next="read the policy")
    )
    _, out, _ = run("--config", alice, "withdrawal", "show", pending)
    assert "signer: NO_RULE" in out
    assert "read the policy" in out


def test_balances_are_shown_in_units(run: Run, custody: MemoryCustody, alice: Path) -> None:
    _, out, _ = run("--config", alice, "balance", "list")
    assert " ".join(out.split()).endswith("hot-sol 2.5 SOL 0.5 SOL 2 SOL")


def test_an_officer_sees_everything_whole(run: Run, alice: Path, pending: str) -> None:
    code, out, err = run("--config", alice, "approval", "show", pending)
    name = pending.removeprefix("withdrawals/")
    assert (code, err) == (0, "")
    assert any(line.endswith(STRANGER.address) for line in out.splitlines())
    for words in (
        "tag 7",
        "20 SOL",
        "20,000,000,000",
        "solana:devnet",
        " UTC",
        "1 of operations and 1 of risk",
        name,
        " ".join(digest_words(name)),
    ):
        assert words in out


def test_an_approval_is_signed_for_what_was_verified(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    code, _, _ = run("--config", alice, "approval", "approve", pending, "--yes")
    opened = approval_sent(custody)
    assert code == 0
    assert isinstance(opened, Approval)
    assert (opened.decision, opened.approver, opened.policy) == ("approve", "alice", digest(POLICY))
    assert 23 * HOUR < opened.expires - unix_ms() <= 24 * HOUR


def test_a_rejection_is_signed(run: Run, custody: MemoryCustody, alice: Path, pending: str) -> None:
    assert run("--config", alice, "approval", "reject", pending, "--expires-in", "2")[0] == 0
    opened = approval_sent(custody)
    assert isinstance(opened, Approval)
    assert opened.decision == "reject"
    assert opened.expires - unix_ms() <= 2 * HOUR


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", StringIO(text))


@pytest.mark.parametrize("typed", ["", "yes\n", "y\n", "zoo zoo\n"])
def test_without_the_first_word_nothing_is_signed(
    run: Run, alice: Path, pending: str, type_in: Callable[[str], None], typed: str
) -> None:
    type_in(typed)
    code, _, err = run("--config", alice, "approval", "approve", pending)
    assert code == 1
    assert "nothing was signed" in err
    assert "valid: " not in run("--config", alice, "approval", "show", pending)[1]


def test_with_the_first_word_it_is_signed(
    run: Run, alice: Path, pending: str, type_in: Callable[[str], None]
) -> None:
    type_in(f" {digest_words(pending.removeprefix('withdrawals/'))[0].upper()}\n")
    assert run("--config", alice, "approval", "approve", pending)[0] == 0
    _, out, _ = run("--config", alice, "approval", "show", pending)
    assert "valid: approve by alice" in out
    assert "still needs     1 of risk" in out


def _other_address(item: wire.Withdrawal) -> None:
    item.destination.address = CUSTOMER.address


def _other_withdrawal(item: wire.Withdrawal) -> None:
    now = unix_ms()
    intent = make_intent(amount=30 * SOL, created=now, expires=now + HOUR)
    item.CopyFrom(shown(sign(key("exchange"), intent)))


@pytest.mark.parametrize("lie", [_other_address, _other_withdrawal])
@pytest.mark.usefixtures("alice_at_home")
@pytest.mark.parametrize("command", ["approve --yes", "reject", "show"])
def test_a_lying_custody_gets_no_signature(
    run: Run, custody: MemoryCustody, pending: str, lie: Lie, command: str
) -> None:
    custody.lie = lie
    code, out, err = run("approval", *command.split(), pending)
    assert code == 1
    assert "approve nothing" in err
    assert out == ""
    assert custody.sent("CreateApproval") == []


def test_a_policy_that_was_not_pinned_gets_no_signature(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    custody.policy = policy_file(cap="5000 SOL")
    code, _, err = run("--config", alice, "approval", "approve", pending, "--yes")
    assert code == 1
    assert "policy digest" in err
    assert custody.sent("CreateApproval") == []


def test_a_policy_without_a_pin_is_used_with_a_loud_warning(
    run: Run, tmp_path: Path, pending: str
) -> None:
    config = config_file(tmp_path, "alice")
    code, _, err = run("--config", config, "approval", "approve", pending, "--yes")
    assert code == 0
    assert "WARNING" in err
    assert f'policy_digest = "{digest(POLICY)}"' in err


def test_an_officer_whom_nobody_asks_signs_nothing(
    run: Run, custody: MemoryCustody, tmp_path: Path, pending: str
) -> None:
    config = config_file(tmp_path, "mallory")
    code, _, err = run("--config", config, "approval", "approve", pending, "--yes")
    assert code == 1
    assert "asks alice, bob, carol" in err
    assert custody.sent("CreateApproval") == []


def test_a_key_that_the_policy_does_not_know_signs_nothing(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    other = key_file(alice.parent, "thief")
    alice.write_text(alice.read_text().replace("alice.pem", other.name))
    code, _, err = run("--config", alice, "approval", "approve", pending, "--yes")
    assert code == 1
    assert public("thief") in err
    assert custody.sent("CreateApproval") == []


def test_a_list_marks_what_cannot_be_verified(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    assert "1 of operations and 1 of risk" in run("--config", alice, "approval", "list")[1]
    custody.lie = _other_address
    code, out, _ = run("--config", alice, "approval", "list")
    assert code == 0
    assert "NOT VERIFIED" in out
    assert pending in out
