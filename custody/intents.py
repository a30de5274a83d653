"""What a requester signs: intents and cancels, and how a repeated request is recognised."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NotRequired, TypedDict, TypeVar

from custody.certified import AuditKeys, require_all_certified
from custody.client_config import ClientConfig, ConfigError, read_config
from custody.domain.states import State
from custody.errors import ReusedRefusal
from custody.keys import KeyFileError, SigningKey, load_key
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Refusal
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

DAY = timedelta(days=1)
NAME = "withdrawals/"
_ANY: Mapping[str, Collection[Any]] = MappingProxyType({})
T = TypeVar("T")
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.1, 2.0


class IntentFields(TypedDict):
    """What a withdrawal is asked with. `amount` in base units; `expires_in` at most 7 days."""

    request_id: str
    wallet: str
    network: str
    asset: str
    address: str
    amount: int
    memo: NotRequired[str]
    expires_in: NotRequired[timedelta]


class Requesting:
    """Signs as the `requester` that the policy names, with its key; neither for who only reads."""

    _key: SigningKey | None
    _requester: str
    _audit_keys: AuditKeys

    def _certify(
        self, answer: T, names: Sequence[str] = (), of: Mapping[str, Collection[Any]] = _ANY, /
    ) -> T:
        """Return an answer in which every end has the signer's receipt; UncertifiedError else.

        It is of what was asked for: see `custody.asks.Ask`. Who has a key sees their own only, but
        for what approvers and officers ask.
        """
        own = {"requester": [self._requester]} if self._key and self._requester else {}
        require_all_certified(answer, names, self._audit_keys, {**own, **of})
        return answer

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

    def _signed_cancel(self, name: str) -> Signed:
        key = self._signing_key()
        return key.sign(Cancel(key=key.public, intent=name.removeprefix(NAME)))

    def _signing_key(self) -> SigningKey:
        if self._key is None or not self._requester:
            raise ConfigError("this signs: the settings need name and signing_key")
        return self._key


def state_of(withdrawal: wire.Withdrawal) -> State:
    """Return where a withdrawal is; ValueError for a state that this version does not know."""
    return State(wire.WithdrawalState.Name(withdrawal.state).removeprefix("WITHDRAWAL_STATE_"))


def earlier(refusal: Refusal) -> str | None:
    """Return the name of the withdrawal that has the request_id already, when it says that."""
    return refusal.name if isinstance(refusal, ReusedRefusal) else None


def asks_the_same(past: wire.Withdrawal, intent: Signed) -> bool:
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


def open_config(
    file: str | Path, passphrase: Callable[[], bytes] | None
) -> tuple[ClientConfig, SigningKey | None]:
    """Return the settings and the key that they name, when they name one.

    Who has a key asks for withdrawals, whose ends it believes by [audit_keys] only: ConfigError
    now, not at the first end.
    """
    config = read_config(Path(file))
    if config.signing_key and not config.audit_keys:
        words = f"{config.file}: a requester needs a table [audit_keys], or no end is believed: for"
        words += ' each wallet, WALLET = ["ed25519:…"], its signer in the policy;'
        raise ConfigError(f"{words} ask the officers, not custody (docs/integration.md)")
    ask = passphrase or _refuse_passphrase
    return config, load_key(config.signing_key, ask) if config.signing_key else None


def _refuse_passphrase() -> bytes:
    raise KeyFileError("the signing key is encrypted: pass from_config a way to its passphrase")
