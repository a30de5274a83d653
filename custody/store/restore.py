"""A data directory from a base backup and the WAL archive, as of the newest or of a moment.

Invariants: nothing is overwritten; the directory has its name only when PostgreSQL has recovered to
what was asked, been promoted and shut down; the archive is only read, and a restored server does
not write to it; while it recovers nobody can connect.
"""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from custody.store import archive, manifest
from custody.store.archive import Wal
from custody.store.backup import bases
from custody.store.manifest import WalRange
from custody.store.programs import BackupError, Programs, Say, printed, sync

SEGMENT_BYTES = 2**24
_CONFIG, _HBA = "kura-restore.conf", "kura-restore-hba.conf"
_READY = "database system is ready to accept connections"
_LAST = re.compile(r"last completed transaction was at log time (.+)\+00")
_REDONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")
_TOLD = re.compile(r"restored log file|redo in progress|recovery stopping|FATAL|PANIC|ERROR")


@dataclass(frozen=True, slots=True)
class Restored:
    """`base` was used; `last` is the time of the last transaction replayed, None if none was."""

    base: Path
    last: datetime | None


@dataclass(slots=True)
class _Recovery:
    """What the server's log told."""

    ready: bool = False
    last: datetime | None = None
    redone: str = ""
    fatal: str = ""

    def read(self, line: str) -> None:
        self.ready |= _READY in line
        if found := _LAST.search(line):
            self.last = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
        if found := _REDONE.search(line):
            self.redone = found[1]
        if "FATAL" in line or "PANIC" in line:
            self.fatal = self.fatal or line


def restore(  # noqa: PLR0913 - what is asked for, and the means
    directory: Path,
    into: Path,
    *,
    to_time: datetime | None,
    wal: Path,
    programs: Programs,
    say: Say,
) -> Restored:
    """Make `into`; BackupError when it cannot be exactly what was asked. `to_time` has a zone."""
    if os.geteuid() == 0 and not programs.prefix:
        raise BackupError(
            "PostgreSQL refuses to run as root: do this as the user it runs as, such as"
            " sudo -u postgres"
        )
    if into.exists() or into.is_symlink():
        raise BackupError(f"{into} is there already: name a new directory, nothing is overwritten")
    if not wal.is_dir():
        raise BackupError(
            f"there is no WAL archive {wal}: bring it back or name it with --wal; for the base"
            " backup alone make an empty folder there"
        )
    base = _choose(directory, to_time)
    staging = into.with_name(f"{into.name}.restoring")
    with _staged(base, staging, programs, say):
        say("checking the copy")
        needed = manifest.verify(staging, programs)
        _refuse_major(staging, programs)
        begins = _begins(staging, needed)
        names = [path.name for path in wal.iterdir()]
        own = [path.name for path in (staging / "pg_wal").iterdir()]
        last = archive.check(begins, own, names)
        recovery = _recover(staging, to_time, wal, programs, say)
        _refuse_missed(recovery, to_time, begins, last)
        _finish(staging)
        staging.rename(into)
        sync(into.parent)
    return Restored(base, recovery.last)


def _choose(directory: Path, to_time: datetime | None) -> Path:
    found = bases(directory)
    if not found:
        raise BackupError(f"{directory} holds no base backup: custody db backup makes one")
    usable = [path for time, path in found if to_time is None or time <= to_time]
    if not usable:
        oldest = found[0][0].isoformat().replace("+00:00", "Z")
        raise BackupError(
            f"the oldest base backup in {directory} is of {oldest}: nothing earlier can be restored"
        )
    return usable[-1]


@contextmanager
def _staged(base: Path, staging: Path, programs: Programs, say: Say) -> Iterator[None]:
    """Copy the base backup; the copy is removed unless it gets its name inside."""
    try:
        staging.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise BackupError(
            f"{staging} is left of a restore that did not end, or one is at work: if none is,"
            " remove it and try again"
        ) from None
    try:
        say(f"copying {base}")
        shutil.copytree(base, staging, symlinks=True, dirs_exist_ok=True)
        staging.chmod(0o700)
        for path in (staging, *staging.rglob("*")):
            programs.own(path)
        yield
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_major(staging: Path, programs: Programs) -> None:
    major = int((staging / "PG_VERSION").read_text())
    if major != programs.major:
        raise BackupError(
            f"the backup is PostgreSQL {major}'s, the programs in {programs.folder} are of"
            f" {programs.major}: name the folder of the right ones with --binaries"
        )


def _begins(staging: Path, needed: WalRange) -> Wal:
    """Return where the WAL begins that the base backup needs."""
    segments = [path for path in (staging / "pg_wal").iterdir() if path.is_file()]
    size = max((path.stat().st_size for path in segments), default=SEGMENT_BYTES)
    wal = Wal(needed.timeline, 0, size)
    return Wal(wal.timeline, wal.at(needed.start), size)


def _recover(
    staging: Path, to_time: datetime | None, wal: Path, programs: Programs, say: Say
) -> _Recovery:
    """Let PostgreSQL recover and be promoted, reachable by nobody, then shut it down."""
    # The server's own settings may lie elsewhere and name what is not here: certificates, ports.
    for name, text in ((_CONFIG, ""), (_HBA, "local all all reject\n"), ("recovery.signal", "")):
        (staging / name).write_text(text)
        programs.own(staging / name)
    settings = {
        "config_file": staging / _CONFIG,
        "hba_file": staging / _HBA,
        "listen_addresses": "",
        "unix_socket_directories": f"@kura-restore-{os.getpid()}",
        "ssl": "off",
        "hot_standby": "off",
        "archive_mode": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_min_messages": "warning",
        "log_line_prefix": "",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "restore_command": archive.restore_command(wal.resolve()),
        "recovery_target_timeline": "current",
        "recovery_target_action": "promote",
    }
    if to_time is not None:
        settings["recovery_target_time"] = to_time.astimezone(UTC).isoformat(sep=" ")
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    recovery = _Recovery()
    say("replaying the WAL")
    with programs.started("postgres", "-D", str(staging), *arguments) as process:
        for line in printed(process):
            if _TOLD.search(line):
                say(line)
            was_ready = recovery.ready
            recovery.read(line)
            if recovery.ready and not was_ready:
                process.send_signal(signal.SIGINT)
    if process.returncode != 0 or not recovery.ready:
        recovery.fatal = recovery.fatal or f"postgres ended with code {process.returncode}"
    return recovery


def _refuse_missed(recovery: _Recovery, to_time: datetime | None, begins: Wal, last: int) -> None:
    until = "none" if recovery.last is None else recovery.last.isoformat().replace("+00:00", "Z")
    if "recovery ended before configured recovery target" in recovery.fatal:
        raise BackupError(
            f"{to_time} is not reached: the last transaction that the archive holds is of {until}."
            " Bring the rest of the archive, ask for a time before that one, or leave out --to-time"
            " for the newest"
        )
    if recovery.fatal:
        raise BackupError(f"PostgreSQL could not recover: {recovery.fatal}")
    if to_time is None and recovery.redone and begins.at(recovery.redone) < last:
        raise BackupError(
            f"the WAL ends at {recovery.redone}, though the archive goes on to"
            f" {begins.name(last)}: {begins.name(begins.at(recovery.redone))} or the next segment"
            f" is damaged. Bring a whole copy, or name a --to-time before {until}"
        )


def _finish(staging: Path) -> None:
    """Leave only what a server needs, and archiving off: the old archive is another timeline's."""
    for name in (_CONFIG, _HBA, manifest.FILE):
        (staging / name).unlink()
    with (staging / "postgresql.auto.conf").open("a") as settings:
        settings.write("archive_mode = 'off'\n")
        settings.flush()
        os.fsync(settings.fileno())
    sync(staging)
