"""Whose signature counts, over which bytes; and which key in the token makes one."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from policies.codes import Code
from policies.statements import Destination, Intent, Signed, encode
from signer.chains.solana_address import encode_address
from tests.factories import (
    CUSTOMER,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    key,
    make_intent,
    policy_file,
    public,
    sign,
)
from tests.signing import SignerRig, nonce_open, transfer

MakeRig = Callable[[bytes], SignerRig]
FLIPPED: dict[str, Any] = {
    "key": public("alice"),
    "requester": "exchange-2",
    "request_id": "w-2",
    "wallet": "hot-sol2",
    "network": "solana:mainnet",
    "asset": "BTC",
    "destination": Destination(STRANGER.address, ""),
    "amount": SOL // 2 + 1,
    "created": NOW - 1,
    "expires": NOW + HOUR + 1,
}


@pytest.mark.parametrize("signed_before", [False, True])
def test_every_field_of_an_intent_is_covered_by_its_signature(
    rig: SignerRig, *, signed_before: bool
) -> None:
    assert FLIPPED.keys() == {field.name for field in fields(Intent)}
    genuine = sign(key("exchange"), make_intent())
    if signed_before:
        rig.signed(transfer(genuine))
    memo = {"destination": replace(CUSTOMER, memo="7")}
    for changes in (*({name: value} for name, value in FLIPPED.items()), memo):
        forged = Signed(encode(make_intent(**changes)), genuine.signature)
        code = rig.refused(transfer(forged))
        named = {"key", "requester"} & changes.keys()
        assert code is (Code.REQUESTER_UNKNOWN if named else Code.SIGNATURE_INVALID)
        assert rig.find("w-2") is None


def test_every_byte_of_an_intent_and_its_signature_counts(rig: SignerRig) -> None:
    statement = encode(make_intent())
    signature = key("exchange").sign(statement).signature
    for whole in (statement, signature):
        for place in range(len(whole)):
            flipped = whole[:place] + bytes((whole[place] ^ 1,)) + whole[place + 1 :]
            forged = (flipped, signature) if whole is statement else (statement, flipped)
            assert rig.ask(transfer(Signed(*forged))).HasField("refusal"), (place, forged)
    for forged in ((statement, b""), (statement, signature + b"\0"), (b"", signature)):
        assert rig.ask(transfer(Signed(*forged))).HasField("refusal")
    assert rig.find("w-1") is None


def test_a_wallet_of_another_signer_is_left_alone(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(signer=public("other-audit")))
    for job in (transfer(make_intent()), nonce_open()):
        assert rig.refused(job) is Code.WALLET_NOT_HELD


def test_a_key_of_another_address_is_never_used(make_rig: MakeRig) -> None:
    """Somebody exchanged the key in the token, or the line in the policy."""
    rig = make_rig(policy_file(address=STRANGER.address))
    for job in (transfer(make_intent()), nonce_open()):
        assert rig.refused(job) is Code.WALLET_NOT_HELD


@pytest.mark.parametrize("name", ["audit", "absent"])
def test_a_wallet_without_a_key_of_its_own_signs_nothing(make_rig: MakeRig, name: str) -> None:
    """The audit key is in the token, at the address that this policy gives; it is no wallet's."""
    address = encode_address(bytes(key("audit").verify_key))
    rig = make_rig(policy_file(address=address).replace(b"hot-sol", name.encode()))
    for job in (transfer(make_intent(wallet=name)), nonce_open(wallet=name)):
        assert rig.refused(job) is Code.WALLET_NOT_HELD


def test_no_two_signatures_share_their_first_half(rig: SignerRig) -> None:
    """A repeated R would give away the key. Every message here differs in its nonce value."""
    firsts = set()
    for number in range(300):
        job = transfer(
            make_intent(request_id=f"r-{number}"), nonce_value=number.to_bytes(32, "big")
        )
        firsts.add(rig.signed(job).transaction[1:33])
    assert len(firsts) == 300
