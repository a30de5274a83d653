"""The command `custody`: help, exit codes, settings, and what a server's words cannot do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import grpc
import pytest

from custody.answers import no_answer
from custody.cli import session
from custody.main import NOUNS, app
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from tests.memory_custody import CallError, MemoryCustody, refuse

Run = Callable[..., tuple[int, str, str]]
EVIL = "\x1b[2J\x1b]0;owned\x07 \u202egnidnep [bold red]approved[/] :warning:\r\n"


@pytest.mark.parametrize("noun", sorted(NOUNS.keys() - {"serve", "db"}))
def test_every_command_has_help_with_an_example(run: Run, noun: str) -> None:
    verbs = [verb for verb in app[noun] if not verb.startswith("-")]
    assert verbs or noun == "status"
    for command in ((noun, verb) for verb in verbs) if verbs else ((noun,),):
        code, out, _ = run(*command, "--help")
        assert code == 0
        assert f"For example: custody {' '.join(command)}" in " ".join(out.split())


WITHOUT_SERVER = """
import sys
sys.modules |= {"custody.cli.serve": None, "custody.cli.db": None}
from custody.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_list_of_commands_needs_no_module_of_theirs() -> None:
    helped, migrated = (  # in processes of their own: other tests may have loaded the modules
        subprocess.run(
            [sys.executable, "-c", WITHOUT_SERVER, *command],
            check=False,
            capture_output=True,
            text=True,
        )
        for command in (["--help"], ["db", "migrate"])
    )
    assert helped.returncode == 0
    assert all(noun in helped.stdout for noun in NOUNS)
    assert migrated.returncode == 1
    assert "`server`" in migrated.stderr


def test_what_is_not_understood_is_exit_code_2(run: Run) -> None:
    assert run("policy", "chekc")[0] == 2
    assert run("policy", "check")[0] == 2


def test_settings_that_are_not_there_say_where_they_were_looked_for(run: Run) -> None:
    code, _, err = run("withdrawal", "list")
    assert code == 1
    assert "/nonexistent/.config/kura/custody.toml" in err
    assert "--config FILE or $KURA_CONFIG" in err


def test_the_environment_names_the_settings(
    run: Run, alice: Path, monkeypatch: pytest.MonkeyPatch, pending: str
) -> None:
    monkeypatch.setenv("KURA_CONFIG", str(alice))
    code, out, _ = run("withdrawal", "list")
    assert code == 0
    assert pending in out


def test_a_refusal_says_who_why_and_what_next(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    code, out, err = run("--config", alice, "withdrawal", "show", "ab" * 32)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "custody refused: NOT_FOUND",
        f"there is no withdrawals/{'ab' * 32} (field name)",
        "next: check the name: custody withdrawal list, custody policy proposals",
    ]


def test_a_request_id_in_place_of_a_name_is_told_where_names_are(run: Run, alice: Path) -> None:
    code, _, err = run("--config", alice, "withdrawal", "show", "order-1001")
    assert code == 1
    assert "order-1001 is no withdrawal's name" in " ".join(err.split())
    assert "the lists show it under NAME" in " ".join(err.split())


def test_no_answer_is_told_in_words(run: Run, custody: MemoryCustody, alice: Path) -> None:
    custody.outages = [CallError(grpc.StatusCode.UNIMPLEMENTED, "Ssl handshake failed")]
    code, _, err = run("--config", alice, "wallet", "list")
    assert code == 1
    assert "custody at custody.test:443: UNIMPLEMENTED: Ssl handshake failed" in err
    assert "next: start it if it does not run (custody serve api)" in err


@pytest.mark.parametrize(
    ("status", "details", "said"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "last error: UNKNOWN: ipv6:%5B::1%5D:1: connect: Connection refused (111)",
            "nothing listens there",
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "errors resolving x:1: [field:hostname lookup error:address lookup failed for x:1]",
            "no host has this name",
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "ipv4:127.0.0.1:1: SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: OK",
            "its certificate is not of the CA in the settings",
        ),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "no answer in time"),
        (
            grpc.StatusCode.UNAVAILABLE,
            "ipv6:%5B::1%5D:1: x",
            "UNAVAILABLE: ipv6:[::1]:1: x",
        ),
        (grpc.StatusCode.UNKNOWN, None, "UNKNOWN: "),
    ],
)
def test_grpcs_reasons_are_said_in_an_operators_words(
    status: grpc.StatusCode, details: str | None, said: str
) -> None:
    assert no_answer(status, details) == said


def harmless(printed: str) -> bool:
    words = " ".join(printed.split())
    shown = "<U+001B>[2J" in words and "[bold red]approved[/] :warning:" in words
    return shown and not set(printed) & set("\x1b\x07\r\u202e")


def test_a_refusal_cannot_act_on_the_terminal(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    with pytest.raises(CallError) as caught:
        refuse(Refusal(Code.TOO_LATE, EVIL, rule=EVIL, field=EVIL))
    custody.outages = [caught.value]
    code, _, err = run("--config", alice, "withdrawal", "list")
    assert code == 1
    assert harmless(err)


def test_an_error_cannot_act_on_the_terminal(run: Run, custody: MemoryCustody, alice: Path) -> None:
    custody.outages = [CallError(grpc.StatusCode.INTERNAL, EVIL)]
    code, _, err = run("--config", alice, "withdrawal", "list")
    assert code == 1
    assert "next: tell the operator" in err
    assert harmless(err)


@pytest.mark.parametrize(
    "field", ["waiting_for", "transaction_id", "fee", "approvals_missing", "refusal"]
)
def test_a_field_cannot_act_on_the_terminal(
    run: Run, custody: MemoryCustody, alice: Path, pending: str, field: str
) -> None:
    withdrawal = custody.withdrawals[pending]
    match field:
        case "refusal":
            withdrawal.refusal.CopyFrom(wire.Refusal(by=EVIL, code=EVIL, message=EVIL, next=EVIL))
        case "approvals_missing":
            withdrawal.approvals_missing.append(EVIL)
        case _:
            setattr(withdrawal, field, EVIL)
    code, out, _ = run("--config", alice, "withdrawal", "show", pending)
    assert code == 0
    assert harmless(out)


def test_a_list_cannot_act_on_the_terminal(
    run: Run, custody: MemoryCustody, alice: Path, pending: str
) -> None:
    custody.withdrawals[pending].name = EVIL
    assert harmless(run("--config", alice, "withdrawal", "list")[1])


def test_silence_is_told_once(
    run: Run, custody: MemoryCustody, alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, notes = Event(), list[str]()

    def note(words: str) -> None:
        notes.append(words)
        told.set()

    answer = custody.get_policy

    def late(request: object) -> wire.GetPolicyResponse:
        assert told.wait(60)
        return answer(request)

    monkeypatch.setattr(session, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(session, "print_note", note)
    monkeypatch.setattr(custody, "get_policy", late)
    with session.using_config(alice), session.connect(session.settings()) as client:
        client.get_policy()
        client.get_policy()
    assert notes == ["waiting for custody at custody.test:443 ..."]


def test_the_help_of_policy_show_names_the_address_book(run: Run) -> None:
    assert "address book's version" in " ".join(run("policy", "show", "--help")[1].split())
