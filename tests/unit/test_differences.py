"""What a version changes, in words, and which of it tightens: what is not listed loosens."""

from dataclasses import fields, replace
from typing import Any

import pytest

from policies.differences import Difference, differences, only_tightens
from policies.policy import Policy
from policies.policy_file import parse_policy
from tests.factories import (
    COLD_ADDRESS,
    CUSTOMER,
    make_policy,
    policy_file,
    public,
    rule_text,
    wallet_text,
)

SERVICES = {"screening": [public("screening")], "travel": [public("travel")]}
HOUR, DAY = ("wallet", "1 hour", "5 SOL", 5), ("wallet", "24 hours", "9 SOL", 9)
REST = [("approved", "24 hours", "90 SOL", 9), ("upkeep", "24 hours", "1 SOL", 9)]
PARTNER = f'[requesters.partner]\nkeys = ["{public("partner")}"]\n'
BOTH = [["1 of operations", "1 of risk"]]


def found(old: dict[str, Any], new: dict[str, Any]) -> tuple[Difference, ...]:
    return differences(make_policy(**old), make_policy(**new, version=2))


def one_tier(**tier: Any) -> dict[str, Any]:
    return {"services": SERVICES, "tiers": {"40 SOL": {"people": BOTH, **tier}}}


def rules(*texts: str) -> dict[str, Any]:
    return {"more": "".join(texts) + PARTNER + wallet_text("cold-sol")}


OWN, ANY = rule_text("own", destination="own-wallet"), rule_text("rest", destination="any")
OTHERS = rule_text("others", requester="partner", destination="any")

# What both versions say, what the tighter one says instead, the looser one, and the words of it.
ONE_WAY: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"cap": "40 SOL"}, {"cap": "50 SOL"}, "hot-sol: cap per transaction 40 SOL → 50 SOL"),
    (
        {"maximum_fee": "0.001 SOL"},
        {"maximum_fee": "0.002 SOL"},
        "hot-sol: fee per transaction 0.001 SOL → 0.002 SOL",
    ),
    ({"nonce_pool": 3}, {"nonce_pool": 4}, "hot-sol: nonce accounts 3 → 4"),
    (
        {"beyond_recall": "5 SOL"},
        {"beyond_recall": "6 SOL"},
        "hot-sol: signed and not yet final 5 SOL → 6 SOL",
    ),
    ({"enabled": False}, {"enabled": True}, "hot-sol: enabled False → True"),
    (
        {"windows": [DAY, *REST]},
        {"windows": [("wallet", "24 hours", "10 SOL", 9), *REST]},
        "hot-sol: wallet window of 24 hours 9 SOL in 9 transactions → 10 SOL in 9 transactions",
    ),
    (
        {"windows": [DAY, *REST]},
        {"windows": [("wallet", "24 hours", "9 SOL", 10), *REST]},
        "hot-sol: wallet window of 24 hours 9 SOL in 9 transactions → 9 SOL in 10 transactions",
    ),
    (
        {"windows": [HOUR, DAY, *REST]},
        {"windows": [DAY, *REST]},
        "hot-sol: wallet window of 1 hour 5 SOL in 5 transactions → none",
    ),
    (
        {"cooling_period": "2 hours"},
        {"cooling_period": "1 hour"},
        "customers: cooling period 2 hours → 1 hour",
    ),
    (
        {"cooling_amount": "1 SOL"},
        {"cooling_amount": "2 SOL"},
        "customers: cooling amount 1 SOL → 2 SOL",
    ),
    (one_tier(delay="2 hours"), one_tier(delay="1 hour"), "delay 2 hours → 1 hour"),
    (
        one_tier(services=["screening", "travel"]),
        one_tier(services=["travel"]),
        "customers, up to 40 SOL: services screening and travel → travel",
    ),
    (
        one_tier(people=[["2 of operations", "1 of risk"]]),
        one_tier(),
        "approvals 2 of operations and 1 of risk → 1 of operations and 1 of risk",
    ),
    (
        {"tiers": {"40 SOL": ["1 of risk"]}},
        {"tiers": {"41 SOL": ["1 of risk"]}},
        "customers, above 40 SOL up to 41 SOL: refused → allowed",
    ),
    (
        {"tiers": {"1 SOL": [], "40 SOL": ["1 of risk"]}},
        {"tiers": {"2 SOL": [], "40 SOL": ["1 of risk"]}},
        "customers, above 1 SOL up to 2 SOL: approvals 1 of risk → nobody",
    ),
    (
        {"change_delay": "2 days"},
        {"change_delay": "1 day"},
        "changes: delay of changes 2 days → 1 day",
    ),
    (
        {"policy_quorum": ["2 of operations", "1 of risk"]},
        {"policy_quorum": ["1 of operations", "1 of risk"]},
        (
            "changes: who changes the policy 2 of operations and 1 of risk → "
            "1 of operations and 1 of risk"
        ),
    ),
    (
        {"book_quorum": ["1 of operations", "1 of risk"]},
        {"book_quorum": ["1 of risk"]},
        "changes: who changes the address book 1 of operations and 1 of risk → 1 of risk",
    ),
    ({"alice": [public("alice")]}, {}, f"people.alice: key {public('alice-2')} added"),
    (
        {"exchange": [public("exchange")]},
        {"exchange": [public("exchange"), public("x")]},
        f"requesters.exchange: key {public('x')} added",
    ),
    ({"services": {}}, {"services": SERVICES}, "services screening added"),
    (rules(ANY), rules(ANY, OTHERS), ""),
]


@pytest.mark.parametrize(
    ("tighter", "looser", "words"), ONE_WAY, ids=[words[:50] or "rules" for *_, words in ONE_WAY]
)
def test_one_way_tightens_and_the_other_loosens(
    tighter: dict[str, Any], looser: dict[str, Any], words: str
) -> None:
    loosens = found(tighter, looser)
    assert any(words in item.words for item in loosens)
    assert not any(item.tightens for item in loosens)
    if words:
        assert all(item.tightens for item in found(looser, tighter))


# What is neither: it waits both ways.
NEITHER: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"address": CUSTOMER.address}, "hot-sol: address 4q9"),
    ({}, {"signer": public("audit-2")}, "hot-sol: signer ed25519:"),
    ({}, {"key_origin": "import"}, "hot-sol: key_origin token → import"),
    ({}, {"network": "solana:testnet"}, "SOL: network solana:devnet → solana:testnet"),
    ({}, {"hours": "mon-fri 09:00-18:00 UTC"}, "customers: hours always → mon-fri 09:00-18:00 UTC"),
    (
        {"hours": "mon-fri 09:00-18:00 UTC"},
        {"hours": "mon-fri 09:00-18:00 Asia/Tokyo"},
        "customers: hours mon-fri 09:00-18:00 UTC → mon-fri 09:00-18:00 Asia/Tokyo",
    ),
    ({}, {"destination": "any"}, "customers: destination address-book → any"),
    (
        {"services": SERVICES, "destination": "attested by screening"},
        {"services": SERVICES, "destination": "attested by travel"},
        "customers: service screening → travel",
    ),
    (
        {},
        {"watchtower": public("watchtower-2")},
        f"changes: watchtower's key {public('watchtower')} → {public('watchtower-2')}",
    ),
    (
        {},
        {"sweep_to": CUSTOMER.address},
        f"→ to {CUSTOMER.address}, at most 24 transactions, each with a fee of 0.01 SOL",
    ),
    (
        {},
        {"sweep_fee": "0.02 SOL"},
        f"hot-sol: alarm sweep to {COLD_ADDRESS}, at most 24 transactions, each with a fee of 0.01",
    ),
    ({}, {"sweep_count": 23}, "at most 23 transactions, each with a fee of 0.01 SOL"),
    ({}, {"more": wallet_text("cold-sol")}, "wallets cold-sol"),
    (
        rules(OTHERS, ANY),
        rules(ANY, OTHERS),
        "rules: customers, others, rest → customers, rest, others",
    ),
    (rules(OWN, ANY), rules(ANY), "rules: customers, own, rest → customers, rest"),
    (
        {"windows": [HOUR, *REST]},
        {"windows": [("wallet", "24 hours", "5 SOL", 5), *REST]},
        "hot-sol: wallet window of 1 hour 5 SOL in 5 transactions → none",
    ),
    (one_tier(), one_tier(people=[["2 of operations"]]), "carol can no longer reject"),
    (
        one_tier(people=[*BOTH, ["2 of operations"]]),
        one_tier(people=[["1 of risk"]]),
        "alice can no",
    ),
    (
        {"tiers": {"40 SOL": ["1 of risk"]}},
        {"tiers": {"9 SOL": ["1 of risk"], "40 SOL": ["1 of risk"]}},
        "customers: tiers written otherwise",
    ),
]


@pytest.mark.parametrize(
    ("one", "other", "words"), NEITHER, ids=[words[:50] for *_, words in NEITHER]
)
def test_what_only_moves_waits_both_ways(
    one: dict[str, Any], other: dict[str, Any], words: str
) -> None:
    assert not only_tightens(make_policy(**one), make_policy(**other))
    assert not only_tightens(make_policy(**other), make_policy(**one))
    said = [item for item in found(one, other) + found(other, one) if words in item.words]
    assert said


def test_the_same_in_other_bytes_is_no_difference() -> None:
    old = make_policy()
    same = parse_policy(policy_file(version=2, previous=old.digest) + b"# seen\n")
    assert differences(old, same) == ()
    assert only_tightens(old, same)


def test_a_person_less_tightens_and_a_person_more_loosens() -> None:
    four = policy_file().decode().replace('"bob", "carol"]', '"bob", "carol", "dave"]')
    more = parse_policy(f'{four}[people.dave]\nkeys = ["{public("dave")}"]\n'.encode())
    less = make_policy()
    assert differences(more, less) == (
        Difference("people dave removed", tightens=True),
        Difference("groups.risk: member dave removed", tightens=True),
    )
    assert [item.tightens for item in differences(less, more)] == [False, False]


def test_who_leaves_a_group_but_stays_can_no_longer_reject() -> None:
    """Otherwise what carol would stop could be let through at once, without her."""
    text = policy_file().decode().replace('["bob", "carol"]', '["bob"]')
    new = parse_policy(text.encode())
    assert differences(make_policy(), new) == (
        Difference("groups.risk: member carol removed", tightens=True),
        Difference(
            "customers, above 10 SOL up to 40 SOL: carol can no longer reject", tightens=False
        ),
    )


def test_the_rules_of_a_removed_requester_go_with_it() -> None:
    old = make_policy(**rules(OTHERS, ANY))
    new = make_policy(more=ANY + wallet_text("cold-sol"))
    assert differences(old, new) == (Difference("requesters partner removed", tightens=True),)


def test_a_requester_is_not_replaced_under_its_rules() -> None:
    """The rule keeps its name and place, but another may ask by it."""
    new = policy_file().decode().replace('"exchange"', '"partner"')
    new = new.replace("[requesters.exchange]", "[requesters.partner]")
    assert not only_tightens(make_policy(), parse_policy(new.encode()))


@pytest.mark.parametrize(
    ("asks", "above", "tightens"),
    [
        ([["1 of operations", "1 of risk"]], BOTH, True),
        ([["2 of operations", "1 of risk"]], BOTH, True),
        ([["1 of operations"]], BOTH, False),  # one alone could now draw on what takes two
        ([["1 of operations", "1 of risk"], ["1 of risk"]], BOTH, False),
        ([["1 of risk"]], [["1 of risk"], ["2 of operations"]], True),
        ([["1 of risk"]], [], False),  # nobody could draw on the window of approvals before
    ],
)
def test_people_are_asked_at_once_only_who_were_asked_for_more(
    asks: list[list[str]], above: list[list[str]], *, tightens: bool
) -> None:
    old = {"1 SOL": {"people": []}, "40 SOL": {"people": above}}
    new = {"1 SOL": {"people": asks}, "40 SOL": {"people": above}}
    assert only_tightens(make_policy(tiers=old), make_policy(tiers=new)) == tightens


def test_a_laxer_condition_is_not_hidden_by_a_stricter_one() -> None:
    strict: dict[str, Any] = {"delay": "2 hours", "services": ["screening"]}
    loosened: list[dict[str, Any]] = [{"delay": "1 hour"}, {"services": []}]
    for looser in loosened:
        new = one_tier(**strict | looser | {"people": [["2 of operations", "1 of risk"]]})
        outcome = found(one_tier(**strict), new)
        assert not all(item.tightens for item in outcome)
        assert len(outcome) == 2


@pytest.mark.parametrize("field", [field.name for field in fields(Policy)])
def test_no_field_of_a_policy_changes_unseen(field: str) -> None:
    """A field that somebody adds later and forgets here loosens."""
    old, value = make_policy(), getattr(make_policy(), field)
    changed: Any = type(value)()  # less of it
    if field in {"people", "groups", "services", "requesters"}:
        changed = {**value, "changed": frozenset({"x"})}
    changes: dict[str, Any] = {field: changed}
    said_elsewhere = field in {"digest", "version", "previous"}
    assert only_tightens(old, replace(old, **changes)) == said_elsewhere
