"""The officers' cases: what they may say, and what is refused with line and reason."""

from typing import Any

import pytest

from policies.cases import TAG, outcome, parse_cases
from policies.reader import FileError
from tests.factories import make_policy, public, rule_text, wallet_text

CASE = {
    "say": "a case",
    "wallet": '"hot-sol"',
    "requester": '"exchange"',
    "amount": '"1 SOL"',
    "destination": '"address-book"',
    "expect": '"allowed"',
}
POLICY = make_policy(
    windows=[
        (scope, "24 hours", "10 SOL", 9)
        for scope in ("wallet", "requester", "destination", "approved", "upkeep")
    ],
    services={"screening": [public("screening")]},
    beyond_recall="10 SOL",
    cooling_period="24 hours",
    cooling_amount="0.5 SOL",
    delay="1 hour",
    hours="mon-fri 09:00-18:00 Asia/Tokyo",
    tiers={"1 SOL": [], "5 SOL": {"people": [["1 of risk"]], "services": ["screening"]}},
    more=wallet_text("cold-sol") + rule_text("own", destination="own-wallet"),
)


def text(**says: str) -> bytes:
    lines = [f"{key} = {value}" for key, value in ({**CASE, "say": '"a case"'} | says).items()]
    return "\n".join([TAG, "[[cases]]", *lines, ""]).encode()


def came(**says: str) -> str:
    (case,) = parse_cases(POLICY, text(**says))
    return outcome(POLICY, case)[0]


@pytest.mark.parametrize(
    ("says", "comes"),
    [
        ({}, "allowed"),
        ({"amount": '"2 SOL"'}, "APPROVALS_MISSING"),
        ({"amount": '"2 SOL"', "people": '["bob"]'}, "APPROVALS_MISSING"),
        ({"amount": '"2 SOL"', "people": '["bob"]', "services": '["screening"]'}, "allowed"),
        ({"amount": '"2 SOL"', "rejected_by": '["screening"]'}, "APPROVAL_REJECTED"),
        ({"destination": '"other"'}, "DESTINATION_NOT_ALLOWED"),
        ({"destination": '"own-wallet"'}, "allowed"),
        ({"spent": '"9 SOL"'}, "allowed"),
        ({"spent": '"9 SOL"', "fee": '"0.000005 SOL"'}, "WINDOW_EXCEEDED"),
        ({"spent_by_requester": '"9.1 SOL"'}, "WINDOW_EXCEEDED"),
        ({"spent_to_destination": '"9.1 SOL"'}, "WINDOW_EXCEEDED"),
        ({"spent_approved": '"9.1 SOL"'}, "allowed"),
        ({"not_final": '"9.1 SOL"'}, "RECALL_EXCEEDED"),
        ({"first_seen": '"59 minutes"'}, "DELAY"),
        ({"first_seen": '"1 hour"'}, "allowed"),
        ({"destination_first_seen": '"1 hour"'}, "COOLING"),
        ({"destination_first_seen": '"1 day"', "destination_got": '"9 SOL"'}, "allowed"),
        ({"amount": '"0.5 SOL"', "destination_first_seen": '"1 hour"'}, "allowed"),
        (
            {
                "amount": '"0.5 SOL"',
                "destination_first_seen": '"1 hour"',
                "destination_got": '"0.1 SOL"',
            },
            "COOLING",
        ),
        ({"at": '"2027-01-15 17:59 Asia/Tokyo"'}, "allowed"),
        ({"at": '"2027-01-15 09:00 UTC"'}, "HOURS_CLOSED"),
        ({"at": '"2027-01-16 12:00 Asia/Tokyo"'}, "HOURS_CLOSED"),
        ({"wallet": '"cold-sol"'}, "NO_RULE"),
    ],
)
def test_what_a_case_says_counts(says: dict[str, str], comes: str) -> None:
    assert came(**says) == comes


@pytest.mark.parametrize(
    ("says", "entry", "reason"),
    [
        ({"wallet": '"hot"'}, "cases.0.wallet", "must be one of: hot-sol, cold-sol"),
        ({"requester": '"alice"'}, "cases.0.requester", "must be one of: exchange"),
        ({"amount": '"1 XRP"'}, "cases.0.amount", "names XRP, but this is in SOL"),
        ({"amount": "1"}, "cases.0.amount", "must be text with its asset"),
        ({"destination": '"any"'}, "cases.0.destination", "address-book, own-wallet, other"),
        ({"expect": '"ok"'}, "cases.0.expect", "must be one of: allowed, JOB_MALFORMED"),
        ({"expect": '"allowed "'}, "cases.0.expect", "must be one of: allowed"),
        ({"say": '""'}, "cases.0.say", "1 to 64 characters"),
        ({"people": '["mallory"]'}, "cases.0.people", "must be one of: alice, bob, carol"),
        ({"people": '["screening"]'}, "cases.0.people", "must be one of: alice, bob, carol"),
        ({"people": '["bob", "bob"]'}, "cases.0.people", "says the same thing twice"),
        ({"people": '"bob"'}, "cases.0.people", "must be a list"),
        ({"services": '["alice"]'}, "cases.0.services", "must be one of: screening"),
        ({"rejected_by": '["x"]'}, "cases.0.rejected_by", "must be one of: alice"),
        ({"spent": "9"}, "cases.0.spent", "must be text with its asset"),
        ({"first_seen": '"soon"'}, "cases.0.first_seen", "must be for example"),
        ({"at": '"tomorrow"'}, "cases.0.at", 'for example "2027-01-15 17:30 Asia/Tokyo"'),
        ({"at": '"2027-01-15 17:30 Asia/Kyoto"'}, "cases.0.at", "must be for example"),
        ({"at": '"2027-02-30 17:30 UTC"'}, "cases.0.at", "must be for example"),
        ({"peple": '["bob"]'}, "cases.0.peple", "is not known here"),
    ],
)
def test_what_a_case_cannot_say_is_named(says: dict[str, str], entry: str, reason: str) -> None:
    data = text(**says)
    with pytest.raises(FileError) as caught:
        parse_cases(POLICY, data)
    assert caught.value.entry == entry
    assert reason in caught.value.reason
    key = entry.rpartition(".")[2]
    assert data.decode().split("\n")[caught.value.line - 1].startswith(f"{key} =")


@pytest.mark.parametrize("key", CASE)
def test_what_every_case_must_say(key: str) -> None:
    kept = b"\n".join(line for line in text().split(b"\n") if not line.startswith(key.encode()))
    with pytest.raises(FileError) as caught:
        parse_cases(POLICY, kept)
    assert (caught.value.line, caught.value.entry) == (2, "cases.0")
    assert caught.value.reason.startswith(f"{key} is missing")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", f"the first line must be exactly {TAG}"),
        (b"# kura.policy.v1\n", f"the first line must be exactly {TAG}"),
        (f"{TAG}\n".encode(), "cases is missing"),
        (f"{TAG}\n# \u202e\n".encode(), "holds the hidden character U+202E"),
        (f"{TAG}\n".encode() + b"\xff", "is not UTF-8"),
        (f"{TAG}\ncases = []\nmore = 1\n".encode(), "is not known here"),
    ],
)
def test_a_file_is_read_as_strictly_as_a_policy(data: bytes, reason: str) -> None:
    with pytest.raises(FileError) as caught:
        parse_cases(POLICY, data)
    assert caught.value.reason == reason


def test_a_wallet_alone_has_no_own_wallet_to_send_to() -> None:
    alone: dict[str, Any] = {"destination": '"own-wallet"'}
    with pytest.raises(FileError) as caught:
        parse_cases(make_policy(), text(**alone))
    assert caught.value.reason == "hot-sol is the only wallet on solana:devnet"
