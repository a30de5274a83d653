"""END: once there is a tombstone, nothing makes the signer pay that request."""

from dataclasses import replace

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Intent, Signed, digest, encode
from signer.requests import Requests
from tests.factories import key, make_intent, public, sign
from tests.integration.mischief import Crash, crash_in
from tests.signing import SignerRig, enveloped, transfer


def end(intent: Intent | Signed) -> wire.Job:
    return wire.Job(end=wire.End(intent=enveloped(intent)))


def ended(rig: SignerRig, intent: Intent | Signed) -> str:
    result = rig.ask(end(intent))
    assert result.WhichOneof("outcome") == "ended", result
    return result.ended.intent


def test_an_ended_request_is_never_signed_even_after_a_restart(rig: SignerRig) -> None:
    intent = make_intent()
    assert ended(rig, intent) == digest(encode(intent))
    assert rig.refused(transfer(intent)) == Code.REQUEST_ENDED
    rig.restart()
    assert rig.refused(transfer(intent)) == Code.REQUEST_ENDED
    assert ended(rig, intent) == digest(encode(intent))


def test_no_other_intent_is_paid_under_an_ended_id(rig: SignerRig) -> None:
    intent = make_intent()
    ended(rig, intent)
    assert rig.refused(transfer(replace(intent, amount=intent.amount - 1))) == Code.REQUEST_ENDED
    rig.signed(transfer(replace(intent, request_id="another")))


def test_what_is_signed_is_not_ended_but_answered_with(rig: SignerRig) -> None:
    intent = make_intent()
    signed = rig.signed(transfer(intent))
    answer = rig.ask(end(intent)).signed
    assert (answer.transaction, answer.repeated) == (signed.transaction, True)
    assert rig.signed(transfer(intent)).transaction == signed.transaction


def test_a_message_reserved_before_a_crash_can_be_ended(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = make_intent()
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(transfer(intent))
    rig.restart()
    ended(rig, intent)
    assert rig.refused(transfer(intent)) == Code.REQUEST_ENDED


def test_an_intent_whose_id_paid_another_is_ended_without_touching_that_one(
    rig: SignerRig,
) -> None:
    paid = make_intent()
    signed = rig.signed(transfer(paid))
    ended(rig, replace(paid, amount=paid.amount - 1))
    assert rig.signed(transfer(paid)).transaction == signed.transaction


def test_a_stranger_cannot_burn_a_requesters_id(rig: SignerRig) -> None:
    intent = make_intent()
    forged = Signed(encode(intent), sign(key("mallory"), intent).signature)
    assert rig.refused(end(forged)) == Code.SIGNATURE_INVALID
    own = replace(intent, key=public("mallory"))
    assert rig.refused(end(sign(key("mallory"), own))) == Code.REQUESTER_UNKNOWN
    rig.signed(transfer(intent))


def test_the_tombstone_is_there_before_the_answer(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = make_intent()
    with monkeypatch.context() as patch:
        crash_in(Requests, "end", patch)
        with pytest.raises(Crash):
            rig.ask(end(intent))
    rig.restart()
    assert rig.refused(transfer(intent)) == Code.REQUEST_ENDED


def test_a_new_journal_does_not_swear_for_an_old_one(rig: SignerRig) -> None:
    intent = make_intent()
    old = replace(intent, created=rig.journal.created - 1)
    assert rig.refused(end(old)) == Code.INTENT_BEFORE_JOURNAL
