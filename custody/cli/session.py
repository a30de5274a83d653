"""What a command works with: the settings, the connection, the key of who types it."""

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import cached_property
from getpass import GetPassWarning, getpass
from pathlib import Path
from threading import Timer
from typing import TypeVar

from custody.asks import Ask
from custody.certified import require_certified
from custody.cli.output import print_note
from custody.cli.trust import UntrustedError, open_policy
from custody.client import CustodyClient
from custody.client_config import ClientConfig, ConfigError, read_config
from custody.keys import SigningKey, load_key
from kura.custody.v1 import custody_pb2 as wire
from policies import fields
from policies.policy import Policy

T = TypeVar("T")
PATIENCE = timedelta(seconds=10)
SILENCE_SECONDS = 1.5
_config: ContextVar[Path | None] = ContextVar("config", default=None)


class CommandError(Exception):
    """The command cannot be done as it was typed; the message says what to do."""


@contextmanager
def using_config(file: Path | None) -> Iterator[None]:
    """Let commands inside use this settings file; None for the default one."""
    token = _config.set(file)
    try:
        yield
    finally:
        _config.reset(token)


def settings() -> ClientConfig:
    """Return the settings; ConfigError when they are not there or wrong."""
    return read_config(_config.get() or Path.home() / ".config/kura/custody.toml")


def connect(config: ClientConfig, key: SigningKey | None = None) -> CustodyClient:
    """Return a connection; `key` where the command signs as a requester."""
    return _SpokenClient(config.target, config.tls, key, config.name or "", patience=PATIENCE)


def certified(shown: wire.Withdrawal, policy: Policy, config: ClientConfig) -> wire.Withdrawal:
    """Return what custody shows, when an end has the receipt of the pinned policy's signer."""
    pinned = policy.wallets.values() if config.policy_digest else ()
    require_certified(shown, {wallet.name: {wallet.signer} for wallet in pinned})
    return shown


class Wait:
    """Says once for whom it waits, when an answer does not come soon."""

    def __init__(self, whom: str) -> None:
        self._whom, self._said = whom, False

    @contextmanager
    def told(self) -> Iterator[None]:
        """Wait inside."""
        timer = Timer(SILENCE_SECONDS, self._say)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _say(self) -> None:
        if not self._said:
            self._said = True
            print_note(f"waiting for {self._whom} ...")


class _SpokenClient(CustodyClient):
    """Says once that it waits.

    What it shows is certified on the screen, by the pinned policy (see `certified`).
    """

    @cached_property
    def _wait(self) -> Wait:
        return Wait(f"custody at {self._target}")

    def _call(self, ask: Ask[T]) -> T:
        with self._wait.told():
            return super()._call(ask)

    def _certify(self, answer: T, *_: object) -> T:
        return answer


def own_key(config: ClientConfig) -> SigningKey:
    """Return the settings' signing key, its passphrase asked for."""
    if config.signing_key is None:
        raise ConfigError(f"{config.file}: this signs: signing_key must name your key's file")
    return open_key(config.signing_key)


def open_key(file: Path) -> SigningKey:
    """Return the key in a file, its passphrase asked for."""
    return load_key(file, lambda: ask_passphrase(f"Passphrase of {file}: "))


def ask_passphrase(prompt: str) -> bytes:
    """Return what is typed, unseen, or piped in; CommandError when there is nobody to type."""
    try:
        with warnings.catch_warnings(action="error", category=GetPassWarning):
            return getpass(prompt).encode()
    except GetPassWarning:  # no terminal, or one on which what is typed would be seen
        line = "" if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        line = ""
    if not line:
        raise CommandError("no terminal to ask for the passphrase on: run this in a terminal")
    return line.removesuffix("\n").encode()


def own_name(config: ClientConfig) -> str:
    """Return who the settings say is asking."""
    if config.name is None:
        raise ConfigError(f"{config.file}: this signs: name must be yours in the policy")
    return config.name


def check_policy(shown: wire.GetPolicyResponse, config: ClientConfig) -> Policy:
    """Return the policy that custody shows; UntrustedError when it is not the one pinned."""
    policy = open_policy(shown.policy, config.policy_digest)
    if shown.digest != policy.digest:
        raise UntrustedError("policy digest", shown.digest, policy.digest)
    return policy


def shown_policy(custody: CustodyClient, config: ClientConfig) -> Policy:
    """Ask for the policy and check it, to read by."""
    return check_policy(custody.get_policy(), config)


def trusted_policy(custody: CustodyClient, config: ClientConfig) -> Policy:
    """Ask for the policy and check it, to decide by: with a warning while none is pinned."""
    policy = shown_policy(custody, config)
    if config.policy_digest is None:
        words = "WARNING: this policy is custody's word only. Read it (custody policy show), "
        words += f"compare its digest with the other officers, and set in {config.file}:"
        print_note(words, "bold yellow")
        print_note(f'policy_digest = "{policy.digest}"', "yellow")
    return policy


def require_pin(config: ClientConfig) -> None:
    """Refuse to sign amounts by a policy that is custody's word only; ConfigError without a pin."""
    if config.policy_digest is None:
        words = f"{config.file}: this signs an amount, and how many decimals it has must not be "
        words += "custody's word: pin policy_digest. Read the policy (custody policy show), compare"
        words += ' its digest with the officers, and add the line policy_digest = "THE DIGEST"'
        raise ConfigError(words)


def withdrawal_name(text: str) -> str:
    """Return `withdrawals/{digest}` for that or for the digest alone."""
    try:
        return "withdrawals/" + fields.digest(text.removeprefix("withdrawals/"))
    except ValueError as error:
        words = f"{text} is no withdrawal's name: {error}"
        raise CommandError(f"{words}; the lists show it under NAME") from error


def unix_ms() -> int:
    """Return the present time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def hours_from_now(hours: int) -> int:
    """Return that time in Unix milliseconds."""
    return unix_ms() + hours * 3_600_000
