"""The worker's way to the watchtower: receipts there, acknowledgements and words of death back.

Invariant: a list has one entry for each thing asked, in order, None where there is none; anything
else is WatchtowerUnreachableError, after which asking again does no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from custody.answers import OPTIONS, no_answer
from custody.tls import TlsFiles
from kura.watchtower.v1 import watchtower_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2_grpc
from policies.statements import Signed

ANSWER_SECONDS = 5.0


class WatchtowerUnreachableError(Exception):
    """It did not answer in time, or not what was asked."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Of a policy version: Unix ms at which it is over, and kura.elapsed.v1 once it is."""

    earliest: int
    elapsed: Signed | None


class Watchtower(Protocol):
    """What the worker asks of a watchtower."""

    async def submit_receipts(self, receipts: Sequence[bytes]) -> list[Signed | None]:
        """Return kura.ack.v1 for each receipt that it holds now."""

    async def dead_transactions(self, ids: Sequence[str]) -> list[Signed | None]:
        """Return kura.dead.v1 for each transaction that can never land."""

    async def policy_version(self, file: bytes, changes: Sequence[Signed]) -> Delay:
        """Let its delay begin, if it has not, and return it."""


class WatchtowerClient:
    """A mutual-TLS connection to the watchtower at `target` (host:port)."""

    def __init__(self, target: str, tls: TlsFiles) -> None:
        self._target = target
        self._channel = grpc.aio.secure_channel(target, tls.channel_credentials(), options=OPTIONS)
        self._stub: Any = watchtower_pb2_grpc.WatchtowerStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def submit_receipts(self, receipts: Sequence[bytes]) -> list[Signed | None]:
        """See Watchtower."""
        request = wire.SubmitReceiptsRequest(receipts=receipts)
        response = await self._call(self._stub.SubmitReceipts, request)
        return self._each(response.acks, len(receipts))

    async def dead_transactions(self, ids: Sequence[str]) -> list[Signed | None]:
        """See Watchtower."""
        request = wire.GetDeadTransactionsRequest(transaction_ids=ids)
        response = await self._call(self._stub.GetDeadTransactions, request)
        return self._each(response.dead, len(ids))

    async def policy_version(self, file: bytes, changes: Sequence[Signed]) -> Delay:
        """See Watchtower."""
        signed = [
            wire.SignedStatement(statement=item.statement, signature=item.signature)
            for item in changes
        ]
        request = wire.CreatePolicyVersionRequest(file=file, changes=signed)
        response = await self._call(self._stub.CreatePolicyVersion, request)
        (elapsed,) = self._each([response.elapsed], 1)
        return Delay(response.earliest_time, elapsed)

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            words = f"watchtower at {self._target}: {no_answer(error.code(), error.details())}"
            raise WatchtowerUnreachableError(words) from error

    def _each(self, items: Sequence[wire.SignedStatement], asked: int) -> list[Signed | None]:
        if len(items) != asked:
            words = f"watchtower at {self._target}: {len(items)} answers to {asked} questions"
            raise WatchtowerUnreachableError(words)
        return [
            Signed(item.statement, item.signature) if item.statement else None for item in items
        ]
