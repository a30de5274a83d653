"""What went wrong, in words for whoever typed the command: who said no, why, what to do next."""

from collections.abc import Sequence

import grpc

from custody.cli.session import CommandError
from custody.cli.tower import WatchtowerRefused
from custody.cli.trust import RefusedAnywayError, UntrustedError
from custody.client import (
    ConfigError,
    CustodyRefused,
    CustodyUnreachableError,
    KeyFileError,
    UncertifiedError,
)
from custody.watchtower_client import WatchtowerUnreachableError
from policies.advice import NEXT
from policies.codes import Code, Refusal

_UNREACHABLE = (
    "next: start it if it does not run (custody serve api); check that ca, certificate and key in "
    "the settings are of its CA, and that target is a name in its own certificate"
)
_IN_WORDS = (
    CommandError,
    ConfigError,
    KeyFileError,
    UncertifiedError,
    UntrustedError,
    OSError,
    ValueError,
)


def words_of(error: Exception) -> Sequence[str] | None:
    """Return the lines to print, None for what nobody foresaw."""
    match error:
        case WatchtowerRefused():
            return refusal_words("the watchtower refused", error.refusal)
        case CustodyRefused():
            return refusal_words("custody refused", error.refusal)
        case WatchtowerUnreachableError():
            return (str(error), f"next: {NEXT[Code.WATCHTOWER_UNREACHABLE]}")
        case RefusedAnywayError():
            return refusal_words("the signer would refuse", error.refusal)
        case CustodyUnreachableError(status=grpc.StatusCode.INTERNAL):
            return (str(error), f"next: {NEXT[Code.FAULT]}")
        case CustodyUnreachableError():
            return (str(error), _UNREACHABLE)
        case ImportError() if error.__cause__:
            return (f"{error.__cause__}: this command needs Kura's extra `server`",)
        case OSError() if error.filename:
            return (f"{error.filename}: {error.strerror}",)
    return (str(error),) if isinstance(error, _IN_WORDS) else None


def refusal_words(who: str, refusal: Refusal) -> Sequence[str]:
    """Return who refused, the code, what happened and what to do."""
    named = (("rule", refusal.rule), ("field", refusal.field))
    where = ", ".join(f"{name} {value}" for name, value in named if value)
    said = f"{refusal.message} ({where})" if where else refusal.message
    return (f"{who}: {refusal.code}", said, f"next: {NEXT[refusal.code]}")
