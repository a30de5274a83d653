"""What a signer says of itself, and what it answers before it has a policy."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import digest, encode
from signer.anchor import begin
from signer.clock import Moment
from signer.frames import reply_to
from signer.guard import Guard
from signer.journal import Journal
from signer.pkcs11 import KeyRefusedError
from tests.factories import NOW, make_book, make_intent, policy_file, public
from tests.signing import SignerRig, apply_book, hold_keys, nonce_open, transfer
from tests.softhsm import SoftHsm

MakeRig = Callable[[bytes], SignerRig]
STATUS = wire.Job(status=wire.Status())


def now() -> Moment:
    return Moment(wall=NOW, steady=0, boot="boot-1", tick=NOW)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(tmp_path / "journal", now())
    yield made
    made.close()


def test_status_tells_what_is_held_and_in_force(rig: SignerRig) -> None:
    status = rig.ask(STATUS).status
    assert status.audit_key == public("audit")
    assert status.journal == rig.journal.name
    assert status.policy == policy_file()
    assert (status.book_version, status.book_digest) == ("1", digest(encode(make_book())))
    assert [(key.wallet, key.key) for key in status.keys] == [("hot-sol", public("hot-sol"))]


def test_without_a_policy_nothing_is_done(softhsm: SoftHsm, journal: Journal) -> None:
    hold_keys(softhsm, "audit", "hot-sol")
    token = softhsm.open()
    begin(token, journal)
    guard = Guard(token, journal, now)
    jobs = (transfer(make_intent()), nonce_open(), apply_book(make_book(), "alice", "carol"))
    for job in (*jobs, wire.Job()):
        assert guard.answer([job])[0].refusal.code == Code.POLICY_MISSING
    status = guard.answer([STATUS])[0].status
    assert (status.policy, status.book_version, status.book_digest) == (b"", "0", "")
    assert journal.sequence == 0


def test_a_token_without_an_audit_key_is_refused_with_words(
    softhsm: SoftHsm, journal: Journal
) -> None:
    hold_keys(softhsm, "hot-sol")
    with pytest.raises(KeyRefusedError, match="no audit key: is it the one of signer init"):
        Guard(softhsm.open(), journal, now)


def test_a_job_without_a_known_verb_is_malformed(rig: SignerRig) -> None:
    for job in (wire.Job(), wire.Job(apply=wire.Apply())):
        assert rig.refused(job) is Code.JOB_MALFORMED
    for job in (wire.Job(transfer=wire.Transfer()), wire.Job(nonce_open=wire.NonceOpen())):
        assert rig.refused(job) in {Code.INTENT_MALFORMED, Code.WALLET_UNKNOWN}


def test_all_questions_of_a_frame_take_the_memory_of_one(make_rig: MakeRig) -> None:
    """The relay is hostile: it must not make the signer outgrow its memory."""
    large = policy_file(more="# words\n" * 30_000)
    rig = make_rig(large)
    frame = wire.Request(id=1, jobs=[STATUS] * 250).SerializeToString()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = wire.Reply.FromString(reply_to(frame, rig.guard.answer))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert reply.fault.endswith("ask for fewer jobs at once")
    assert grown < 50_000, f"{grown} KiB for 250 times {len(large)} bytes"
    assert rig.ask(STATUS).status.policy == large
