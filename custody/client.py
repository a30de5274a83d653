"""What an exchange's backend imports to ask custody for withdrawals.

    from custody.client import CustodyClient

    with CustodyClient.from_config("client.toml") as custody:
        withdrawal = custody.create_withdrawal(
            request_id="order-1001",
            wallet="hot-sol",
            network="solana:devnet",
            asset="SOL",
            address="CSRWyb7Bkw2E8dEqYyjvbAm2svuNTTHoTCuhtHSV3BKg",
            amount=250_000_000,
        )
        print(custody.wait(withdrawal.name).transaction_id)

Invariant: one request_id is one intent. A call that is repeated sends the same bytes, and one that
is repeated after a crash finds the withdrawal that the first made: nothing is paid twice.
"""

import time
from collections.abc import Callable, Collection, Generator
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeVar

from custody.answers import CustodyRefused, CustodyUnreachableError
from custody.asks import Ask
from custody.calls import CustodyCalls
from custody.certified import AuditKeys, UncertifiedError
from custody.client_config import ConfigError
from custody.domain.states import State
from custody.intents import (
    DAY,
    LOOK_SECONDS_MAX,
    LOOK_SECONDS_MIN,
    Requesting,
    asks_the_same,
    earlier,
    open_config,
    state_of,
)
from custody.keys import KeyFileError, SigningKey
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import Signed

__all__ = [
    "Code",
    "ConfigError",
    "CustodyClient",
    "CustodyRefused",
    "CustodyUnreachableError",
    "KeyFileError",
    "Refusal",
    "Signed",
    "SigningKey",
    "State",
    "TlsFiles",
    "UncertifiedError",
    "state_of",
]

T = TypeVar("T")


class CustodyClient(Requesting, CustodyCalls):
    """Custody, as one requester asks it: `key` signs for the `requester` that the policy names.

    Both may be left out by who only reads. `audit_keys`: by wallet, those of the signer that the
    policy names for it; without them no end is believed (UncertifiedError). A call that gets no
    answer, or one that says "not now", is asked again until `patience` is over. Threads may share
    one. For asyncio: custody.client_async.AsyncCustodyClient.
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

    def _call(self, ask: Ask[T]) -> T:
        return self._certify(super()._call(ask), ask.names, ask.of)

    def watch_withdrawals(
        self, cursor: str = "", *, skip_past: bool = False
    ) -> Generator[wire.WatchWithdrawalsResponse, None, None]:
        """See custody.calls.CustodyCalls; UncertifiedError for an end without a receipt."""
        for response in super().watch_withdrawals(cursor, skip_past=skip_past):
            yield self._certify(response)

    def create_withdrawal(  # noqa: PLR0913 - the fields of an intent
        self,
        *,
        request_id: str,
        wallet: str,
        network: str,
        asset: str,
        address: str,
        amount: int,
        memo: str = "",
        expires_in: timedelta = DAY,
    ) -> wire.Withdrawal:
        """Ask for a withdrawal, or return the one that the same call made before.

        CustodyRefused with REQUEST_ID_REUSED when that one differs in more than its times and key:
        a request_id pays once, for ever.
        """
        intent = self.build_intent(
            request_id=request_id,
            wallet=wallet,
            network=network,
            asset=asset,
            address=address,
            amount=amount,
            memo=memo,
            expires_in=expires_in,
        )
        try:
            return self.submit(intent)
        except CustodyRefused as refused:
            if name := earlier(refused.refusal):
                past = self.get_withdrawal(name)
                if asks_the_same(past, intent):
                    return past
            raise

    def cancel(self, name: str) -> wire.Withdrawal:
        """Take back `withdrawals/{digest}`; refused with TOO_LATE once it is being signed."""
        return self.send_cancel(name, self._signed_cancel(name))

    def wait(
        self,
        name: str,
        until: Collection[State] = (),
        timeout: timedelta = timedelta(minutes=5),
    ) -> wire.Withdrawal:
        """Return the withdrawal once it is in one of `until` or at its end; see its state then.

        TimeoutError when it is in neither after `timeout`.
        """
        end = time.monotonic() + timeout.total_seconds()
        pause = LOOK_SECONDS_MIN
        while True:
            withdrawal = self.get_withdrawal(name)
            state = state_of(withdrawal)
            if state in until or state.ended:
                return withdrawal
            if time.monotonic() + pause > end:
                raise TimeoutError(f"{name} is {state} after {timeout}; wait again or look later")
            time.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS_MAX)
