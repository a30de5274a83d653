"""One flipped bit, in any byte of any order or word of the watchtower's: refused, nothing done."""

from collections.abc import Callable, Iterator

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import digest, encode
from tests.factories import (
    make_approval,
    make_dead,
    make_elapsed,
    make_freeze,
    make_intent,
    make_theft,
    make_unfreeze,
)
from tests.integration.guard.orders import freeze_job, rejection_job, unfreeze_job
from tests.integration.guard.test_alarm import stolen
from tests.integration.guard.test_end import end_dead
from tests.integration.guard.versions import QUORUM, following, signed_by, version_job
from tests.signing import HELLO, SignerRig, alarm, lease_job, transfer

Prepared = tuple[wire.Job, wire.SignedStatement, Code]


def lease(rig: SignerRig) -> Prepared:
    job = lease_job(rig.ask(HELLO), time=rig.now)
    return job, job.apply.lease, Code.LEASE_INVALID


def freeze(_: SignerRig) -> Prepared:
    job = freeze_job(make_freeze())
    return job, job.apply.freeze, Code.FREEZE_INVALID


def unfreeze(rig: SignerRig) -> Prepared:
    order = make_freeze()
    assert rig.ask(freeze_job(order)).HasField("applied")
    job = unfreeze_job(*(make_unfreeze(who, digest(encode(order))) for who in QUORUM))
    return job, job.apply.unfreeze.orders[1], Code.UNFREEZE_INVALID


def dead(rig: SignerRig) -> Prepared:
    intent = make_intent()
    name = rig.signed(transfer(intent)).transaction_id
    job = end_dead(intent, make_dead(intent, name))
    return job, job.end.dead, Code.DEAD_INVALID


def elapsed(rig: SignerRig) -> Prepared:
    file = following(rig, cap="60 SOL")
    job = version_job(file, signed_by(rig, file, *QUORUM), make_elapsed(digest(file)))
    return job, job.apply.policy.elapsed, Code.ELAPSED_INVALID


def rejection(rig: SignerRig) -> Prepared:
    job = rejection_job(make_approval(rig.policy, make_intent(), decision="reject"))
    return job, job.apply.rejection, Code.APPROVAL_INVALID


def theft(_: SignerRig) -> Prepared:
    job = alarm(make_theft(stolen()))
    return job, job.alarm_sweep.theft, Code.THEFT_UNPROVEN


@pytest.mark.parametrize("prepare", [lease, freeze, unfreeze, dead, elapsed, rejection, theft])
def test_every_flipped_bit_is_refused(
    rig: SignerRig, prepare: Callable[[SignerRig], Prepared]
) -> None:
    job, signed, code = prepare(rig)
    rig.leased = False
    before = rig.remembered()
    for field in ("statement", "signature"):
        true = getattr(signed, field)
        for changed in flipped(true):
            setattr(signed, field, changed)
            assert rig.ask(job).refusal.code == code, changed
        setattr(signed, field, true)
    assert rig.remembered() == before
    assert not rig.ask(job).HasField("refusal")


def flipped(data: bytes) -> Iterator[bytes]:
    """Return `data` with one bit flipped, a different one in each byte."""
    for place, byte in enumerate(data):
        yield data[:place] + bytes([byte ^ 1 << place % 8]) + data[place + 1 :]
