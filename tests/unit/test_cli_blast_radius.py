"""`custody policy blast-radius`: what an officer reads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories import COLD_ADDRESS, policy_file, wallet_text

Run = Callable[..., tuple[int, str, str]]
WINDOWS = {
    "wallet": ["1 hour", "3 SOL", 1000],
    "destination": ["24 hours", "2 SOL", 1000],
    "approved": ["24 hours", "60 SOL", 3],
    "upkeep": ["24 hours", "0.2 SOL", 64],
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.toml"
    file.write_bytes(policy_file(windows=WINDOWS))
    return file


def table(out: str) -> dict[str, list[str]]:
    rows = [line.split("  ") for line in out.splitlines()]
    return {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row[1:]}


def test_each_position_has_its_figures_and_a_sentence(run: Run, policy: Path) -> None:
    code, out, _ = run("policy", "blast-radius", policy)
    assert code == 0
    rows = table(out)
    assert rows["custody"] == ["0.2 SOL", "0.2 SOL", "1.4 SOL", "5.4 SOL"]
    assert rows["custody, exchange"] == ["3.2 SOL", "72.2 SOL", "487.4 SOL", "1943.4 SOL"]
    # Three of at most 10 SOL and their fees; with two people 60 SOL, before the count binds.
    assert rows["custody, exchange, 1 person"][0] == "33.203 SOL"
    assert rows["custody, exchange, 2 people"][0] == "63.2 SOL"
    assert rows["the key of hot-sol itself"] == ["everything"] * 4
    assert "custody, exchange: asks in the name of exchange, and nobody approves." in out
    assert "and 2 of those whom the rules ask approve." in out
    assert "outstanding intents of requesters, plus upkeep" in out
    assert (
        "At most 1000000 SOL of withdrawals (beyond_recall) is signed and not yet final: so" in out
    )
    # 1000 an hour, 24 times, 162 times, 646 times; 3 that people approve once, 7 times, 27 times.
    assert "followed by one advance of its nonce, at 0.001 SOL at most, which no window" in out
    assert (
        "any 1 hour 1.003 SOL, 24 hours 24.003 SOL, 7 days 162.021 SOL, 28 days 646.081 SOL." in out
    )
    assert "Those who may change the policy (1 of operations and 1 of risk)" in out


def test_what_a_sweep_saves_is_told_and_what_it_costs(run: Run, policy: Path) -> None:
    policy.write_bytes(policy_file(windows=WINDOWS, more=wallet_text("cold-sol")))
    _, out, _ = run("policy", "blast-radius", policy)
    hot, cold = (line for line in out.splitlines() if "itself: pays without the signer" in line)
    assert "one transaction can take everything. What it leaves, and what comes in later" in hot
    assert f"the signer sends to {COLD_ADDRESS} as soon as" in hot
    assert hot.endswith("if it is the faster; in fees at most 0.24 SOL.")
    assert cold.endswith("one transaction can take everything.")


def test_few_destinations_bound_what_their_windows_bound(run: Run, policy: Path) -> None:
    rows = table(run("policy", "blast-radius", policy, "--destinations", "2")[1])
    assert rows["custody, exchange"] == ["3.2 SOL", "4.2 SOL", "29.4 SOL", "113.4 SOL"]
    # Two people change the address book, so they pay as many destinations as they like.
    assert rows["custody, exchange, 2 people"][1] == "132.2 SOL"


def test_a_schedule_says_what_leaves_when(run: Run, policy: Path) -> None:
    asked = ("--destinations", "2", "--schedule", "24 hours")
    _, out, _ = run("policy", "blast-radius", policy, *asked)
    part = out.split("custody, exchange: 4.2 SOL in 24 hours\n")[1].split("\n\n")[0]
    assert [line.split() for line in part.splitlines()[1:]] == [
        ["0d", "00:00:00.000", "3", "SOL", "3", "nobody", "approves"],
        ["0d", "00:00:00.000", "0.2", "SOL", "upkeep"],
        ["0d", "01:00:00.001", "1", "SOL", "1", "nobody", "approves"],
    ]


def test_a_disabled_wallet_pays_nothing(run: Run, policy: Path) -> None:
    policy.write_bytes(policy_file(windows=WINDOWS, enabled=False))
    _, out, _ = run("policy", "blast-radius", policy, "--wallet", "hot-sol")
    assert table(out)["custody"] == ["0 SOL"] * 4
    assert "custody, exchange" not in table(out)
    assert (
        "hot-sol is disabled: its signer pays nobody, but still advances nonces, for a fee." in out
    )
    assert "any 1 hour 0 SOL, 24 hours 0 SOL, 7 days 0 SOL, 28 days 0 SOL." in out


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--wallet", "cold", "no wallet is called cold; there are: hot-sol"),
        ("--schedule", "2 hours", "must be one of: 1 hour, 24 hours, 7 days, 28 days"),
        ("--destinations", "-1", "--destinations"),
    ],
)
def test_what_cannot_be_asked_is_told(
    run: Run, policy: Path, option: str, value: str, words: str
) -> None:
    code, _, err = run("policy", "blast-radius", policy, f"{option}={value}")
    assert code in (1, 2)
    assert words in err
