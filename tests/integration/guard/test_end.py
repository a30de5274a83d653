"""END: once there is a tombstone, nothing makes the signer pay that request."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.evaluate import EARLY_MS
from policies.policy_file import parse_policy
from policies.receipts import open_receipt
from policies.statements import Dead, Intent, Signed, digest, encode
from signer.chains.solana_address import transaction_id
from signer.governance import Governance
from signer.requests import Requests
from tests.factories import (
    HOUR,
    NOW,
    key,
    make_dead,
    make_elapsed,
    make_freeze,
    make_intent,
    policy_file,
    public,
    sign,
    wallet_text,
)
from tests.integration.guard.orders import freeze_job
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


def test_what_is_dated_ahead_is_not_ended_yet(rig: SignerRig) -> None:
    """A journal that is recovered meanwhile begins before it: it would pay what was ended."""
    ahead = make_intent(created=NOW + EARLY_MS + 1)
    assert rig.refused(end(ahead)) == Code.INTENT_EARLY
    rig.now += 1
    ended(rig, ahead)
    rig.now = ahead.expires + HOUR
    ended(rig, make_intent(request_id="w-2"))


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
    other = replace(paid, amount=paid.amount - 1)
    ended(rig, other)
    assert rig.signed(transfer(paid)).transaction == signed.transaction
    assert certificate(rig, other) == ("ended", Code.REQUEST_ID_REUSED, "")


def test_the_receipt_of_an_end_says_whether_the_request_may_be_paid(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that heard nothing signs its order anew; custody pays one, and ends the other."""
    first = make_intent()
    again = replace(first, created=NOW + 1)
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(transfer(first))
    rig.restart()
    assert certificate(rig, again) == ("ended", Code.REQUEST_ID_REUSED, "")
    name = rig.signed(transfer(first)).transaction_id
    assert certificate(rig, again) == ("ended", Code.REQUEST_ID_REUSED, "")
    dead = wire.End(intent=enveloped(first), dead=enveloped(make_dead(first, name)))
    assert rig.ask(wire.Job(end=dead)).HasField("ended")
    assert certificate(rig, again) == ("ended", "", "")
    assert certificate(rig, first) == ("ended", "", name)


def certificate(rig: SignerRig, intent: Intent) -> tuple[str, str, str]:
    receipt = open_receipt([public("audit")], rig.ask(end(intent)).receipt)
    assert (receipt.request_id, receipt.intent) == (intent.request_id, digest(encode(intent)))
    return receipt.outcome, receipt.code, receipt.transaction_id


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


def put_in_force(rig: SignerRig, file: bytes) -> None:
    """Put a version in force in which something is gone, as if its delay were over."""
    policy = parse_policy(file)
    Governance(rig.journal).put_in_force(policy, file, rig.guard._clock.now())
    rig.restart()


def test_a_requester_that_was_removed_can_still_end_its_own(rig: SignerRig) -> None:
    waiting, paid = make_intent(), make_intent(request_id="w-2")
    signed = rig.signed(transfer(paid))
    follows = {"version": 2, "previous": rig.policy.digest}
    file = policy_file(exchange=[public("exchange-2")], **follows)
    put_in_force(rig, file)
    assert rig.refused(transfer(waiting)) is Code.REQUESTER_UNKNOWN
    assert rig.refused(transfer(paid)) is Code.REQUESTER_UNKNOWN
    assert ended(rig, waiting) == digest(encode(waiting))
    assert rig.ask(end(paid)).signed.transaction == signed.transaction
    stranger = replace(waiting, request_id="w-3", key=public("mallory"))
    assert rig.refused(end(sign(key("mallory"), stranger))) is Code.REQUESTER_UNKNOWN
    other_name = replace(waiting, request_id="w-3", requester="partner")
    assert rig.refused(end(other_name)) is Code.REQUESTER_UNKNOWN
    forged = Signed(encode(waiting), sign(key("mallory"), waiting).signature)
    assert rig.refused(end(forged)) is Code.REQUESTER_UNKNOWN
    back = policy_file(version=3, previous=digest(file))
    put_in_force(rig, back)
    assert rig.refused(transfer(waiting)) is Code.REQUEST_ENDED


def test_what_was_asked_of_a_wallet_that_is_gone_can_be_ended(rig: SignerRig) -> None:
    waiting = make_intent()
    file = policy_file(version=2, previous=rig.policy.digest).replace(b"hot-sol", b"hot-two")
    put_in_force(rig, file)
    assert rig.refused(transfer(waiting)) is Code.WALLET_UNKNOWN
    assert ended(rig, waiting) == digest(encode(waiting))
    other = policy_file(version=3, previous=digest(file), signer=public("another signer"))
    put_in_force(rig, other)
    late = replace(waiting, request_id="w-2")
    assert rig.refused(end(late)) is Code.WALLET_NOT_HELD, "another signer may have paid it"


def test_what_another_signer_may_have_paid_is_not_ended_when_its_wallet_is_gone(
    make_rig: Callable[[bytes], SignerRig],
) -> None:
    """Custody brings the version here and not there; and the watchtower would believe both."""
    others = wallet_text("second", signer=public("second"))
    rig = make_rig(policy_file(more=others))
    put_in_force(rig, policy_file(version=2, previous=rig.policy.digest))
    assert rig.refused(end(make_intent(wallet="second"))) is Code.WALLET_UNKNOWN


def test_a_key_that_was_dropped_burns_no_id_of_the_next(rig: SignerRig) -> None:
    """A stolen key was replaced: its thief cannot end requests that the new key will make."""
    file = policy_file(exchange=[public("partner")], version=2, previous=rig.policy.digest)
    put_in_force(rig, file)
    old = make_intent()
    ended(rig, old)
    rig.restart()
    ended(rig, old)
    rig.signed(transfer(replace(old, key=public("partner"))))
    put_in_force(rig, policy_file(version=3, previous=digest(file)))
    assert rig.refused(transfer(old)) is Code.REQUEST_ID_REUSED


def test_the_receipt_of_an_end_under_a_dropped_key_says_that_the_id_can_be_paid(
    rig: SignerRig,
) -> None:
    """A backend with a new key signs its order anew; custody pays that, and shows the old end."""
    reserved, old = make_intent(request_id="w-2"), make_intent()
    ended(rig, reserved)
    file = policy_file(exchange=[public("partner")], version=2, previous=rig.policy.digest)
    put_in_force(rig, file)
    for _ in range(2):
        assert certificate(rig, old) == ("ended", Code.REQUESTER_UNKNOWN, "")
    assert certificate(rig, reserved) == ("ended", "", ""), "its key was in force: the id is burnt"
    put_in_force(rig, policy_file(version=3, previous=digest(file)))
    assert certificate(rig, old) == ("ended", Code.REQUESTER_UNKNOWN, ""), "as before"
    again = replace(old, created=old.created + 1)
    rig.signed(transfer(again))
    assert certificate(rig, old) == ("ended", Code.REQUEST_ID_REUSED, "")


# --- what was signed, and the watchtower knows that it never lands


def end_dead(intent: Intent, word: Dead | Signed) -> wire.Job:
    return wire.Job(end=wire.End(intent=enveloped(intent), dead=enveloped(word)))


def test_the_watchtowers_word_ends_what_was_signed(rig: SignerRig) -> None:
    intent = make_intent()
    name = rig.signed(transfer(intent)).transaction_id
    job = end_dead(intent, make_dead(intent, name))
    for _ in range(2):
        assert rig.ask(job).ended.intent == digest(encode(intent))
        assert ended(rig, intent), "with or without the word, from now on"
        assert rig.refused(transfer(intent)) is Code.REQUEST_ENDED
        rig.restart()
    used = make_intent(request_id="w-2")
    assert rig.refused(transfer(used)) is Code.NONCE_USED, "its nonce value stays used"


def test_no_other_word_ends_it(rig: SignerRig) -> None:
    intent, other = make_intent(), make_intent(request_id="w-2")
    first = rig.signed(transfer(intent))
    second = rig.signed(transfer(other, nonce_value=b"\x09" * 32))
    word = make_dead(intent, first.transaction_id)
    wrongs: tuple[Dead | Signed, ...] = (
        make_dead(intent, second.transaction_id),
        make_dead(other, second.transaction_id),
        make_dead(other, first.transaction_id),
        replace(word, key=public("alice")),
        replace(word, key=public("exchange")),
        sign(key("mallory"), word),
        Signed(b"", b""),
        sign(key("watchtower"), make_elapsed("0" * 64)),
    )
    for wrong in wrongs:
        assert rig.refused(end_dead(intent, wrong)) is Code.DEAD_INVALID, wrong
        assert rig.signed(transfer(intent)).transaction == first.transaction


def test_a_word_of_the_watchtower_of_before_is_none(rig: SignerRig) -> None:
    intent = make_intent()
    name = rig.signed(transfer(intent)).transaction_id
    put_in_force(
        rig, policy_file(watchtower=public("tracing"), version=2, previous=rig.policy.digest)
    )
    rig.leased = False
    word = make_dead(intent, name)
    assert rig.refused(end_dead(intent, word)) is Code.DEAD_INVALID
    assert rig.ask(end_dead(intent, replace(word, key=public("tracing")))).HasField("ended")


def test_it_works_under_freeze_and_without_a_lease(rig: SignerRig) -> None:
    intent = make_intent()
    name = rig.signed(transfer(intent)).transaction_id
    assert rig.ask(freeze_job(make_freeze())).HasField("applied")
    rig.restart()
    rig.leased = False
    assert rig.ask(end_dead(intent, make_dead(intent, name))).HasField("ended")


def test_what_a_lost_journal_signed_ends_with_the_watchtowers_word(rig: SignerRig) -> None:
    """It signed one transaction for the request at most, which can never land."""
    intent = make_intent(created=rig.journal.created - 1)
    other = make_intent(request_id="w-2", created=rig.journal.created - 1)
    name = transaction_id(b"\x01" * 64)
    assert rig.refused(end(intent)) is Code.INTENT_BEFORE_JOURNAL
    forged = sign(key("alice"), make_dead(intent, name))
    for wrong in (make_dead(other, name), forged):
        assert rig.refused(end_dead(intent, wrong)) is Code.DEAD_INVALID
    assert rig.ask(end_dead(intent, make_dead(intent, name))).ended.intent
    assert ended(rig, intent), "it stays so"
    assert rig.refused(transfer(intent)) is Code.REQUEST_ENDED
