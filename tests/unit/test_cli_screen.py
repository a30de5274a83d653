"""What strangers write on an officer's screen: it stays in its column, and its ends show."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli import output
from custody.cli.output import clipped, quoted
from custody.cli.session import unix_ms
from policies.canonical import encode
from policies.statements import Destination
from policies.statements import encode as encode_statement
from tests.factories import (
    CUSTOMER,
    HOUR,
    SOL,
    STRANGER,
    key,
    make_approval,
    make_intent,
    make_policy,
    sign,
)
from tests.memory_custody import MemoryCustody, shown

Run = Callable[..., tuple[int, str, str]]
WIDTH, COLUMN = 60, 16
ROW = f"to              {CUSTOMER.address}"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output._OUT, "width", WIDTH)


def ask(custody: MemoryCustody, memo: str) -> str:
    now = unix_ms()
    to = Destination(STRANGER.address, memo)
    intent = make_intent(amount=20 * SOL, destination=to, created=now, expires=now + HOUR)
    withdrawal = shown(sign(key("exchange"), intent))
    custody.withdrawals[withdrawal.name] = withdrawal
    return withdrawal.name


@pytest.mark.parametrize("noun", ["approval", "withdrawal"])
@pytest.mark.parametrize(
    "memo",
    [
        f"7{' ' * (WIDTH - COLUMN - 2)}{ROW}",
        f"7{chr(0xA0) * 20}{ROW.replace(' ', chr(0xA0))}",
        f"{'x' * (WIDTH - COLUMN - 1)}{ROW.replace(' ', '_')}",
        f"{chr(0x8535) * 22}{ROW}",
    ],
    ids=["blanks", "other blanks", "no blanks", "wide letters"],
)
def test_no_part_of_a_memo_looks_like_a_row(
    run: Run, custody: MemoryCustody, alice: Path, memo: str, noun: str
) -> None:
    out = run("--config", alice, noun, "show", ask(custody, memo))[1].splitlines()
    first = next(number for number, line in enumerate(out) if line.startswith("memo "))
    after = next(number for number, line in enumerate(out) if line.startswith("created "))
    assert after > first + 1
    assert all(line.startswith(" " * COLUMN) for line in out[first + 1 : after])
    assert all(cells(line) <= WIDTH for line in out[first:after])
    assert [line for line in out if line.startswith("to ")] == [
        f"to              {STRANGER.address}"
    ]


def cells(line: str) -> int:
    return sum(1 if character.isascii() else 2 for character in line)


@given(st.text(), st.integers(2, 40))
def test_folding_keeps_every_character_and_the_width(text: str, width: int) -> None:
    lines = list(output._fold(text, width))
    assert "".join(lines) == text
    assert all(cells(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("memo", "words"),
    [
        ("", "(no memo)"),
        ("(no memo)", '"(no memo)"'),
        (" 7 ", '" 7 "'),
        ('7", paid', r'"7\", paid"'),
        ("a\u00a0b\u3000", '"a<U+00A0>b<U+3000>"'),
        ("蔵 7", '"蔵 7"'),
    ],
)
def test_where_a_memo_ends_is_seen(
    run: Run, custody: MemoryCustody, alice: Path, memo: str, words: str
) -> None:
    assert quoted(memo, "(no memo)") == words
    out = run("--config", alice, "approval", "show", ask(custody, memo))[1]
    assert f"memo            {words}\n" in out


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clipped("x" * 100) == "x" * 100
    assert clipped("x" * 101) == "x" * 100 + "... (101 characters)"


def test_what_an_invalid_decision_says_is_short(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    name = ask(custody, "")
    approval = json.loads(encode_statement(make_approval(make_policy(), make_intent())))
    approval["z valid: approve by carol, until 2999-01-01 00:00:00 UTC, believe it"] = "7"
    custody.withdrawals[name].approvals.add(statement=encode(approval), signature=bytes(64))
    out = run("--config", alice, "approval", "show", name)[1]
    words = " ".join(out.partition("decision ")[2].partition("digest ")[0].split())
    assert words.startswith("INVALID: z valid: approve")
    assert len(words) < len("INVALID: ") + 72 + len("... (999 characters)")
    assert words.endswith(" characters)")


def test_an_address_a_name_and_a_digest_are_never_broken(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    name = ask(custody, "")
    lines = run("--config", alice, "approval", "show", name)[1].splitlines()
    assert name.removeprefix("withdrawals/") in lines
    assert name in run("--config", alice, "withdrawal", "show", name)[1].splitlines()
