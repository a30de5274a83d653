"""Officers and requesters at their terminals, before a custody that may lie."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from custody.cli import withdrawal_record
from custody.cli.session import unix_ms
from custody.filters import WAITING
from custody.words import digest_words
from kura.custody.v1 import custody_pb2 as wire
from policies.approvals import open_approval
from policies.codes import Refusal
from policies.policy_file import parse_policy
from policies.statements import Approval, Intent, Signed, decode, digest
from tests.factories import (
    CUSTOMER,
    HOT_ADDRESS,
    HOUR,
    SOL,
    STRANGER,
    key,
    make_intent,
    policy_file,
    public,
    sign,
)
from tests.memory_custody import Lie, MemoryCustody, config_file, ended, key_file, shown

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


@pytest.mark.parametrize(("hours", "given"), [(24, {}), (168, {"expires-in": "168"})])
def test_a_withdrawal_lapses_after_as_many_hours_as_were_asked_for(
    run: Run, custody: MemoryCustody, tmp_path: Path, hours: int, given: dict[str, str]
) -> None:
    config = config_file(tmp_path, "exchange", pinned=digest(POLICY))
    assert create(run, config, amount="1 SOL", **given)[0] == 0
    (request,) = custody.sent("CreateWithdrawal")
    intent = decode(Intent, request.intent.statement)
    assert intent.expires - intent.created == hours * HOUR


@pytest.mark.parametrize("hours", ["0", "169", "-1"])
def test_a_withdrawal_lapses_within_a_week(
    run: Run, custody: MemoryCustody, tmp_path: Path, hours: str
) -> None:
    config = config_file(tmp_path, "exchange", pinned=digest(POLICY))
    assert create(run, config, **{"amount": "1 SOL", "expires-in": hours})[0] == 2
    assert custody.calls == []


@pytest.mark.parametrize(
    "wrong", [{"amount": "1,5 SOL"}, {"amount": "1.5"}, {"amount": "1 SOL", "wallet": "hot-2"}]
)
def test_a_withdrawal_that_is_not_understood_is_not_sent(
    run: Run, custody: MemoryCustody, tmp_path: Path, wrong: dict[str, str]
) -> None:
    config = config_file(tmp_path, "exchange", pinned=digest(POLICY))
    assert create(run, config, **wrong)[0] == 1
    assert custody.sent("CreateWithdrawal") == []


def test_decimals_are_never_custodys_word(run: Run, custody: MemoryCustody, tmp_path: Path) -> None:
    code, _, err = create(run, config_file(tmp_path, "exchange"), amount="1 SOL")
    assert (code, "pin policy_digest" in err) == (1, True)
    assert custody.calls == []


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
    ended(custody.withdrawals[pending], wire.WITHDRAWAL_STATE_REJECTED)
    assert run("--config", alice, "withdrawal", "wait", pending)[0] == 1
    ended(custody.withdrawals[pending], wire.WITHDRAWAL_STATE_COMPLETED)
    assert run("--config", alice, "withdrawal", "wait", pending.split("/")[1])[0] == 0


@pytest.mark.parametrize("command", ["show", "wait", "list"])
def test_an_end_without_the_signers_receipt_is_not_shown(
    run: Run, custody: MemoryCustody, alice: Path, pending: str, command: str
) -> None:
    ended(custody.withdrawals[pending])
    custody.lie = lambda shown: shown.ClearField("receipt")
    code, out, err = run("--config", alice, "withdrawal", command, *[pending] * (command != "list"))
    assert "RECEIPT_INVALID" in out + err
    assert "refund nothing" in out + err
    if command == "list":
        assert "NOT VERIFIED" in out
    else:
        assert (code, out) == (1, "")


def test_an_end_is_shown_by_a_pinned_policy_only(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    ended(custody.withdrawals[pending])
    assert "CANCELLED" in run("--config", alice, "withdrawal", "show", pending)[1]
    lines = [line for line in alice.read_text().splitlines() if "policy_digest" not in line]
    alice.write_text("\n".join(lines))
    code, out, err = run("--config", alice, "withdrawal", "show", pending)
    assert (code, out, "no audit key of hot-sol is pinned" in err) == (1, "", True)


def test_what_is_ending_is_said_to_be_no_end(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    said = "pay nothing back before its end"
    killed = run("--config", alice, "withdrawal", "kill", pending)[1]
    assert killed.startswith("ENDING, heading for FAILED: ")
    assert said in killed
    shown = run("--config", alice, "withdrawal", "show", pending)[1]
    assert (said in shown, "receipt" in shown) == (True, False)
    ended(custody.withdrawals[pending])
    shown = run("--config", alice, "withdrawal", "show", pending)[1]
    assert said not in shown
    assert "receipt         checked: " in shown


def test_everything_that_is_waited_for_has_words() -> None:
    assert {*withdrawal_record._WAITS} == WAITING - {""}


def test_what_is_waited_for_is_said_in_words(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    for waiting, words in (
        ("LEASE", "LEASE, for the watchtower's word: custody watchtower status"),
        ("OF_A_NEWER_CUSTODY", "OF_A_NEWER_CUSTODY"),
    ):
        custody.withdrawals[pending].waiting_for = waiting
        assert (
            f"waits for       {words}\n" in run("--config", alice, "withdrawal", "show", pending)[1]
        )


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


def test_an_officers_key_is_opened_by_its_passphrase_alone(
    run: Run, custody: MemoryCustody, alice: Path, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = alice.parent / "alice.pem"
    private = serialization.load_pem_private_key(file.read_bytes(), None)
    closed = serialization.BestAvailableEncryption(b"four quite long words")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed)
    file.write_bytes(private.private_bytes(*form))
    typed = iter(("four quite long worms", "four quite long words"))
    monkeypatch.setattr("custody.cli.session.getpass", lambda _: next(typed))
    for code in (1, 0):
        done, out, err = run("--config", alice, "approval", "approve", pending, "--yes")
        assert done == code
        assert len(custody.sent("CreateApproval")) == 1 - code
        assert "long wor" not in out + err
    assert isinstance(approval_sent(custody), Approval)


def test_a_rejection_is_signed(run: Run, custody: MemoryCustody, alice: Path, pending: str) -> None:
    assert run("--config", alice, "approval", "reject", pending, "--yes")[0] == 0
    opened = approval_sent(custody)
    assert isinstance(opened, Approval)
    assert opened.decision == "reject"


def test_an_approval_lapses_when_its_officer_says(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    options = ("--expires-in", "2", "--yes")
    assert run("--config", alice, "approval", "approve", pending, *options)[0] == 0
    opened = approval_sent(custody)
    assert isinstance(opened, Approval)
    assert HOUR < opened.expires - unix_ms() <= 2 * HOUR


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", StringIO(text))


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize("typed", ["", "yes\n", "y\n", "zoo zoo\n"])
@pytest.mark.usefixtures("alice_at_home")
def test_without_the_first_word_nothing_is_signed(
    run: Run, pending: str, type_in: Callable[[str], None], typed: str, decision: str
) -> None:
    type_in(typed)
    code, _, err = run("approval", decision, pending)
    assert code == 1
    assert "nothing was signed" in err
    assert ("no terminal to ask on: use --yes after reading" in err) == (not typed)
    assert "valid: " not in run("approval", "show", pending)[1]


def test_an_approval_that_is_there_already_is_not_signed_again(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    command = ("--config", alice, "approval", "approve", pending, "--yes")
    assert run(*command)[0] == 0
    code, _, err = run(*command)
    assert (code, "your approve is there already" in err) == (1, True)
    assert len(custody.sent("CreateApproval")) == 1


def test_another_officers_approval_and_an_own_change_of_mind_stop_nobody(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    bob = config_file(alice.parent, "bob", pinned=digest(POLICY))
    assert run("--config", bob, "approval", "approve", pending, "--yes")[0] == 0
    for decision in ("approve", "reject"):
        assert run("--config", alice, "approval", decision, pending, "--yes")[0] == 0
    assert len(custody.sent("CreateApproval")) == 3


def test_nothing_is_approved_after_the_end(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    custody.withdrawals[pending].state = wire.WITHDRAWAL_STATE_CANCELLED
    code, _, err = run("--config", alice, "approval", "approve", pending, "--yes")
    assert (code, "it has ended, custody says CANCELLED" in err) == (1, True)
    assert custody.sent("CreateApproval") == []


def test_a_state_of_a_newer_custody_is_told_in_words(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    custody.withdrawals[pending].state = 99  # type: ignore[assignment]
    code, out, _ = run("--config", alice, "approval", "approve", pending, "--yes")
    assert code == 0
    assert "approve is sent; custody says a state that this version does not know (99)" in out
    for command in (("list",), ("show", pending)):
        code, out, _ = run("--config", alice, "withdrawal", *command)
        assert (code, "does not know (99)" in out) == (0, True)


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
@pytest.mark.parametrize("command", ["approve --yes", "show"])
def test_a_lying_custody_gets_no_approval(
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


def test_a_list_of_withdrawals_shows_what_was_signed_or_that_it_was_not(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    command = ("--config", alice, "withdrawal", "list")
    assert ["PENDING_APPROVAL", "20", "SOL", "w-1", STRANGER.address, pending] in [
        line.split() for line in run(*command)[1].splitlines()
    ]
    custody.lie = lambda item: setattr(item, "waiting_for", "APPROVALS")
    head, waiting = run(*command)[1].splitlines()
    assert head.startswith("STATE             WAITS FOR")
    assert waiting.split()[:3] == ["PENDING_APPROVAL", "APPROVALS", "20"]
    custody.lie = _other_address
    code, out, _ = run(*command)
    (row,) = out.splitlines()[1:]
    assert (code, row.split()[:3]) == (0, ["NOT", "VERIFIED", f"{pending}:"])
    assert f"destination.address '{CUSTOMER.address}', but '{STRANGER.address}' is right" in row
    custody.lie = _other_withdrawal
    assert "20 SOL" not in run(*command)[1]


def test_wallets_are_those_of_the_pinned_policy(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    command = ("--config", alice, "wallet", "list")
    row = run(*command)[1].splitlines()[1]
    assert row.split() == ["hot-sol", "hot", "solana:devnet", "SOL", HOT_ADDRESS]
    assert [name for name, _ in custody.calls] == ["GetPolicy"]
    custody.policy = policy_file(address=STRANGER.address)
    code, out, err = run(*command)
    assert (code, out) == (1, "")
    assert "policy digest" in err


def test_a_list_asks_for_what_the_options_choose(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    options = ("--state", "queued", "--state", "ending", "--waiting-for", "FUNDS")
    assert run("--config", alice, "withdrawal", "list", *options, "--wallet", "hot-sol")[0] == 0
    (request,) = custody.sent("ListWithdrawals")
    assert list(request.states) == [wire.WITHDRAWAL_STATE_QUEUED, wire.WITHDRAWAL_STATE_ENDING]
    assert (request.waiting_for, request.wallet) == ("FUNDS", "wallets/hot-sol")
    assert run("--config", alice, "withdrawal", "list", "--request-id", "order-7")[0] == 0
    assert custody.sent("ListWithdrawals")[1].request_id == "order-7"
