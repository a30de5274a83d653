"""Limits in the signer, by its own counters: what leaves, in amount and number, and until when."""

from collections.abc import Callable
from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Destination
from policies.windows import Period
from signer.requests import Requests
from tests.factories import (
    CUSTOMER,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    WINDOWS,
    make_intent,
    policy_file,
    public,
    rule_text,
)
from tests.integration.guard.payments import FEE, PARTNER, SMALL, ask, code_of, full, pay
from tests.integration.mischief import Crash, crash_in
from tests.signing import SignerRig, enveloped, transfer

MakeRig = Callable[[bytes], SignerRig]
WIDTH = Period.DAY.width
NO_LIMIT = "1000 SOL"
ANYWHERE: dict[str, Any] = {
    "destination": "any",
    "more": f'[requesters.partner]\nkeys = ["{public("partner")}"]\n'
    + rule_text("partners", requester="partner", destination="any"),
}
LARGE: dict[str, Any] = {"amount": 2 * SOL}  # alice must approve it


def windows(**changes: list[object]) -> dict[str, list[object]]:
    return {**WINDOWS, **changes}


def units(amount: int) -> str:
    whole = f"{amount // SOL}.{amount % SOL:09}".rstrip("0").rstrip(".")
    return f"{whole} SOL"


def send(
    rig: SignerRig, *, people: tuple[str, ...] = (), amount: int = SMALL, **changes: Any
) -> Any:
    return ask(rig, amount, *people, **changes)


def sent(rig: SignerRig, **changes: Any) -> None:
    result = send(rig, **changes)
    assert result.WhichOneof("outcome") == "signed", (changes, result)


BY_ALICE = {"people": ("alice",), **LARGE}
SCOPES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    # what fills the window of this scope, and what is not counted in it
    "wallet": ({}, [BY_ALICE]),
    "requester": ({"destination": STRANGER}, [PARTNER, BY_ALICE]),
    "destination": (
        {},
        [{"destination": STRANGER}, {"destination": Destination(CUSTOMER.address, "7")}, BY_ALICE],
    ),
    "approved": (BY_ALICE, [{}]),
}


@pytest.mark.parametrize("limit", ["amount", "count"])
@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_counts_its_own_until_exactly_then(
    make_rig: MakeRig, scope: str, limit: str
) -> None:
    counted, free = SCOPES[scope]
    twice = units(2 * (counted.get("amount", SMALL) + FEE))
    of = ["24 hours", twice, 1000] if limit == "amount" else ["24 hours", NO_LIMIT, 2]
    rig = make_rig(policy_file(windows=windows(**{scope: of}), **ANYWHERE))
    for rig.now in (NOW + WIDTH - 1, NOW + WIDTH):  # the end of a bucket, the start of the next
        sent(rig, **counted)
    for other in free * 2:
        sent(rig, **other)
    for bucket in (25, 26):
        earliest = NOW + bucket * WIDTH
        assert full(send(rig, **counted), scope) == earliest
        rig.now = earliest - 1
        assert full(send(rig, **counted), scope) == earliest
        rig.now += 1
        sent(rig, **counted)


@pytest.mark.parametrize("period", Period, ids=str)
def test_every_period_is_exact(make_rig: MakeRig, period: Period) -> None:
    of = {"wallet": [str(period), NO_LIMIT, 1]}
    rig = make_rig(policy_file(windows=windows(**of)))
    rig.now += 123_456
    pay(rig)
    earliest = (rig.now // period.width + 25) * period.width
    assert full(ask(rig)) == earliest
    rig.now = earliest - 1
    assert full(ask(rig)) == earliest
    rig.now = earliest
    pay(rig)


def test_of_several_windows_the_last_to_open_is_named(make_rig: MakeRig) -> None:
    several = [
        ("wallet", "1 hour", NO_LIMIT, 1),
        ("wallet", "24 hours", NO_LIMIT, 2),
        ("requester", "7 days", NO_LIMIT, 3),
        ("approved", "24 hours", NO_LIMIT, 9),
        ("upkeep", "24 hours", NO_LIMIT, 9),
    ]
    rig = make_rig(policy_file(windows=several))
    for scope, width in (
        ("wallet", Period.HOUR.width),
        ("wallet", Period.DAY.width),
        ("requester", Period.WEEK.width),
    ):
        pay(rig)
        rig.now = full(ask(rig), scope)
        assert rig.now == (NOW // width + 25) * width


def test_the_fee_that_custody_chose_is_counted(make_rig: MakeRig) -> None:
    """Else custody burns the wallet in tips, beside the window."""
    tip = {"unit_limit": 1_000_000, "unit_price": 995_000}  # the most that the policy allows
    dear = SMALL + FEE + 995_000
    rig = make_rig(policy_file(windows=windows(wallet=["24 hours", units(2 * dear), 1000])))
    pay(rig, **tip)
    assert full(ask(rig, SMALL + 1, **tip))
    pay(rig, SMALL, **tip)
    assert full(ask(rig, 1))


def test_a_fee_above_the_policys_is_named_and_counts_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows=windows(wallet=["24 hours", NO_LIMIT, 1])))
    result = ask(rig, unit_limit=1_000_000, unit_price=995_001)
    assert code_of(result) is Code.FEE_EXCEEDED
    pay(rig)


def test_what_never_fits_is_not_asked_for_again(make_rig: MakeRig) -> None:
    most = windows(wallet=["24 hours", units(SMALL + FEE), 1000])
    rig = make_rig(policy_file(windows=most))
    result = ask(rig, SMALL + 1)
    assert code_of(result) is Code.LIMIT_EXCEEDED
    assert not Code(result.refusal.code).waits
    pay(rig, SMALL)


def test_refusals_and_retries_count_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows=windows(wallet=["24 hours", NO_LIMIT, 2])))
    first = transfer(make_intent())
    rig.signed(first)
    for again in (first, transfer(make_intent(), unit_limit=2_000, nonce_value=b"\x09" * 32)):
        assert rig.signed(again).repeated
    for changes in (
        {"amount": 60 * SOL},
        {"amount": 2 * SOL},
        {"destination": STRANGER},
        {"expires": NOW + 1, "created": NOW - HOUR},
    ):
        rig.now += 1
        assert send(rig, **changes).HasField("refusal")
    used = transfer(make_intent(request_id="w-9"))
    assert rig.refused(used) is Code.NONCE_USED
    pay(rig)
    full(ask(rig))


def test_an_ended_reservation_is_not_given_back(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spent limit is not given back."""
    rig = make_rig(policy_file(windows=windows(wallet=["24 hours", NO_LIMIT, 1])))
    intent = make_intent()
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(transfer(intent))
    rig.restart()
    assert rig.ask(wire.Job(end=wire.End(intent=enveloped(intent)))).HasField("ended")
    full(ask(rig))
