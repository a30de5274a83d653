"""`custody watchtower status`: every fact in words, the exit code, nothing that acts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kura.watchtower.v1 import watchtower_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import digest
from tests.factories import policy_file
from tests.memory_custody import MemoryCustody, config_file, refuse
from tests.memory_watchtower import TARGET, MemoryWatchtower, serve_both

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def watchtower(monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody) -> MemoryWatchtower:
    made = MemoryWatchtower()
    made.status = shown()
    serve_both(monkeypatch, custody, made)
    return made


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return config_file(tmp_path, "alice", digest(policy_file()), TARGET)


def shown() -> wire.GetStatusResponse:
    return wire.GetStatusResponse(
        state="PAUSED",
        reason="node stands still: look at this node",
        signers=[
            wire.Signer(
                audit_key="ed25519:" + "ab" * 32,
                journal="0f" * 16,
                sequence=7,
                policy="cd" * 32,
                lease_until=1_800_000_000_000,
                problem="node stands still: look at this node",
            ),
            wire.Signer(audit_key="ed25519:" + "ac" * 32, problem="no relay"),
        ],
        nodes=[
            wire.Node(address="node-1:8899", slot=41),
            wire.Node(address="node-2:8899", problem="lies"),
        ],
        wallets=[
            wire.Wallet(name="hot-sol", address="Hot", balance="9", signed="8", resolved="7"),
        ],
        freezes=[wire.Freeze(digest="ee" * 32, wallet="*", person="alice")],
        alarms=[
            wire.Alarm(
                time=1_800_000_000_000,
                kind="THEFT",
                wallet="hot-sol",
                transaction_id="Tx",
                amount="5",
                message="gone \x1b[31m",
                next="call everybody",
            )
        ],
        proposals=[
            wire.Proposal(digest="fa" * 32, earliest_time=1_800_000_000_000),
            wire.Proposal(digest="fb" * 32, vetoed_by=["bob"]),
        ],
    )


def test_everything_is_said(run: Run, alice: Path, watchtower: MemoryWatchtower) -> None:
    code, out, err = run("--config", alice, "watchtower", "status")
    assert (code, err) == (1, "")
    flat = " ".join(out.split())
    for words in (
        "state PAUSED",
        "why node stands still: look at this node",
        f"journal {'0f' * 16}, seen up to entry 7",
        "epoch the first",
        "lease until 2027-01-15 08:00:00 UTC; no other: node stands still",
        "journal not heard of; seen up to entry 0",
        "policy none heard of",
        "lease none; no other: no relay",
        "node node-1:8899 sees slot 41",
        "node node-2:8899 sees lies",
        "hot-sol 9 8 7 never Hot",
        "frozen all wallets by alice, not at every signer yet",
        f"freeze {'ee' * 32}",
        f"policy version {'fa' * 32}",
        "waits until 2027-01-15 08:00:00 UTC; any officer may veto it",
        "waits for ever: vetoed by bob",
        "alarm THEFT at 2027-01-15 08:00:00 UTC: gone <U+001B>[31m",
        "transaction Tx",
        "amount 5 base units",
        "next call everybody",
    ):
        assert words in flat, words


def test_running_is_zero_and_json_is_whole(
    run: Run, alice: Path, watchtower: MemoryWatchtower
) -> None:
    watchtower.status.state = "RUNNING"
    code, out, err = run("--config", alice, "watchtower", "status", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["state"] == "RUNNING"
    assert told["wallets"][0]["signed"] == "8"
    assert told["freezes"][0]["applied"] is False


def test_a_refusal_is_the_watchtowers_own(
    run: Run, alice: Path, watchtower: MemoryWatchtower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchtower, "get_status", lambda _: refuse(Refusal(Code.ROLE_DENIED, "no")))
    code, out, err = run("--config", alice, "watchtower", "status")
    assert (code, out) == (1, "")
    assert err.startswith("the watchtower refused: ROLE_DENIED\n")


def test_without_its_address_the_setting_is_named(
    run: Run, tmp_path: Path, watchtower: MemoryWatchtower
) -> None:
    file = config_file(tmp_path, "alice", digest(policy_file()))
    code, _, err = run("--config", file, "watchtower", "status")
    assert code == 1
    assert 'add the line watchtower = "host:port"' in err
