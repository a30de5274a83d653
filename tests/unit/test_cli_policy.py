"""`custody policy` on files: warnings, differences, the officers' cases, later versions signed."""

from collections.abc import Callable
from pathlib import Path

import pytest

import policies
from custody.cli.session import unix_ms
from policies.changes import open_policy
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from policies.statements import digest
from tests.factories import policy_file, public, rule_text, wallet_text
from tests.memory_custody import key_file

Run = Callable[..., tuple[int, str, str]]
FIRST = policy_file()
NEXT = {"version": 2, "previous": digest(FIRST)}
EXAMPLE = Path(policies.__file__).with_name("example.toml")
CASES = EXAMPLE.with_name("example.cases.toml")
OWN = rule_text("own", destination="own-wallet", tiers={"5 SOL": []})


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def test_the_officers_cases_hold_of_the_example(run: Run) -> None:
    code, out, err = run("policy", "test", EXAMPLE, CASES)
    assert (code, err) == (0, "")
    assert "FAILS" not in out
    assert out.splitlines()[-1] == "9 of 9 hold"


def test_a_case_that_does_not_hold_says_what_came(run: Run, file: Callable[..., Path]) -> None:
    cases = CASES.read_bytes().replace(b'expect = "CAP_EXCEEDED"', b'expect = "TIERS_EXCEEDED"')
    code, out, _ = run("policy", "test", EXAMPLE, file("c.toml", cases))
    assert code == 1
    failed = [line for line in out.splitlines() if line.startswith("FAILS")]
    assert len(failed) == 1
    assert "at once: expected TIERS_EXCEEDED, but it is CAP_EXCEEDED: 50.1 SOL is" in failed[0]
    assert out.splitlines()[-1] == "8 of 9 hold"


def test_a_file_without_cases_proves_nothing(run: Run, file: Callable[..., Path]) -> None:
    code, _, err = run("policy", "test", EXAMPLE, file("c", b"# kura.cases.v1\ncases = []\n"))
    assert (code, "nothing was tried" in err) == (1, True)
    code, _, err = run("policy", "test", EXAMPLE, EXAMPLE)
    assert (code, "line 1: the first line must be exactly # kura.cases.v1" in err) == (1, True)


def test_differences_are_said_in_words(run: Run, file: Callable[..., Path]) -> None:
    old = file("1.toml", FIRST)
    code, out, err = run("policy", "diff", old, file("2.toml", policy_file(cap="80 SOL", **NEXT)))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "loosens   hot-sol: cap per transaction 50 SOL → 80 SOL",
        "It waits 1 day, in which any officer may veto it: not all of it tightens.",
    ]
    tiers = {"1 SOL": [], "10 SOL": ["1 of operations"], "40 SOL": ["2 of operations", "1 of risk"]}
    tighter = policy_file(enabled=False, tiers=tiers, **NEXT)
    code, out, err = run("policy", "diff", old, file("2.toml", tighter))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "tightens  hot-sol: enabled True → False",
        (
            "tightens  customers, above 10 SOL up to 40 SOL: approvals "
            "1 of operations and 1 of risk → 2 of operations and 1 of risk"
        ),
        "It is in force at once: all of it only tightens.",
    ]
    code, out, _ = run("policy", "diff", old, file("2.toml", policy_file(**NEXT)))
    assert out == "It changes nothing; it is in force at once.\n"


def test_a_version_that_does_not_follow_is_told(run: Run, file: Callable[..., Path]) -> None:
    _, _, err = run("policy", "diff", file("1", FIRST), file("2", policy_file(cap="60 SOL")))
    assert digest(FIRST) in err.replace("\n", "")


def test_an_address_that_is_none_is_warned_of(run: Run, file: Callable[..., Path]) -> None:
    wrong = policy_file(address="0OIl" + "1" * 30)
    code, _, err = run("policy", "check", file("wrong", wrong))
    assert code == 0
    assert "WARNING: wallets.hot-sol.address: '0' does not occur" in err
    wrong = policy_file(sweep_to="0OIl" + "1" * 30)
    code, _, err = run("policy", "check", file("wrong", wrong))
    assert code == 0
    assert "WARNING: wallets.hot-sol.sweep.to: '0' does not occur" in err


def test_one_more_loss_is_warned_of(run: Run, file: Callable[..., Path]) -> None:
    code, out, err = run("policy", "check", EXAMPLE)
    assert code == 0
    assert "0, for changes of the policy" in out
    lines = [line for line in err.splitlines() if line.startswith("WARNING: one more loss and no ")]
    assert len(lines) == 3
    assert lines[0].endswith("change is possible: changes of the policy cannot do without carol")
    assert lines[2].endswith("approval is possible: customers up to 50 SOL cannot do without carol")
    code, out, err = run("policy", "check", file("p.toml", FIRST))
    assert (code, err) == (0, "")
    assert "1, for changes of the policy" in out


def test_a_later_version_is_signed_by_people_in_force(
    run: Run, file: Callable[..., Path], tmp_path: Path
) -> None:
    """Also by one whom the new version does not know any more; never by one whom it brings."""
    old, signatures = file("1.toml", FIRST), tmp_path / "signatures"
    text = policy_file(cap="60 SOL", **NEXT).decode().replace(public("carol"), public("dave"))
    new = file("2.toml", text.encode())
    for person in ("alice", "carol"):
        who = ("--key", key_file(tmp_path, person), "--person", person)
        signed = run("policy", "sign", new, "--in-force", old, *who, "--signatures", signatures)
        assert signed[0] == 0
    changes = parse_signatures(signatures.read_bytes())
    opened = open_policy(parse_policy(FIRST), new.read_bytes(), changes, unix_ms())
    assert isinstance(opened, Policy)
    who = ("--key", key_file(tmp_path, "dave"), "--person", "carol")
    code, out, err = run("policy", "sign", new, "--in-force", old, *who)
    assert (code, out, "does not know" in err) == (1, "", True)


def test_a_later_version_is_not_signed_blindly(
    run: Run, file: Callable[..., Path], tmp_path: Path
) -> None:
    old, new = file("1.toml", FIRST), file("2.toml", policy_file(cap="60 SOL", **NEXT))
    who = ("--key", key_file(tmp_path, "alice"), "--person", "alice")
    other = file("0.toml", policy_file(cap="49 SOL"))
    for signs, words in (
        ((new,), "name the version in force with --in-force"),
        ((new, "--in-force", other), "does not follow"),
        ((old, "--in-force", old), "does not follow"),
        ((new, "--in-force", new), "does not follow"),
    ):
        code, out, err = run("policy", "sign", *signs, *who)
        assert (code, out, words in err) == (1, "", True)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (
            "",
            "exchange may send from hot-sol to destinations in the address book (rule customers):",
        ),
        ("", "exchange may send from hot-sol to our own wallets (rule own):"),
        ("", "For exchange, the first of these rules that fits counts, and no other."),
        ("--destination=own-wallet", "to our own wallets (rule own):\n  up to 5 SOL without"),
        (
            "--destination=own-wallet --amount=6 SOL",
            "to our own wallets: no tier of rule own reach",
        ),
        (
            "--destination=own-wallet --amount=5 SOL",
            "may send 5 SOL from hot-sol to our own wallets",
        ),
        ("--destination=any", "exchange may send nothing from hot-sol to other destinations."),
        ("--wallet=cold-sol", "exchange may send nothing from cold-sol to any destination."),
    ],
)
def test_our_own_wallets_are_explained(
    run: Run, file: Callable[..., Path], question: str, words: str
) -> None:
    policy = file("p.toml", policy_file(more=wallet_text("cold-sol") + OWN))
    options = ["--" + option for option in question.split("--") if option]
    code, out, err = run("policy", "explain", policy, *(option.strip() for option in options))
    assert (code, err) == (0, "")
    assert words in out


def test_a_wallet_alone_has_no_other_to_send_to(run: Run, file: Callable[..., Path]) -> None:
    code, out, _ = run("policy", "explain", file("p", FIRST), "--destination=own-wallet")
    assert code == 0
    assert "exchange may send nothing from hot-sol to our own wallets." in out


def test_everything_else_that_a_rule_asks_is_explained(run: Run, file: Callable[..., Path]) -> None:
    tiers = {
        "5 SOL": {
            "people": [["2 of operations"], ["1 of risk"]],
            "services": ["travel"],
            "delay": "2 hours",
        }
    }
    text = policy_file(
        enabled=False,
        services={name: [public(name)] for name in ("screening", "travel")},
        destination="attested by screening",
        hours="mon-fri 09:00-18:00 Asia/Tokyo",
        cooling_period="24 hours",
        cooling_amount="1 SOL",
        tiers=tiers,
    )
    code, out, _ = run("policy", "explain", file("p.toml", text))
    assert code == 0
    for words in (
        "hot-sol is disabled: nothing leaves it.",
        "may send from hot-sol to any destination that screening attests (rule customers):",
        (
            "up to 5 SOL with the approval of 2 of operations (alice, bob), 2 different people, or "
            "with the approval of 1 of risk (bob, carol), and of the services screening and "
            "travel, 2 hours after the signer first saw it"
        ),
        "  only mon-fri 09:00-18:00 Asia/Tokyo",
        "  1 SOL in all to a destination in its first 1 day",
    ):
        assert words in out


@pytest.mark.parametrize("change", [{"version": 2, "previous": ""}, {"previous": "ab" * 32}])
def test_a_version_that_nothing_can_precede_is_told(
    run: Run, file: Callable[..., Path], change: dict[str, object]
) -> None:
    code, _, err = run("policy", "check", file("p.toml", policy_file(**change)))
    assert (code, "version 1 alone has previous" in err) == (0, True)
    assert "version 1 alone" not in run("policy", "check", file("1.toml", FIRST))[2]
    assert "version 1 alone" not in run("policy", "check", file("2.toml", policy_file(**NEXT)))[2]


def test_windows_line_ends_are_named(run: Run, file: Callable[..., Path]) -> None:
    code, _, err = run("policy", "check", file("p.toml", FIRST.replace(b"\n", b"\r\n")))
    assert (code, "line 1: ends in CR LF: save the file with LF" in err) == (1, True)


def test_a_tier_that_asks_services_alone_says_so(run: Run) -> None:
    code, out, _ = run("policy", "explain", EXAMPLE.with_name("examples") / "mid-size.toml")
    assert code == 0
    alone = "with the approval of the services address-check and screening alone"
    assert f"  up to 2 SOL {alone}" in out.splitlines()
