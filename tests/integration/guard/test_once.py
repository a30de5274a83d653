"""One request has one transaction, for ever: retries, restarts, crashes, other parameters."""

import pytest
from solders.transaction import Transaction

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from signer.governance import Governance
from signer.keys import SignatureFault
from signer.requests import State
from tests.factories import HOUR, SOL, key, make_approval, make_book, make_intent, sign
from tests.integration.guard.versions import apply as apply_version
from tests.integration.guard.versions import following
from tests.signing import SignerRig, apply_book, transfer

OTHER_CHAIN = {
    "nonce_index": 2,
    "nonce_value": b"\x09" * 32,
    "unit_limit": 2_000,
    "unit_price": 5,
}
OUT_OF_BOUNDS = {"nonce_index": 99, "nonce_value": b"", "unit_limit": 0}


def repeats(rig: SignerRig, first: wire.Signed, job: wire.Job) -> bool:
    again = rig.signed(job)
    same = (again.transaction, again.transaction_id) == (first.transaction, first.transaction_id)
    return same and again.repeated


def nonce_value(signed: wire.Signed) -> bytes:
    return bytes(Transaction.from_bytes(signed.transaction).message.recent_blockhash)


def test_a_retry_gives_the_same_bytes_whatever_its_parameters(rig: SignerRig) -> None:
    first = rig.signed(transfer(make_intent()))
    assert not first.repeated
    before = rig.remembered()
    for chain in ({}, OTHER_CHAIN, OUT_OF_BOUNDS):
        assert repeats(rig, first, transfer(make_intent(), **chain))
    bare = transfer(make_intent())
    bare.transfer.ClearField("solana")
    assert repeats(rig, first, bare)
    assert rig.remembered() == before


def test_a_retry_gives_the_same_bytes_after_whatever_happened(rig: SignerRig) -> None:
    """Expired, taken off the book, restarted: what was signed once can be sent by anybody."""
    first = rig.signed(transfer(make_intent()))
    _, previous = Governance(rig.journal).book_version()
    removal = make_book(version=2, previous=previous, add=(), remove=make_book().add)
    assert rig.ask(apply_book(removal, "alice", "carol")).HasField("applied")
    assert rig.refused(transfer(make_intent(request_id="w-2"))) is Code.DESTINATION_NOT_ALLOWED
    assert repeats(rig, first, transfer(make_intent()))
    rig.now += 1000 * HOUR
    assert repeats(rig, first, transfer(make_intent()))
    rig.restart()
    assert repeats(rig, first, transfer(make_intent(), **OTHER_CHAIN))


def test_a_retry_needs_no_approvals_again(rig: SignerRig) -> None:
    intent = make_intent(amount=20 * SOL)
    approvals = [make_approval(rig.policy, intent, name) for name in ("alice", "carol")]
    first = rig.signed(transfer(intent, *approvals))
    reject = make_approval(rig.policy, intent, "bob", decision="reject")
    for job in (transfer(intent), transfer(intent, reject)):
        assert repeats(rig, first, job)


def test_a_retry_needs_the_requesters_signature_again(rig: SignerRig) -> None:
    rig.signed(transfer(make_intent()))
    forged = sign(key("mallory"), make_intent())
    assert rig.refused(transfer(forged)) is Code.SIGNATURE_INVALID


def test_another_intent_under_the_same_id_is_refused(rig: SignerRig) -> None:
    first = rig.signed(transfer(make_intent()))
    for other in (make_intent(amount=1), make_intent(expires=make_intent().expires + 1)):
        assert rig.refused(transfer(other, **OTHER_CHAIN)) is Code.REQUEST_ID_REUSED
    rig.restart()
    assert rig.refused(transfer(make_intent(amount=1))) is Code.REQUEST_ID_REUSED
    assert repeats(rig, first, transfer(make_intent()))


def test_a_nonce_value_is_used_once(rig: SignerRig) -> None:
    rig.signed(transfer(make_intent()))
    second = make_intent(request_id="w-2")
    assert rig.refused(transfer(second)) is Code.NONCE_USED
    rig.restart()
    assert rig.refused(transfer(second)) is Code.NONCE_USED
    assert nonce_value(rig.signed(transfer(second, **OTHER_CHAIN))) == b"\x09" * 32


def pull_out(label: str, message: bytes) -> bytes:
    raise OSError("the token was pulled out")


def test_a_crash_before_signing_binds_the_request_to_its_message(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.token, "sign", pull_out)
    with pytest.raises(OSError, match="pulled out"):
        rig.ask(transfer(make_intent()))
    rig.restart()
    assert rig.refused(transfer(make_intent(amount=1))) is Code.REQUEST_ID_REUSED
    assert rig.refused(transfer(make_intent(request_id="w-2"))) is Code.NONCE_USED
    first = rig.signed(transfer(make_intent(), **OTHER_CHAIN))
    assert not first.repeated
    assert nonce_value(first) == b"\x07" * 32
    assert repeats(rig, first, transfer(make_intent(), **OTHER_CHAIN))


def test_what_was_reserved_and_not_signed_passes_every_check_again(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = make_intent(amount=20 * SOL)
    alice, carol, no = (
        make_approval(rig.policy, intent, "alice"),
        make_approval(rig.policy, intent, "carol"),
        make_approval(rig.policy, intent, "bob", decision="reject"),
    )
    monkeypatch.setattr(rig.token, "sign", pull_out)
    with pytest.raises(OSError, match="pulled out"):
        rig.ask(transfer(intent, alice, carol))
    rig.restart()
    assert rig.refused(transfer(intent)) is Code.APPROVALS_MISSING
    assert rig.refused(transfer(intent, alice, carol, no)) is Code.APPROVAL_REJECTED
    rig.now = intent.expires
    fresh = [
        make_approval(rig.policy, intent, name, expires=rig.now + 1) for name in ("alice", "carol")
    ]
    assert rig.refused(transfer(intent, *fresh)) is Code.INTENT_EXPIRED
    rig.now -= 1
    assert not rig.signed(transfer(intent, *fresh)).repeated


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"maximum_fee": "0.0000055 SOL"}, Code.FEE_EXCEEDED),
        ({"beyond_recall": "0.5000055 SOL"}, Code.LIMIT_EXCEEDED),
    ],
)
def test_what_was_reserved_is_held_to_the_fee_that_stands_in_it(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch, limit: dict[str, str], code: Code
) -> None:
    """Whatever lower fee the job names, when a limit was lowered since."""
    monkeypatch.setattr(rig.token, "sign", pull_out)
    with pytest.raises(OSError, match="pulled out"):
        rig.ask(transfer(make_intent(), unit_price=1_000_000))  # 6,000 lamports in all
    rig.restart()
    assert apply_version(rig, following(rig, **limit)).HasField("applied")
    assert rig.lease(resolved=()).HasField("applied")  # nothing of it was signed
    assert rig.refused(transfer(make_intent())) is code


def test_a_crash_after_signing_gives_the_same_bytes(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    sign_once = rig.token.sign

    def crash(label: str, message: bytes) -> bytes:
        made.append(sign_once(label, message))
        raise OSError("the power went")

    monkeypatch.setattr(rig.token, "sign", crash)
    with pytest.raises(OSError, match="power"):
        rig.ask(transfer(make_intent()))
    rig.restart()
    assert rig.signed(transfer(make_intent(), **OTHER_CHAIN)).transaction[1:65] == made[0]


def test_a_wrong_signature_of_the_token_never_leaves(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that signs with another key, or over other bytes, ends the signer."""
    sign_well = rig.token.sign
    for wrong in (
        lambda _, message: sign_well("audit", message),
        lambda label, message: sign_well(label, message + b"\0"),
        lambda label, message: sign_well(label, message)[:-1],
    ):
        monkeypatch.setattr(rig.token, "sign", wrong)
        with pytest.raises(SignatureFault, match="signature for hot-sol does not verify"):
            rig.ask(transfer(make_intent()))
    reserved = rig.find("w-1")
    assert reserved
    assert reserved.state is State.RESERVED
