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
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

from custody.calls import CustodyCalls, CustodyRefused, CustodyUnreachableError
from custody.client_config import ConfigError, read_config
from custody.domain.states import State
from custody.errors import ReusedRefusal
from custody.keys import KeyFileError, SigningKey, load_key
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2 as wire
from policies.statements import (
    Cancel,
    Destination,
    Intent,
    Signed,
    StatementError,
    decode,
    digest,
    verify,
)

__all__ = [
    "ConfigError",
    "CustodyClient",
    "CustodyRefused",
    "CustodyUnreachableError",
    "KeyFileError",
    "Signed",
    "SigningKey",
    "State",
    "TlsFiles",
    "state_of",
]

DAY = timedelta(days=1)
NAME = "withdrawals/"
_LOOK_SECONDS_MIN, _LOOK_SECONDS_MAX = 0.1, 2.0


def state_of(withdrawal: wire.Withdrawal) -> State:
    """Return where a withdrawal is; ValueError for a state that this version does not know."""
    return State(wire.WithdrawalState.Name(withdrawal.state).removeprefix("WITHDRAWAL_STATE_"))


class CustodyClient(CustodyCalls):
    """Custody, as one requester asks it: `key` signs for the `requester` that the policy names.

    Both may be left out by who only reads. A call that gets no answer, or one that says "not now",
    is asked again until `patience` is over.
    """

    def __init__(
        self,
        target: str,
        tls: TlsFiles,
        key: SigningKey | None = None,
        requester: str = "",
        *,
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        super().__init__(target, tls, patience)
        self._key, self._requester = key, requester

    @classmethod
    def from_config(cls, file: str | Path, passphrase: Callable[[], bytes] | None = None) -> Self:
        """Connect as a settings file says; ConfigError, KeyFileError or OSError when it cannot."""
        config = read_config(Path(file))
        ask = passphrase or _refuse_passphrase
        key = load_key(config.signing_key, ask) if config.signing_key else None
        return cls(config.target, config.tls, key, config.name or "")

    def build_intent(  # noqa: PLR0913 - the fields of an intent
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
    ) -> Signed:
        """Return a signed intent to store before `submit`; ValueError names a bad field.

        `amount` in base units; `expires_in` at most 7 days.
        """
        if type(amount) is not int:
            raise ValueError(f"amount: must be an int of base units, not {type(amount).__name__}")
        created = time.time_ns() // 1_000_000
        key = self._signing_key()
        intent = Intent(
            key=key.public,
            requester=self._requester,
            request_id=request_id,
            wallet=wallet,
            network=network,
            asset=asset,
            destination=Destination(address, memo),
            amount=amount,
            created=created,
            expires=created + expires_in // timedelta(milliseconds=1),
        )
        signed = key.sign(intent)
        decode(Intent, signed.statement)  # a malformed field is told before anybody stores it
        return signed

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
            if isinstance(refused.refusal, ReusedRefusal):
                past = self.get_withdrawal(refused.refusal.name)
                if _asks_the_same(past, intent):
                    return past
            raise

    def cancel(self, name: str) -> wire.Withdrawal:
        """Take back `withdrawals/{digest}`; refused with TOO_LATE once it is being signed."""
        key = self._signing_key()
        cancel = Cancel(key=key.public, intent=name.removeprefix(NAME))
        return self.send_cancel(name, key.sign(cancel))

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
        pause = _LOOK_SECONDS_MIN
        while True:
            withdrawal = self.get_withdrawal(name)
            state = state_of(withdrawal)
            if state in until or state.ended:
                return withdrawal
            if time.monotonic() + pause > end:
                raise TimeoutError(f"{name} is {state} after {timeout}; wait again or look later")
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS_MAX)

    def _signing_key(self) -> SigningKey:
        if self._key is None or not self._requester:
            raise ConfigError("this signs: the settings need name and signing_key")
        return self._key


def _asks_the_same(past: wire.Withdrawal, intent: Signed) -> bool:
    """Tell whether a past withdrawal is `intent` but for its times and its key."""
    before = Signed(past.intent.statement, past.intent.signature)
    try:
        asked = decode(Intent, before.statement)
    except StatementError:
        return False
    now = decode(Intent, intent.statement)
    same = replace(asked, key=now.key, created=now.created, expires=now.expires) == now
    named = past.name == NAME + digest(before.statement)
    return same and named and verify(asked.key, before)


def _refuse_passphrase() -> bytes:
    raise KeyFileError("the signing key is encrypted: pass from_config a way to its passphrase")
