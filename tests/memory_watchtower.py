"""The watchtower's API in memory, beside tests.memory_custody."""

from typing import Any

import grpc
import pytest

from kura.watchtower.v1 import watchtower_pb2 as wire
from policies.codes import Refusal
from policies.freezes import epoch_after
from policies.statements import Approval, Freeze, Unfreeze, Veto, decode, digest
from tests.memory_custody import MemoryCustody, MemoryService, connected, refuse

TARGET = "watchtower.test:443"


class MemoryWatchtower(MemoryService):
    """The API's methods over lists. `refusals` are what it answers first."""

    def __init__(self) -> None:
        super().__init__()
        self.status = wire.GetStatusResponse(signers=[wire.Signer()])
        self.applied = True
        self.refusals = list[Refusal]()
        self.earliest = 0
        self.vetoed: list[str] = []
        self.rejected: list[Approval] = []

    def get_status(self, request: Any) -> wire.GetStatusResponse:
        return self.status

    def create_freeze(self, request: Any) -> wire.CreateFreezeResponse:
        self._refuse()
        freeze = decode(Freeze, request.freeze.statement)
        self.status.freezes.add(
            digest=digest(request.freeze.statement),
            wallet=freeze.wallet,
            person=freeze.person,
            applied=self.applied,
        )
        return wire.CreateFreezeResponse(applied=self.applied)

    def lift_freezes(self, request: Any) -> wire.LiftFreezesResponse:
        self._refuse()
        order = decode(Unfreeze, request.orders[0].statement)
        left = [item for item in self.status.freezes if item.digest not in order.freezes]
        del self.status.freezes[:]
        self.status.freezes.extend(left)
        for signer in self.status.signers:
            signer.epoch = epoch_after(order.epoch, order.freezes)
        return wire.LiftFreezesResponse(applied=self.applied)

    def create_policy_version(self, request: Any) -> wire.CreatePolicyVersionResponse:
        self._refuse()
        self.status.proposals.add(digest=digest(request.file), earliest_time=self.earliest)
        return wire.CreatePolicyVersionResponse(earliest_time=self.earliest)

    def create_veto(self, request: Any) -> wire.CreateVetoResponse:
        self._refuse()
        self.vetoed.append(decode(Veto, request.veto.statement).change)
        return wire.CreateVetoResponse()

    def create_rejection(self, request: Any) -> wire.CreateRejectionResponse:
        self._refuse()
        self.rejected.append(decode(Approval, request.rejection.statement))
        return wire.CreateRejectionResponse()

    def create_recovery(self, request: Any) -> wire.CreateRecoveryResponse:
        self._refuse()
        return wire.CreateRecoveryResponse()

    def _refuse(self) -> None:
        if self.refusals:
            refuse(self.refusals.pop(0))


def serve_both(
    monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody, watchtower: MemoryWatchtower
) -> None:
    """Let channels lead to custody, or to the watchtower where its address is named."""
    both = {TARGET: watchtower}
    monkeypatch.setattr(
        grpc, "secure_channel", lambda target, *_, **__: connected(both.get(target, custody))
    )
