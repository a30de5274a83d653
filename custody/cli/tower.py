"""The watchtower as officers ask it: directly, so that custody cannot hide what they order."""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc

from custody import answers
from custody.answers import CustodyRefused
from custody.cli.session import PATIENCE, Wait
from custody.client_config import ClientConfig, ConfigError
from custody.errors import refusal_of
from custody.retrying import ATTEMPT_SECONDS, retrying
from custody.tls import TlsFiles
from custody.watchtower_client import WatchtowerUnreachableError
from kura.watchtower.v1 import watchtower_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2_grpc
from policies.statements import Signed


class WatchtowerRefused(CustodyRefused):
    """The watchtower said no."""


def open_watchtower(config: ClientConfig) -> "Watchtower":
    """Return a connection to the one that the settings name; ConfigError without a name."""
    if config.watchtower is None:
        words = 'this asks the watchtower: add the line watchtower = "host:port", with its address'
        raise ConfigError(f"{config.file}: {words}")
    return Watchtower(config.watchtower, config.tls, PATIENCE)


class Watchtower:
    """A mutual-TLS connection. What it refuses is CustodyRefused, as custody's own refusals are.

    A call without an answer is made again until `patience` is over; none does harm twice.
    """

    def __init__(self, target: str, tls: TlsFiles, patience: timedelta) -> None:
        self._target, self._patience = target, patience
        self._wait = Wait(f"the watchtower at {target}")
        credentials = tls.channel_credentials()
        self._channel = grpc.secure_channel(target, credentials, options=answers.OPTIONS)
        self._stub: Any = watchtower_pb2_grpc.WatchtowerStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()

    def create_freeze(self, freeze: Signed) -> bool:
        """Hand over an officer's freeze; True when every connected signer has it."""
        request = wire.CreateFreezeRequest(freeze=_statement(freeze))
        return bool(self._call("CreateFreeze", request).applied)

    def lift_freezes(self, orders: Sequence[Signed]) -> bool:
        """Hand over what a quorum lifts; True when every connected signer has it."""
        request = wire.LiftFreezesRequest(orders=map(_statement, orders))
        return bool(self._call("LiftFreezes", request).applied)

    def create_policy_version(self, file: bytes, changes: Sequence[Signed]) -> int:
        """Hand over a signed policy version; return when its delay is over, in Unix ms."""
        request = wire.CreatePolicyVersionRequest(file=file, changes=map(_statement, changes))
        return int(self._call("CreatePolicyVersion", request).earliest_time)

    def create_veto(self, veto: Signed) -> None:
        """Hand over an officer's veto."""
        self._call("CreateVeto", wire.CreateVetoRequest(veto=_statement(veto)))

    def create_rejection(self, rejection: Signed) -> None:
        """Hand over an approver's rejection."""
        request = wire.CreateRejectionRequest(rejection=_statement(rejection))
        self._call("CreateRejection", request)

    def create_recovery(self, recover: bytes, changes: Sequence[Signed]) -> None:
        """Hand over a recovery that its quorum signed."""
        request = wire.CreateRecoveryRequest(recover=recover, changes=map(_statement, changes))
        self._call("CreateRecovery", request)

    def get_status(self) -> wire.GetStatusResponse:
        """Return what it sees."""
        status: wire.GetStatusResponse = self._call("GetStatus", wire.GetStatusRequest())
        return status

    def _call(self, method: str, request: Any) -> Any:
        call = getattr(self._stub, method)
        try:
            with self._wait.told():
                return retrying(
                    lambda seconds: call(request, timeout=seconds),
                    self._patience.total_seconds(),
                    ATTEMPT_SECONDS,
                )
        except grpc.RpcError as error:
            if refusal := refusal_of(error):
                raise WatchtowerRefused(refusal) from error
            why = answers.no_answer(error.code(), error.details())
            raise WatchtowerUnreachableError(f"the watchtower at {self._target}: {why}") from error


def _statement(signed: Signed) -> wire.SignedStatement:
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)
