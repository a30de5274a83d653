"""What may come of a call, for both clients: an answer, a no, or nothing usable."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc

from custody.errors import refusal_of
from custody.retrying import RETRIED
from custody.tls import CHANNEL_OPTIONS
from policies.advice import NEXT
from policies.codes import Refusal

T = TypeVar("T")
# A connection that is silent is asked and given up; one that broke is made again soon: gRPC alone
# would wait for up to two minutes.
OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
_NO_ANSWER = {
    "Connection refused": "nothing listens there",
    "hostname lookup error": "no host has this name",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not of the CA in the settings",
}
# What ends a stream that is to be opened again, when no refusal comes with it.
_BREAKS = RETRIED | {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


class CustodyRefused(Exception):  # noqa: N818 - a no is an answer, not an error
    """Custody said no. Match on `refusal.code`; policies.advice says what to do."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}; next: {NEXT[refusal.code]}")
        self.refusal = refusal


class CustodyUnreachableError(Exception):
    """No usable answer: not running, another CA, too slow, no end. `status` is gRPC's."""

    def __init__(self, target: str, status: grpc.StatusCode, details: str | None) -> None:
        self.status = status
        super().__init__(f"custody at {target}: {no_answer(status, details)}")


def no_answer(status: grpc.StatusCode, details: str | None) -> str:
    """Return why a call has no answer, in an operator's words where gRPC's are none."""
    for part, words in _NO_ANSWER.items():
        if part in (details or ""):
            return words
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "no answer in time"
    return f"{status.name}: {unquote(details or '')}"  # gRPC writes [::1] as %5B::1%5D


def failed(target: str, error: grpc.RpcError) -> CustodyRefused | CustodyUnreachableError:
    """Return what to raise for a call's error."""
    if refusal := refusal_of(error):
        return CustodyRefused(refusal)
    return CustodyUnreachableError(target, error.code(), error.details())


def read(target: str, answer: Callable[[Any], T], response: Any) -> T:
    """Return the answer in a response; CustodyUnreachableError when it holds none."""
    try:
        return answer(response)
    except ValueError as error:
        raise CustodyUnreachableError(target, grpc.StatusCode.INTERNAL, str(error)) from error


def endless(target: str, method: str, most: int) -> CustodyUnreachableError:
    """Return what to raise for a list without an end."""
    words = f"{method} never ends: a page came again, or there are more than {most}"
    return CustodyUnreachableError(target, grpc.StatusCode.INTERNAL, words)


def ended(target: str) -> CustodyRefused | CustodyUnreachableError:
    """Return what to raise when a stream ends again and again, without an error."""
    words = "WatchWithdrawals ended, which it never does by itself"
    return CustodyUnreachableError(target, grpc.StatusCode.UNAVAILABLE, words)


def breaks(error: grpc.RpcError) -> bool:
    """Tell whether a stream that ended so is to be opened again."""
    return error.code() in (RETRIED if refusal_of(error) else _BREAKS)
