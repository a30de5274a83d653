"""A10, WazirX 2024 (?): the signatures of a request that failed, used for another one."""

from dataclasses import fields
from typing import Any

import pytest

from policies.codes import Code
from policies.statements import Destination, Intent, Signed, encode
from tests.factories import HOUR, NOW, SOL, STRANGER, key, make_approval, make_intent, public, sign
from tests.integration.guard.test_end import ended
from tests.integration.guard.versions import apply, following
from tests.signing import SignerRig, transfer

FAILED = make_intent(amount=20 * SOL)
PEOPLE = ("alice", "carol")
OTHERS: dict[str, Any] = {
    "key": public("alice"),
    "requester": "partner",
    "request_id": "w-2",
    "wallet": "cold-sol",
    "network": "solana:mainnet",
    "asset": "BTC",
    "destination": STRANGER,
    "amount": 20 * SOL + 1,
    "created": NOW - 1,
    "expires": NOW + HOUR + 1,
}


def approvals(rig: SignerRig, **changes: Any) -> list[Signed]:
    return [sign(key(name), make_approval(rig.policy, FAILED, name, **changes)) for name in PEOPLE]


@pytest.mark.parametrize("field", [*OTHERS, "memo"])
def test_for_no_intent_that_differs_in_anything(rig: SignerRig, field: str) -> None:
    """The attacker has the requester's key, and signs whatever it likes."""
    assert OTHERS.keys() == {item.name for item in fields(Intent)}
    tagged = Destination(FAILED.destination.address, "7")
    other = {"destination": tagged} if field == "memo" else {field: OTHERS[field]}
    intent = make_intent(**{"amount": FAILED.amount} | other)
    own = sign(key("exchange"), intent)
    result = rig.ask(transfer(own, *approvals(rig)))
    not_even_looked_at = {
        "key": Code.REQUESTER_UNKNOWN,
        "requester": Code.REQUESTER_UNKNOWN,
        "wallet": Code.WALLET_UNKNOWN,
    }
    assert result.refusal.code == not_even_looked_at.get(field, Code.APPROVAL_INVALID)
    assert rig.signed(transfer(FAILED, *approvals(rig)))


def test_not_for_the_same_one_once_it_was_ended(rig: SignerRig) -> None:
    ended(rig, FAILED)
    assert rig.refused(transfer(FAILED, *approvals(rig))) is Code.REQUEST_ENDED
    again = make_intent(amount=FAILED.amount, request_id="again")
    assert rig.refused(transfer(again, *approvals(rig))) is Code.APPROVAL_INVALID
    fresh = [make_approval(rig.policy, again, name) for name in PEOPLE]
    assert rig.signed(transfer(again, *fresh))


def test_not_after_it_expired_nor_under_another_version(rig: SignerRig) -> None:
    short = approvals(rig, expires=NOW + 1)
    rig.now += 1
    assert rig.refused(transfer(FAILED, *short)) is Code.APPROVALS_STALE
    old = approvals(rig)
    assert apply(rig, following(rig, cap="45 SOL")).HasField("applied")
    assert rig.refused(transfer(FAILED, *old)) is Code.APPROVALS_STALE
    assert rig.refused(transfer(FAILED, old[0], approvals(rig)[1])) is Code.APPROVALS_STALE
    assert rig.signed(transfer(FAILED, *approvals(rig)))


def test_a_cut_out_signature_fits_no_other_statement(rig: SignerRig) -> None:
    wanted = make_intent(amount=FAILED.amount, request_id="w-2")
    moved = [
        Signed(encode(make_approval(rig.policy, wanted, name)), item.signature)
        for name, item in zip(PEOPLE, approvals(rig), strict=True)
    ]
    assert rig.refused(transfer(wanted, *moved)) is Code.APPROVAL_INVALID
    assert rig.signed(transfer(FAILED, *approvals(rig)))
