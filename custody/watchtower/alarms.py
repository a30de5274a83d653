"""Alarms: on the disk, in the log, counted, and told by a command that the settings name.

The command is run without a shell, one alarm at a time, the alarm as JSON on its standard input.
One that could not be told is told again, after a restart too; nothing ever waits for it.
"""

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE

import structlog

from custody.watchtower.counters import ALARMS
from custody.watchtower.database import Database
from kura.watchtower.v1 import watchtower_pb2 as wire

COMMAND_SECONDS = 10.0
AGAIN_SECONDS = 30.0
KINDS = ("THEFT", "UNEXPLAINED", "ROLLBACK", "NODE", "RECEIPT")
NEWEST_OF_KIND = 20  # so that what anybody can raise by the hundred hides no theft

SCHEMA = """
CREATE TABLE IF NOT EXISTS alarm (
  number INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL, wallet TEXT NOT NULL,
  transaction_id TEXT NOT NULL, amount TEXT NOT NULL, message TEXT NOT NULL, next TEXT NOT NULL,
  told INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS alarm_once ON alarm (kind, transaction_id)
  WHERE transaction_id <> '';
CREATE INDEX IF NOT EXISTS alarm_untold ON alarm (number) WHERE told = 0;
CREATE INDEX IF NOT EXISTS alarm_kind ON alarm (kind, number);
"""
_FIELDS = ("time", "kind", "wallet", "transaction_id", "amount", "message", "next")
_SELECT = f"SELECT number, {', '.join(_FIELDS)} FROM alarm"  # noqa: S608 - our own names
_NEXT_UNTOLD = (
    f"{_SELECT} WHERE told = 0 AND number NOT IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own names
    " ORDER BY kind <> 'THEFT', number LIMIT 1"
)
log = structlog.get_logger()


class Alarms:
    """`command`: program and arguments, () for none."""

    def __init__(
        self, database: Database, clock: Callable[[], int], command: Sequence[str] = ()
    ) -> None:
        self._database, self._clock, self._command = database, clock, command
        self._raised = asyncio.Event()
        for kind in KINDS:
            ALARMS.labels(kind)  # from 0 on: Prometheus sees no rise in a first value

    def __call__(  # noqa: PLR0913 - see parts.Alarm
        self,
        kind: str,
        message: str,
        next: str,  # noqa: A002
        *,
        wallet: str = "",
        transaction_id: str = "",
        amount: int | None = None,
    ) -> None:
        """Raise an alarm, as `parts.Alarm` says. Not inside a transaction; never fails."""
        if kind not in KINDS:
            raise ValueError(f"no alarm is of the kind {kind}")
        units = "" if amount is None else str(amount)
        values = (self._clock(), kind, wallet, transaction_id, units, message, next)
        try:
            if not self._store(values):
                return
        except sqlite3.Error as error:  # what raises an alarm has better things to do than fail
            log.error("alarm not stored", reason=str(error), next="look at the watchtower's disk")  # noqa: TRY400
        ALARMS.labels(kind).inc()
        log.error("alarm", **dict(zip(_FIELDS[1:], values[1:], strict=True)))
        self._raised.set()

    def newest(self) -> list[wire.Alarm]:
        """Return the newest alarms of each kind, newest first."""
        query = f"{_SELECT} WHERE kind = ? ORDER BY number DESC LIMIT {NEWEST_OF_KIND}"
        rows = [row for kind in KINDS for row in self._database.rows(query, kind)]
        rows.sort(reverse=True)
        return [wire.Alarm(**dict(zip(_FIELDS, row[1:], strict=True))) for row in rows]

    async def run(self) -> None:
        """Tell what was not told yet, for ever."""
        while self._command:
            self._raised.clear()
            told = await self._tell_all()
            try:
                async with asyncio.timeout(None if told else AGAIN_SECONDS):
                    await self._raised.wait()
            except TimeoutError:
                continue

    def _store(self, values: tuple[int | str, ...]) -> bool:
        """Return whether it is a new one."""
        names = f"{', '.join(_FIELDS)}, told"
        query = f"INSERT OR IGNORE INTO alarm ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, 0)"  # noqa: S608 - our own names
        with self._database.transaction() as db:
            return bool(db.execute(query, values).rowcount)

    async def _tell_all(self) -> bool:
        now, failed = asyncio.get_running_loop().time, dict[object, float]()
        try:
            # One at a time: a theft is told before what anybody can raise by the hundred, and one
            # that could not be told is told again before the rest of it.
            while rows := self._database.rows(_NEXT_UNTOLD, _since(failed, now() - AGAIN_SECONDS)):
                number = rows[0][0]
                if await self._tell(rows[0]):
                    failed.pop(number, None)
                else:
                    failed[number] = now()
        except sqlite3.Error as error:
            log.error("alarms not read", reason=str(error), next="look at the watchtower's disk")  # noqa: TRY400
            return False
        return not failed

    async def _tell(self, row: tuple[object, ...]) -> bool:
        number, alarm = row[0], json.dumps(dict(zip(_FIELDS, row[1:], strict=True)))
        reason = await _run(self._command, alarm.encode())
        if reason:
            words = "see that the command alarm_command works; it is tried again"
            log.error("alarm not told", number=number, reason=reason, next=words)
            return False
        with self._database.transaction() as db:
            db.execute("UPDATE alarm SET told = 1 WHERE number = ?", (number,))
        return True


def _since(failed: Mapping[object, float], then: float) -> str:
    return json.dumps([number for number, when in failed.items() if when > then])


async def _run(command: Sequence[str], data: bytes) -> str:
    """Return why the command did not take the alarm, "" when it did.

    When its time is over, what it has started ends with it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
    except OSError as error:
        return f"it cannot be started: {error.strerror}"
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            await process.communicate(data)
    except TimeoutError:
        return f"it took longer than {COMMAND_SECONDS:.0f} seconds"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its session: its children too
            await process.wait()
    return f"it ended with {process.returncode}" if process.returncode else ""
