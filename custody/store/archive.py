"""The WAL archive: what stands between two base backups. A folder of segments, one timeline.

PostgreSQL takes the first segment that is not there for the end of the archive. So `check` looks
for gaps beforehand: else a restore would end at one, earlier than asked, without a word.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from custody.store.programs import BackupError

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_LATER = re.compile(r"([0-9A-F]{8})\.history")


@dataclass(frozen=True, slots=True)
class Wal:
    """Where a base backup's WAL begins, and how long a segment is (bytes)."""

    timeline: int
    first: int
    size: int

    def number(self, log: int, segment: int) -> int:
        """Return a segment's number, counted without a gap from 0."""
        return log * (2**32 // self.size) + segment

    def name(self, number: int) -> str:
        """Return the file name of a segment."""
        log, segment = divmod(number, 2**32 // self.size)
        return f"{self.timeline:08X}{log:08X}{segment:08X}"

    def at(self, position: str) -> int:
        """Return the number of the segment that holds a position such as 0/3000148."""
        high, low = (int(part, 16) for part in position.split("/"))
        return self.number(high, low // self.size)


def settings(folder: Path) -> tuple[str, ...]:
    """Return the SQL that makes a server keep its WAL in `folder`: atomically, never twice.

    A segment that stands there already with the same bytes is taken for archived: that is how it
    looks after a crash in between.
    """
    archived = f"{_in_command(folder)}/%f"
    command = (
        f"cmp -s %p {archived} || {{ test ! -e {archived} && cp %p {archived}.part"
        f" && sync {archived}.part && mv {archived}.part {archived}"
        f" && sync {_in_command(folder)}; }}"
    )
    quoted = command.replace("'", "''")
    return (
        "ALTER SYSTEM SET archive_mode = on",
        f"ALTER SYSTEM SET archive_command = '{quoted}'",
        "ALTER SYSTEM SET archive_timeout = '60s'",
    )


def restore_command(folder: Path) -> str:
    """Return the command that fetches a segment; any failure but absence ends the recovery."""
    archived = f"{_in_command(folder)}/%f"
    return f'if test ! -e {archived}; then exit 1; fi; cp {archived} "%p" || exit 126'


def check(wal: Wal, base: Iterable[str], archive: Iterable[str]) -> int:
    """Return the last segment's number; BackupError when one before it is missing.

    `base`, `archive`: the file names in the base backup's pg_wal and in the archive.
    """
    names = list(archive)
    timelines = [int(found[1], 16) for name in names if (found := _LATER.fullmatch(name))]
    numbers = set()
    for name in (*base, *names):
        if found := _SEGMENT.fullmatch(name):
            timeline, log, segment = (int(part, 16) for part in found.groups())
            timelines.append(timeline)
            if timeline == wal.timeline:
                numbers.add(wal.number(log, segment))
    if max(timelines, default=0) > wal.timeline:
        raise BackupError(
            "the archive holds the WAL of a server that was restored later, too: what is whose"
            " cannot be told. Move the segments and .history files of timeline"
            f" {max(timelines)} elsewhere, and give each restored server a folder of its own"
        )
    last = max(numbers, default=wal.first)
    for number in range(wal.first, last):
        if number not in numbers:
            raise BackupError(
                f"WAL segment {wal.name(number)} is missing, and later ones are there: bring it"
                " back, or restore from a later base backup; without it the rest is lost"
            )
    return last


def _in_command(folder: Path) -> str:
    return shlex.quote(str(folder)).replace("%", "%%")
