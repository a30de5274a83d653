"""Freezes, what clears them, and rejections, as jobs."""

from kura.signer.v1 import signer_pb2 as wire
from policies.statements import Approval, Freeze, Signed, Unfreeze
from tests.signing import enveloped


def freeze_job(order: Freeze | Signed) -> wire.Job:
    return wire.Job(apply=wire.Apply(freeze=enveloped(order)))


def unfreeze_job(*orders: Unfreeze | Signed) -> wire.Job:
    signed = [enveloped(order) for order in orders]
    return wire.Job(apply=wire.Apply(unfreeze=wire.Unfreeze(orders=signed)))


def rejection_job(rejection: Approval | Signed) -> wire.Job:
    return wire.Job(apply=wire.Apply(rejection=enveloped(rejection)))
