"""Which rule applies and whom it asks: services, any of several paths, hours, our own wallets."""

from collections.abc import Callable
from typing import Any

import pytest

from policies.codes import Code
from policies.statements import Destination
from tests.factories import (
    COLD_ADDRESS,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    make_approval,
    make_intent,
    policy_file,
    public,
    rule_text,
    wallet_text,
)
from tests.integration.guard.payments import ask, code_of, intend, job_of, pay
from tests.signing import SignerRig, transfer

MakeRig = Callable[[bytes], SignerRig]
SERVICES = {"screening": [public("screening")], "tracing": [public("tracing")]}
COLD = Destination(COLD_ADDRESS, "")


def missing(rig: SignerRig, amount: int, *people: str, **changes: Any) -> str:
    """Return what it still needs; it must need something."""
    result = ask(rig, amount, *people, **changes)
    assert code_of(result) is Code.APPROVALS_MISSING, result
    return str(result.refusal.message)


def test_services_are_asked_beside_people_and_fill_no_seat(make_rig: MakeRig) -> None:
    tiers = {
        "1 SOL": {"services": ["screening"]},
        "10 SOL": {"services": ["screening", "tracing"], "people": [["1 of operations"]]},
    }
    rig = make_rig(policy_file(services=SERVICES, tiers=tiers))
    assert missing(rig, SOL) == "still needs service screening"
    assert missing(rig, SOL, "tracing", "alice", "bob", "carol") == "still needs service screening"
    pay(rig, SOL, "screening")
    both = "service screening and service tracing"
    assert missing(rig, 2 * SOL) == f"still needs {both} and 1 of operations"
    assert missing(rig, 2 * SOL, "alice") == f"still needs {both}"
    assert missing(rig, 2 * SOL, "screening", "tracing") == "still needs 1 of operations"
    pay(rig, 2 * SOL, "screening", "tracing", "bob")


def test_one_service_that_rejects_ends_it(make_rig: MakeRig) -> None:
    tiers = {"1 SOL": {"services": ["screening"]}, "10 SOL": [["1 of operations"]][0]}
    rig = make_rig(policy_file(services=SERVICES, tiers=tiers))
    for service, code in (("screening", Code.APPROVAL_REJECTED), ("tracing", None)):
        intent = intend(rig, SOL)
        no = make_approval(rig.policy, intent, service, decision="reject")
        yes = make_approval(rig.policy, intent, "screening")
        approvals = [no] if service == "screening" else [no, yes]
        result = rig.ask(transfer(intent, *approvals, nonce_value=service.encode().rjust(32)))
        assert result.refusal.code == (code or "")


def test_a_destination_that_a_service_attests(make_rig: MakeRig) -> None:
    attested = rule_text("checked", destination="attested by tracing", tiers={"2 SOL": []})
    rig = make_rig(policy_file(services=SERVICES, more=attested))
    pay(rig, SOL)  # listed: the first rule asks nobody
    assert missing(rig, SOL, destination=STRANGER) == "still needs service tracing"
    assert "tracing" in missing(rig, SOL, "screening", "alice", destination=STRANGER)
    pay(rig, SOL, "tracing", destination=STRANGER)
    intent = intend(rig, SOL, destination=STRANGER)
    of_another = make_approval(rig.policy, intend(rig, SOL, destination=COLD), "tracing")
    assert rig.refused(transfer(intent, of_another)) is Code.APPROVAL_INVALID
    no = make_approval(rig.policy, intent, "tracing", decision="reject")
    assert rig.refused(transfer(intent, no)) is Code.APPROVAL_REJECTED


def test_our_own_wallet_is_a_destination_of_its_own(make_rig: MakeRig) -> None:
    to_cold = rule_text("to-cold", destination="own-wallet", tiers={"45 SOL": ["1 of risk"]})
    rig = make_rig(policy_file(more=to_cold + wallet_text("cold-sol")))
    assert missing(rig, 45 * SOL, "alice", destination=COLD) == "still needs 1 of risk"
    pay(rig, 45 * SOL, "bob", destination=COLD)
    assert code_of(ask(rig, SOL, destination=STRANGER)) is Code.DESTINATION_NOT_ALLOWED
    hot = Destination(rig.policy.wallets["hot-sol"].address, "")
    assert code_of(ask(rig, SOL, "bob", destination=hot)) is Code.DESTINATION_INVALID


def test_any_of_several_paths(make_rig: MakeRig) -> None:
    tiers = {"10 SOL": {"people": [["1 of operations", "1 of risk"], ["2 of risk"]]}}
    rig = make_rig(policy_file(tiers=tiers))
    assert missing(rig, SOL) == "still needs 1 of operations and 1 of risk or 2 of risk"
    for people in (("alice",), ("bob",), ("carol",), ("bob", "bob"), ("carol", "carol")):
        assert missing(rig, SOL, *people)
    for people in (("alice", "bob"), ("alice", "carol"), ("bob", "carol")):
        pay(rig, SOL, *people)


OFFICE = "fri-fri 09:00-18:00 Asia/Tokyo"  # NOW is a Friday, 17:00 there
CLOSES, OPENS = NOW + HOUR, NOW + 7 * 24 * HOUR - 8 * HOUR


def test_hours_are_exact_in_their_time_zone(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(hours=OFFICE))
    rig.now = CLOSES - 1
    pay(rig)
    for rig.now in (CLOSES, OPENS - 1):
        result = ask(rig)
        assert (code_of(result), result.refusal.rule) == (Code.HOURS_CLOSED, "customers")
        assert result.refusal.earliest_time == OPENS
        assert "09:00-18:00 Asia/Tokyo" in result.refusal.message
    rig.now = OPENS
    pay(rig)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_no_clock_opens_the_hours(make_rig: MakeRig, off: int) -> None:
    rig = make_rig(policy_file(hours=OFFICE))
    rig.now = CLOSES if off < 0 else OPENS - HOUR
    assert code_of(ask(rig)) is Code.HOURS_CLOSED
    rig.set_clock(rig.now + off)
    assert code_of(ask(rig)) is Code.CLOCK_DIFFERS


def test_approvals_do_not_carry_over_tiers_or_amounts(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file())
    intent = intend(rig, 10 * SOL)
    larger = make_intent(request_id=intent.request_id, amount=10 * SOL + 1)
    yes = make_approval(rig.policy, intent, "alice")
    assert rig.refused(transfer(larger, yes)) is Code.APPROVAL_INVALID
    assert rig.signed(job_of(rig, intent, "alice"))
