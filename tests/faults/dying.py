"""A process of the system that kills itself, as kill -9 does, when it first reaches a named point.

    python tests/faults/dying.py signer-after-reply --config signer.toml serve

It says so in its log first. No setting of the product can do this: the functions are wrapped here.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any, Literal

from kura.signer.v1 import signer_pb2 as wire

Fits = Callable[..., bool]
VICTIM = "DYING_VICTIM"  # in the environment: whom to kill in place of oneself


def event(name: str) -> Fits:
    """A withdrawal moves by this event."""
    return lambda *arguments: name in arguments[2:3]


def asks(verb: str) -> Fits:
    """The jobs or the frame, which come second, ask the signer to do this."""

    def fits(_: object, second: Any) -> bool:
        jobs = wire.Request.FromString(second).jobs if isinstance(second, bytes) else second
        return any(job.WhichOneof("verb") == verb for job in jobs)

    return lambda *arguments: fits(*arguments[:2])


def answers(outcome: str) -> Fits:
    """The frame, which comes second, is a reply with this outcome."""
    return lambda _, frame: any(
        result.WhichOneof("outcome") == outcome for result in wire.Reply.FromString(frame).results
    )


@dataclass(frozen=True, slots=True)
class Point:
    """Where `process` dies: at the first call of `function` (module:name) that fits.

    After a commit is: "after commit" of the transaction in which the function was called. Where it
    `takes_postgres`, PostgreSQL dies there instead, and the process lives.
    """

    process: str
    when: Literal["before", "after", "before commit", "after commit"]
    function: str
    fits: Fits = lambda *_: True
    cancels: bool = False
    kills: bool = False
    takes_postgres: bool = False


_INSERT, _MOVE = "custody.store.withdrawals:insert", "custody.store.withdrawals:move"
_ASK, _CALL = "custody.gateway:Gateway.ask", "custody.relay:Signer.call"
_SEND = "custody.chains.solana:SolanaNode.send"
_RESERVE, _RECORD = "signer.requests:Requests.reserve", "signer.requests:Requests.record"
_END, _SIGN = "signer.requests:Requests.end", "signer.hsm:Token.sign"
_SUBMIT = "custody.watchtower_client:WatchtowerClient.submit_receipts"
_DEAD = "custody.watchtower_client:WatchtowerClient.dead_transactions"
_ACKNOWLEDGE = "custody.store.receipts:acknowledge"
_ADVANCED, _ADVANCE_DONE = "custody.store.advances:signed", "custody.store.advances:done"
_SEE, _REPLY = "signer.requests:Requests.see", "signer.frames:write_frame"

POINTS = {
    "api-before-commit-of-request": Point("api", "before commit", _INSERT),
    "api-after-commit-of-request": Point("api", "after commit", _INSERT),
    "api-before-commit-of-cancel": Point("api", "before commit", _MOVE, event("CANCEL"), True),
    "api-after-commit-of-cancel": Point("api", "after commit", _MOVE, event("CANCEL"), True),
    "worker-before-commit-of-reserved": Point("worker", "before commit", _MOVE, event("RESERVED")),
    "worker-after-commit-before-ask": Point("worker", "after commit", _MOVE, event("RESERVED")),
    "worker-after-ask-before-commit": Point("worker", "after", _ASK, asks("transfer")),
    "worker-before-commit-of-signature": Point(
        "worker", "before commit", _MOVE, event("SIGNATURE")
    ),
    "worker-after-commit-of-signature": Point("worker", "after commit", _MOVE, event("SIGNATURE")),
    "worker-after-receipt-is-taken": Point("worker", "after", _SUBMIT),
    "worker-before-commit-of-acknowledgement": Point("worker", "before commit", _ACKNOWLEDGE),
    "worker-after-commit-of-acknowledgement": Point("worker", "after commit", _ACKNOWLEDGE),
    "worker-before-send": Point("worker", "before", _SEND),
    "worker-after-send-before-commit": Point("worker", "after", _SEND),
    "worker-after-commit-of-sent": Point("worker", "after commit", _MOVE, event("SENT")),
    "worker-before-commit-of-finalised": Point(
        "worker", "before commit", _MOVE, event("FINALISED")
    ),
    "worker-after-commit-of-finalised": Point("worker", "after commit", _MOVE, event("FINALISED")),
    "worker-after-ask-to-end": Point("worker", "after", _ASK, asks("end"), True),
    "worker-before-commit-of-certificate": Point(
        "worker", "before commit", _MOVE, event("CANCEL_CERTIFIED"), True
    ),
    "worker-after-commit-of-certificate": Point(
        "worker", "after commit", _MOVE, event("CANCEL_CERTIFIED"), True
    ),
    "api-before-commit-of-kill": Point("api", "before commit", _MOVE, event("KILL"), kills=True),
    "api-after-commit-of-kill": Point("api", "after commit", _MOVE, event("KILL"), kills=True),
    "worker-after-ask-to-advance": Point(
        "worker", "after", _ASK, asks("nonce_advance"), kills=True
    ),
    "worker-before-commit-of-advance": Point("worker", "before commit", _ADVANCED, kills=True),
    "worker-after-commit-of-advance": Point("worker", "after commit", _ADVANCED, kills=True),
    "worker-before-send-of-advance": Point("worker", "before", _SEND, kills=True),
    "worker-after-send-of-advance": Point("worker", "after", _SEND, kills=True),
    "worker-before-commit-of-fee": Point("worker", "before commit", _ADVANCE_DONE, kills=True),
    "worker-after-commit-of-fee": Point("worker", "after commit", _ADVANCE_DONE, kills=True),
    "worker-after-word-of-death": Point("worker", "after", _DEAD, kills=True),
    "worker-after-ask-to-end-the-dead": Point("worker", "after", _ASK, asks("end"), kills=True),
    "worker-before-commit-of-failed": Point(
        "worker", "before commit", _MOVE, event("FAIL_CERTIFIED"), kills=True
    ),
    "worker-after-commit-of-failed": Point(
        "worker", "after commit", _MOVE, event("FAIL_CERTIFIED"), kills=True
    ),
    "postgres-before-commit-of-reserved": Point(
        "worker", "before commit", _MOVE, event("RESERVED"), takes_postgres=True
    ),
    "postgres-after-commit-of-signature": Point(
        "worker", "after commit", _MOVE, event("SIGNATURE"), takes_postgres=True
    ),
    "postgres-before-commit-of-finalised": Point(
        "worker", "before commit", _MOVE, event("FINALISED"), takes_postgres=True
    ),
    "relay-before-forward": Point("relay", "before", _CALL, asks("transfer")),
    "relay-before-reply": Point("relay", "after", _CALL, asks("transfer")),
    "signer-after-fsync-of-first-sight": Point("signer", "after", _SEE),
    "signer-before-fsync-of-reservation": Point("signer", "before commit", _RESERVE),
    "signer-after-fsync-before-sign": Point("signer", "after", _RESERVE),
    "signer-after-sign-before-fsync": Point("signer", "after", _SIGN),
    "signer-after-fsync-before-token-record": Point("signer", "after", _RECORD),
    "signer-after-token-record-before-reply": Point("signer", "before", _REPLY, answers("signed")),
    "signer-after-reply": Point("signer", "after", _REPLY, answers("signed")),
    "signer-before-fsync-of-tombstone": Point("signer", "before commit", _END, cancels=True),
    "signer-after-fsync-of-tombstone": Point("signer", "after", _END, cancels=True),
}
ALARM = {  # where a signer dies that was shown a theft
    "signer-before-fsync-of-theft-freeze": Point(
        "signer", "before commit", "signer.freezes:Freezes.freeze_all"
    ),
    "signer-after-fsync-of-theft-freeze": Point(
        "signer", "after", "signer.freezes:Freezes.freeze_all"
    ),
    "signer-before-sign-of-sweep": Point("signer", "before", _SIGN),
    "signer-after-sign-of-sweep": Point("signer", "after", _SIGN),
    "signer-before-fsync-of-sweep": Point(
        "signer", "before commit", "signer.journal:Journal.issued"
    ),
    "signer-after-fsync-of-sweep": Point("signer", "after", "signer.journal:Journal.issued"),
    "signer-before-reply-to-alarm": Point("signer", "before", _REPLY, answers("swept")),
}


def last_words(name: str) -> str:
    """What the log says of a death at this point."""
    return f"dies at {name}"


def arm(point: Point, die: Callable[[], None]) -> None:
    """Wrap the function of `point` in this process."""
    if "commit" not in point.when:
        _wrap(point.function, lambda honest: _around(honest, point, die))
        return
    marked: list[object] = []
    if point.process == "signer":
        mark = partial(_around, point=Point("", "before", "", point.fits))
        _wrap(point.function, lambda honest: mark(honest, die=lambda: marked.append(True)))
        _wrap(
            "signer.journal:Journal.entry",
            lambda honest: _journal_transaction(honest, marked, die),
        )
        return
    _wrap(point.function, lambda honest: _marking(honest, point, marked))
    _wrap(
        "custody.store.database:Database.transaction",
        lambda honest: _transaction(honest, marked, point.when, die),
    )


def _wrap(function: str, wrapped: Callable[[Any], Any]) -> None:
    module, _, path = function.partition(":")
    owner: Any = import_module(module)
    *classes, name = path.split(".")
    for item in classes:
        owner = getattr(owner, item)
    setattr(owner, name, wrapped(getattr(owner, name)))


def _around(honest: Any, point: Point, die: Callable[[], None]) -> Any:
    def look(when: str, arguments: tuple[Any, ...]) -> None:
        if point.when == when and point.fits(*arguments):
            die()

    def call(*arguments: Any, **named: Any) -> Any:
        look("before", arguments)
        answer = honest(*arguments, **named)
        look("after", arguments)
        return answer

    async def call_async(*arguments: Any, **named: Any) -> Any:
        look("before", arguments)
        answer = await honest(*arguments, **named)
        look("after", arguments)
        return answer

    return call_async if iscoroutinefunction(honest) else call


def _marking(honest: Any, point: Point, marked: list[object]) -> Any:
    """Remember the connection, which comes first, once the function has written."""

    async def call(connection: object, *arguments: Any, **named: Any) -> Any:
        answer = await honest(connection, *arguments, **named)
        if point.fits(connection, *arguments):
            marked.append(connection)
        return answer

    return call


def _transaction(honest: Any, marked: list[object], when: str, die: Callable[[], None]) -> Any:
    @asynccontextmanager
    async def transaction(database: Any) -> AsyncIterator[Any]:
        async with honest(database) as connection:
            yield connection
            if when == "before commit" and connection in marked:
                die()
        if connection in marked:
            die()

    return transaction


def _journal_transaction(honest: Any, marked: list[object], die: Callable[[], None]) -> Any:
    """Die when all is written and COMMIT, which fsyncs, is next."""

    @contextmanager
    def entry(journal: Any, *arguments: Any) -> Iterator[Any]:
        with honest(journal, *arguments) as db:
            yield db
            if marked:
                die()

    return entry


def _die(name: str, died: list[str]) -> None:
    if not died:
        died.append(name)
        os.write(sys.stdout.fileno(), f"{last_words(name)}\n".encode())
        os.kill(int(os.environ.get(VICTIM, os.getpid())), signal.SIGKILL)


def _run(name: str, arguments: list[str]) -> int:
    point = (POINTS | ALARM)[name]
    arm(point, partial(_die, name, []))
    program = "signer.main" if point.process == "signer" else "custody.main"
    return int(import_module(program).main(arguments))


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
