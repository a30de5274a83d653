"""The example policies hold what their officers expect, and docs/policy.md quotes what is printed.

As a program it runs the commands of docs/policy.md again and mends what follows each:

.venv/bin/python -m tests.unit.test_policy_doc
"""

import io
import re
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from custody.main import main
from policies.cases import ALLOWED, parse_cases
from policies.codes import Code
from policies.differences import differences, only_tightens
from policies.evaluate import Allowed, evaluate, find_tier
from policies.policy import Policy
from policies.policy_file import parse_policy
from tests.factories import COLD_ADDRESS, public

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "policy.md"
EXAMPLES = ROOT / "policies" / "examples"
NAMES = ("small", "mid-size", "two-wallets", "japan", "incident")
CONSOLE = re.compile(r"(?ms)(?<=^```console\n)\$ custody ([^\n]+)\n.*?(?=^```$)")


def policy(name: str) -> Policy:
    return parse_policy((EXAMPLES / f"{name}.toml").read_bytes())


def said(command: str) -> str:
    """Return what a command prints; of the blast radius the tables, not the words below them."""
    command, _, last = command.partition(" | tail -")
    out = io.StringIO()
    with chdir(ROOT), redirect_stdout(out), redirect_stderr(out):
        main(command.split())
    text = out.getvalue()
    if " blast-radius " in command:
        tables = [part.split("\n  custody:")[0] for part in text.split("\n\n")]
        text = "\n\n".join(tables[:-1]) + "\n"
    return "".join(text.splitlines(keepends=True)[-int(last) :]) if last else text


def mended(text: str) -> str:
    return CONSOLE.sub(lambda block: f"$ custody {block[1]}\n{said(block[1])}", text)


def test_there_are_five() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {
        f"{name}{kind}.toml" for name in NAMES for kind in ("", ".cases")
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_the_officers_expect_holds(name: str, run: Run) -> None:
    files = (EXAMPLES / f"{name}.toml", EXAMPLES / f"{name}.cases.toml")
    code, out, _ = run("policy", "test", *files)
    assert code == 0, out
    cases = parse_cases(policy(name), files[1].read_bytes())
    assert 8 <= len(cases) <= 15
    expected = {case.expect for case in cases}
    codes = {Code(expect) for expect in expected - {ALLOWED}}
    assert ALLOWED in expected
    assert {code.waits for code in codes} == {True, False}


@pytest.mark.parametrize("name", NAMES)
def test_every_tier_of_every_rule_has_a_case_that_it_allows(name: str) -> None:
    read = policy(name)
    cases = parse_cases(read, (EXAMPLES / f"{name}.cases.toml").read_bytes())
    verdicts = [(case, evaluate(read, case.intent, case.facts)) for case in cases]
    used = {
        (rule.name, find_tier(rule, case.intent.amount))
        for rule in read.rules
        for case, verdict in verdicts
        if isinstance(verdict, Allowed) and verdict.rule == rule.name
    }
    assert used == {(rule.name, tier) for rule in read.rules for tier in rule.tiers}


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_those_that_anyone_can_make(name: str) -> None:
    read = policy(name)
    kinds = (read.people, read.services, read.requesters)
    for holder, keys in (item for kind in kinds for item in kind.items()):
        assert keys <= {public(holder), public(f"{holder} spare")}
    assert read.watchtower == public("watchtower")
    for wallet in read.wallets.values():
        assert wallet.signer == public(f"audit of {wallet.name}")
        assert wallet.sweep is None or wallet.sweep.to == COLD_ADDRESS


def test_incident_mode_acts_at_once() -> None:
    before, after = policy("mid-size"), policy("incident")
    assert (after.version, after.previous) == (before.version + 1, before.digest)
    assert only_tightens(before, after)
    assert len(differences(before, after)) > 15
    assert not only_tightens(after, before)


def test_the_doc_quotes_what_is_printed() -> None:
    text = DOC.read_text()
    assert text == mended(text), "mend it: .venv/bin/python -m tests.unit.test_policy_doc"


def test_the_doc_shows_every_example_and_its_blast_radius() -> None:
    commands = [block[1] for block in CONSOLE.finditer(DOC.read_text())]
    shown = [command.split()[2] for command in commands if "blast-radius" in command]
    assert shown == [f"policies/examples/{name}.toml" for name in NAMES]


if __name__ == "__main__":
    DOC.write_text(mended(DOC.read_text()))
