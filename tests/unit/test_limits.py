"""The limits of an identity: a bucket of calls, places, and accounts that do not pile up."""

from dataclasses import replace
from pathlib import Path

import pytest

from custody import limits
from custody.limits import LINK, Accounts, Limits
from custody.settings import api_settings
from policies.codes import Code
from policies.reader import FileError, read_toml

LIMITS = Limits(calls_per_second=10, calls_burst=20, calls_at_once=3, streams_at_once=2)
ME, OTHER = "spiffe://kura/requester/me", "spiffe://kura/requester/other"


def entered(accounts: Accounts, times: int, now: float, uri: str = ME) -> int:
    """Return how many of so many calls, each over at once, were let in."""
    count = 0
    for _ in range(times):
        refusal = accounts.enter(uri, now, stream=False)
        if refusal is None:
            accounts.leave(uri, stream=False)
            count += 1
        else:
            assert refusal.code is Code.RATE_EXCEEDED
    return count


def test_a_burst_then_the_rate_and_each_identity_has_its_own() -> None:
    accounts = Accounts(LIMITS)
    assert entered(accounts, 50, 0.0) == 20
    assert entered(accounts, 50, 0.0, OTHER) == 20
    assert [entered(accounts, 50, 0.1 * step) for step in range(1, 6)] == [1] * 5
    assert entered(accounts, 50, 1.5) == 10
    assert entered(accounts, 50, 1_000.0) == 20


def test_a_batch_costs_more_and_at_most_a_full_bucket() -> None:
    accounts = Accounts(LIMITS)
    assert accounts.enter(ME, 0.0, stream=False) is None
    assert accounts.pay(ME, 10, 0.0) is None
    assert accounts.pay(ME, 10, 0.0) is not None
    assert accounts.pay(ME, 9, 0.0) is None
    assert accounts.pay(ME, 1_000, 1.9) is not None
    assert accounts.pay(ME, 1_000, 2.0) is None


def test_what_is_lent_is_paid_before_the_next_call() -> None:
    accounts = Accounts(LIMITS)
    assert entered(accounts, 1, 0.0) == 1
    assert accounts.lend(ME, 29, 0.0) is None
    assert accounts.lend(ME, 1, 0.9) is not None
    assert [entered(accounts, 1, now) for now in (0.0, 1.0, 1.1)] == [0, 0, 1]
    accounts.give_back(ME, 1_000)
    assert entered(accounts, 50, 1.1) == 20


@pytest.mark.parametrize(("stream", "places"), [(False, 3), (True, 2)])
def test_places_are_taken_and_given_back(stream: bool, places: int) -> None:
    accounts = Accounts(LIMITS)
    assert [accounts.enter(ME, 0.0, stream=stream) for _ in range(places)] == [None] * places
    refusal = accounts.enter(ME, 0.0, stream=stream)
    assert refusal is not None
    assert f"{places} " in refusal.message
    assert accounts.enter(ME, 0.0, stream=not stream) is None
    assert accounts.enter(OTHER, 0.0, stream=stream) is None
    accounts.leave(ME, stream=stream)
    assert accounts.enter(ME, 0.0, stream=stream) is None
    assert accounts.enter(ME, 0.0, stream=stream) is not None


def test_what_was_refused_takes_no_place() -> None:
    accounts = Accounts(LIMITS)
    entered(accounts, 50, 0.0)
    assert entered(accounts, 5, 0.0) == 0
    assert [accounts.enter(ME, 1.0, stream=False) for _ in range(3)] == [None] * 3


def test_accounts_at_rest_are_forgotten_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDENTITIES_MAX", 2)
    accounts = Accounts(LIMITS)
    assert accounts.enter(ME, 0.0, stream=True) is None
    assert entered(accounts, 20, 0.0, OTHER) == 20
    assert accounts.enter("third", 1.0, stream=False) is not None
    assert accounts.enter("third", 2.0, stream=False) is None
    assert accounts.enter(OTHER, 99.0, stream=False) is not None
    accounts.leave(ME, stream=True)
    assert entered(accounts, 99, 99.0, OTHER) == 20


SETTINGS = """
listen = "127.0.0.1:0"
database = "dbname=kura"
node = "http://127.0.0.1:9"
[tls]
ca = "ca.pem"
certificate = "api.pem"
key = "api.key"
"""


def settings(more: str) -> Limits:
    return read_toml(SETTINGS + more, lambda root: api_settings(root, Path())).limits


def test_settings_change_some_limits_and_leave_the_others() -> None:
    assert settings("") == Limits()
    assert settings("[limits]\nconnections = 7\n") == Limits(connections=7)
    assert replace(LINK, connection_seconds=Limits().connection_seconds) == Limits()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("conections = 7", "line 10: limits.conections: is not known here"),
        ("connections = 0", "line 10: limits.connections: must be a whole number from 1"),
        ("connections = true", "line 10: limits.connections: must be a whole number from 1"),
    ],
)
def test_a_mistake_in_the_limits_is_told_with_its_line(entry: str, words: str) -> None:
    with pytest.raises(FileError, match=f"^{words}"):
        settings(f"[limits]\n{entry}\n")
