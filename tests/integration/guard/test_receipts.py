"""Every signature, tombstone and refusal of a known requester leaves the signer's own word."""

from collections.abc import Callable
from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.receipts import ReceiptError, open_receipt
from policies.statements import Receipt, Signed, digest, encode
from signer import receipts
from signer import requests as requests_module
from signer.chains import solana
from signer.chains.solana_address import encode_address
from signer.frames import FRAME_BYTES_MAX, JOBS_MAX, reply_to
from signer.requests import KEEP_MS
from tests.factories import (
    CUSTOMER,
    NOW,
    SOL,
    STRANGER,
    key,
    make_dead,
    make_intent,
    policy_file,
    public,
    sign,
)
from tests.integration.guard.payments import FEE, SMALL, intend, job_of, pay
from tests.signing import HELLO, SignerRig, enveloped, nonce_open, transfer

MakeRig = Callable[[bytes], SignerRig]
NONCE = encode_address(solana.nonce_address(bytes(key("hot-sol").verify_key), 0))


def receipt_of(rig: SignerRig, result: wire.Result) -> Receipt:
    """Return what the audit key says; journal, sequence and head must be those of now."""
    receipt = open_receipt([public("audit")], result.receipt)
    assert (receipt.journal, receipt.sequence) == (rig.journal.name, rig.journal.sequence)
    assert (receipt.head, receipt.log_head) == (rig.journal.head.hex(), "")
    assert receipt.time == rig.now
    return receipt


def test_a_signature_says_what_may_leave_and_when_it_is_dead(rig: SignerRig) -> None:
    intent = make_intent()
    result = rig.ask(transfer(intent))
    receipt = receipt_of(rig, result)
    assert (receipt.outcome, receipt.code) == ("signed", "")
    assert (receipt.requester, receipt.request_id) == ("exchange", "w-1")
    assert (receipt.wallet, receipt.intent) == ("hot-sol", digest(encode(intent)))
    assert receipt.transaction_id == result.signed.transaction_id
    assert receipt.amount == intent.amount + FEE
    assert (receipt.nonce_account, receipt.nonce_value) == (NONCE, "07" * 32)
    again = receipt_of(rig, rig.ask(transfer(intent)))
    assert again == receipt
    ended = receipt_of(rig, rig.ask(wire.Job(end=wire.End(intent=enveloped(intent)))))
    assert ended == receipt


def test_what_was_signed_long_ago_is_named(rig: SignerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    first = receipt_of(rig, rig.ask(transfer(make_intent())))
    monkeypatch.setattr(requests_module, "_LOOKED_AT_ONCE", 1)
    rig.now += KEEP_MS + 1
    pay(rig)
    result = rig.ask(transfer(make_intent()))
    assert result.signed.transaction == b""
    receipt = receipt_of(rig, result)
    assert receipt.transaction_id == first.transaction_id == result.signed.transaction_id
    assert (receipt.amount, receipt.nonce_account, receipt.nonce_value) == (first.amount, "", "")


def test_a_refusal_of_a_known_requester_has_one(rig: SignerRig) -> None:
    for job, code in (
        (transfer(make_intent(destination=STRANGER)), Code.DESTINATION_NOT_ALLOWED),
        (transfer(make_intent(wallet="absent")), Code.WALLET_UNKNOWN),
        (transfer(make_intent(expires=NOW, created=NOW - 1)), Code.INTENT_EXPIRED),
        (transfer(make_intent(amount=20 * SOL)), Code.APPROVALS_MISSING),
    ):
        receipt = receipt_of(rig, rig.ask(job))
        assert (receipt.outcome, receipt.code) == ("refused", code)
        assert (receipt.request_id, receipt.transaction_id, receipt.amount) == ("w-1", "", 0)


def test_nobody_else_makes_the_signer_write_one(rig: SignerRig) -> None:
    forged = Signed(encode(make_intent()), bytes(64))
    stranger = sign(key("mallory"), make_intent(key=public("mallory")))
    for job in (
        transfer(forged),
        transfer(stranger),
        wire.Job(end=wire.End(intent=enveloped(forged))),
        nonce_open(99),
        wire.Job(),
        HELLO,
        wire.Job(status=wire.Status()),
    ):
        assert rig.ask(job).receipt == b"", job


def test_a_tombstone_names_what_it_ends(rig: SignerRig) -> None:
    waiting, paid = make_intent(), make_intent(request_id="w-2")
    receipt = receipt_of(rig, rig.ask(wire.Job(end=wire.End(intent=enveloped(waiting)))))
    assert (receipt.outcome, receipt.transaction_id, receipt.amount) == ("ended", "", 0)
    assert receipt.intent == digest(encode(waiting))
    name = rig.signed(transfer(paid)).transaction_id
    end = wire.End(intent=enveloped(paid), dead=enveloped(make_dead(paid, name)))
    receipt = receipt_of(rig, rig.ask(wire.Job(end=end)))
    assert (receipt.outcome, receipt.transaction_id) == ("ended", name)
    again = wire.Job(end=wire.End(intent=enveloped(paid)))
    assert receipt_of(rig, rig.ask(again)) == receipt, "after a lost answer"
    other = wire.Job(end=wire.End(intent=enveloped(make_intent(request_id="w-2", amount=1))))
    assert receipt_of(rig, rig.ask(other)).transaction_id == "", "which is about another intent"


def test_what_no_intent_asks_for_has_one(rig: SignerRig) -> None:
    result = rig.ask(nonce_open())
    receipt = receipt_of(rig, result)
    assert receipt.transaction_id == result.signed.transaction_id
    assert (receipt.outcome, receipt.wallet, receipt.amount) == ("signed", "hot-sol", 1_452_680)
    assert (receipt.requester, receipt.request_id, receipt.intent) == ("", "", "")
    assert (receipt.nonce_account, receipt.nonce_value) == ("", "")


def test_a_frame_has_one_signature_and_one_moment(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.renew()
    signed: list[str] = []
    sign_once = rig.token.sign

    def watch(label: str, message: bytes) -> bytes:
        signed.append(label)
        return sign_once(label, message)

    monkeypatch.setattr(rig.token, "sign", watch)
    jobs = [job_of(rig, intend(rig)) for _ in range(5)]
    results = rig.guard.answer([*jobs, wire.Job(), transfer(make_intent(amount=60 * SOL))])
    assert signed == ["hot-sol"] * 5 + ["audit"]
    made = [receipt_of(rig, result) for result in results if result.receipt]
    assert [item.outcome for item in made] == ["signed"] * 5 + ["refused"]
    assert len({(item.sequence, item.head, item.time) for item in made}) == 1


def test_none_is_believed_under_another_key_or_changed(rig: SignerRig) -> None:
    data = rig.ask(transfer(make_intent())).receipt
    with pytest.raises(ReceiptError):
        open_receipt([public("other audit")], data)
    with pytest.raises(ReceiptError):
        open_receipt([public("audit")], data.replace(b"w-1", b"w-2"))


@pytest.mark.parametrize("signs", [True, False])
def test_the_longest_answers_of_a_frame_fit_into_one(make_rig: MakeRig, *, signs: bool) -> None:
    """Whatever custody asks: 250 of the largest transactions, or of the most wordy refusals."""
    memo = "\u00fc" * 128
    seats = [f"1 of {'g' * 28}-{number}" for number in range(6)]
    groups = "".join(f'[groups.{seat[5:]}]\nmembers = ["alice"]\n' for seat in seats)
    tiers: dict[str, Any] = {"50 SOL": [] if signs else {"people": [[seat] for seat in seats]}}
    file = policy_file(destination="any", tiers=tiers, more=groups if not signs else "")
    rig = make_rig(file)
    rig.renew()
    to = type(CUSTOMER)(CUSTOMER.address, memo)
    jobs = [
        job_of(rig, intend(rig, SMALL, destination=to, request_id=f"{'r' * 60}{number:04}"))
        for number in range(JOBS_MAX)
    ]
    for job in jobs:
        job.transfer.solana.nonce_value = job.transfer.intent.signature[:32]
    request = wire.Request(id=1, jobs=jobs)
    assert len(request.SerializeToString()) < FRAME_BYTES_MAX
    frame = reply_to(request.SerializeToString(), rig.guard.answer)
    reply = wire.Reply.FromString(frame)
    assert (reply.fault, len(reply.results)) == ("", JOBS_MAX)
    assert len(frame) <= FRAME_BYTES_MAX
    outcomes = {result.WhichOneof("outcome") for result in reply.results}
    assert outcomes == {"signed" if signs else "refusal"}, reply.results[0]


def test_a_refusals_words_are_cut_to_what_a_frame_has_room_for() -> None:
    refusal = Refusal(Code.APPROVALS_MISSING, "x" + "\u00fc" * 5_000, rule="r" * 32)
    result = receipts._result(refusal, [bytes(1_800)])
    assert result.refusal.message == "x" + "\u00fc" * 499
    assert result.ByteSize() < FRAME_BYTES_MAX // JOBS_MAX
