"""What an exchange's asyncio backend imports: custody.client's methods, awaited.

    from custody.client_async import AsyncCustodyClient

    async with AsyncCustodyClient.from_config("client.toml") as custody:
        async for change in custody.watch_withdrawals(cursor):
            ...

Invariant: one request_id is one intent, as in custody.client.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeVar, Unpack

from custody.answers import CustodyRefused
from custody.asks import Ask
from custody.calls_async import AsyncCustodyCalls
from custody.certified import AuditKeys
from custody.domain.states import State
from custody.intents import (
    LOOK_SECONDS_MAX,
    LOOK_SECONDS_MIN,
    IntentFields,
    Requesting,
    asks_the_same,
    earlier,
    open_config,
    state_of,
)
from custody.keys import SigningKey
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2 as wire

__all__ = ["AsyncCustodyClient"]
T = TypeVar("T")


class AsyncCustodyClient(Requesting, AsyncCustodyCalls):
    """Custody, as one requester asks it: see custody.client.CustodyClient.

    Make it inside the event loop that uses it.
    """

    def __init__(  # noqa: PLR0913 - who asks, and what is believed
        self,
        target: str,
        tls: TlsFiles,
        key: SigningKey | None = None,
        requester: str = "",
        *,
        audit_keys: AuditKeys = MappingProxyType({}),
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        super().__init__(target, tls, patience)
        self._key, self._requester, self._audit_keys = key, requester, audit_keys

    @classmethod
    def from_config(cls, file: str | Path, passphrase: Callable[[], bytes] | None = None) -> Self:
        """Connect as a settings file says; ConfigError, KeyFileError or OSError when it cannot."""
        config, key = open_config(file, passphrase)
        name, keys = config.name or "", config.audit_keys
        return cls(config.target, config.tls, key, name, audit_keys=keys)

    async def _call(self, ask: Ask[T]) -> T:
        return self._certify(await super()._call(ask), ask.names, ask.of)

    async def watch_withdrawals(
        self, cursor: str = "", *, skip_past: bool = False
    ) -> AsyncGenerator[wire.WatchWithdrawalsResponse, None]:
        """See custody.calls.CustodyCalls; UncertifiedError for an end without a receipt."""
        async for response in super().watch_withdrawals(cursor, skip_past=skip_past):
            yield self._certify(response)

    async def create_withdrawal(self, **fields: Unpack[IntentFields]) -> wire.Withdrawal:
        """Ask for a withdrawal, or return the one that the same call made before.

        CustodyRefused with REQUEST_ID_REUSED when that one differs in more than its times and key:
        a request_id pays once, for ever.
        """
        intent = self.build_intent(**fields)
        try:
            return await self.submit(intent)
        except CustodyRefused as refused:
            if name := earlier(refused.refusal):
                past = await self.get_withdrawal(name)
                if asks_the_same(past, intent):
                    return past
            raise

    async def cancel(self, name: str) -> wire.Withdrawal:
        """Take back `withdrawals/{digest}`; refused with TOO_LATE once it is being signed."""
        return await self.send_cancel(name, self._signed_cancel(name))

    async def wait(
        self,
        name: str,
        until: Collection[State] = (),
        timeout: timedelta = timedelta(minutes=5),  # noqa: ASYNC109 - as custody.client has it
    ) -> wire.Withdrawal:
        """Return the withdrawal once it is in one of `until` or at its end; see its state then.

        TimeoutError when it is in neither after `timeout`.
        """
        end = asyncio.get_running_loop().time() + timeout.total_seconds()
        pause = LOOK_SECONDS_MIN
        while True:
            withdrawal = await self.get_withdrawal(name)
            state = state_of(withdrawal)
            if state in until or state.ended:
                return withdrawal
            if asyncio.get_running_loop().time() + pause > end:
                raise TimeoutError(f"{name} is {state} after {timeout}; wait again or look later")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS_MAX)
