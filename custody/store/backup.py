"""Base backups of custody's PostgreSQL, made by its own programs.

Invariants: a backup has its name only when it is whole, checked and on the disk; its name says from
which moment on it can be restored; a folder holds the backups of one server on one timeline. The
DSN's password is in no command line and in no message.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from custody.store import manifest
from custody.store.programs import BackupError, Programs, Say, sync

BASE = "base-"
WAL = "wal"
SERVER = "server"
_TIME = "%Y%m%dT%H%M%S.%fZ"
_OPTIONS = (
    "--format=plain",
    "--wal-method=stream",
    "--checkpoint=fast",
    "--manifest-checksums=SHA256",
    "--no-password",
    "--progress",
)
_CHECK = "check that PostgreSQL runs, and `database` in the settings"
_FACTS = (
    "SELECT system_identifier::text || ' ' || timeline_id, current_setting('archive_mode'),"
    " current_setting('server_version_num')::int / 10000,"
    " (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')),"
    " (SELECT last_failed_wal FROM pg_stat_archiver"
    " WHERE last_failed_time > coalesce(last_archived_time, '-infinity'))"
    " FROM pg_control_system(), pg_control_checkpoint()"
)


@dataclass(frozen=True, slots=True)
class _Server:
    """`identity`: system identifier and timeline; `failed`: a segment that it cannot archive."""

    identity: str
    archive_mode: str
    major: int
    tablespaces: int
    failed: str | None


@dataclass(frozen=True, slots=True)
class Backup:
    """`folder` is the base backup; `archiving`: the server keeps its WAL; `failed`: see _Server."""

    folder: Path
    archiving: bool
    failed: str | None


def make(dsn: str, directory: Path, programs: Programs, say: Say) -> Backup:
    """Make a base backup in `directory`; BackupError when it cannot be relied on."""
    conninfo, secret = _split(dsn)
    with _connected(dsn) as connection:
        server = _facts(connection)
    _refuse_server(server, programs)
    _prepare(directory, server, programs)
    staging = directory / f"incomplete-{os.getpid()}"
    try:
        # As who asks, not as the server's user: it goes over a connection.
        as_we_are = Programs(programs.folder)
        as_we_are.run(
            "pg_basebackup",
            f"--pgdata={staging}",
            f"--dbname={conninfo}",
            *_OPTIONS,
            what="pg_basebackup",
            say=say,
            more=secret,
        )
        with _connected(dsn) as connection:
            end = _now(connection)
        say("checking the backup")
        manifest.verify(staging, as_we_are)
        folder = directory / f"{BASE}{end.strftime(_TIME)}"
        staging.rename(folder)
        sync(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Backup(folder, server.archive_mode != "off", server.failed)


def bases(directory: Path) -> list[tuple[datetime, Path]]:
    """Return the base backups, oldest first, each with the moment from which it can be used."""
    found = []
    for path in directory.glob(f"{BASE}*"):
        try:
            time = datetime.strptime(path.name.removeprefix(BASE), _TIME)  # noqa: DTZ007 - UTC
        except ValueError:
            continue
        found.append((time.replace(tzinfo=UTC), path))
    return sorted(found)


def _split(dsn: str) -> tuple[str, dict[str, str]]:
    """Return the DSN without its password, and the environment with it: `ps` does not show it."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # whose words may quote the password
        raise BackupError("`database` in the settings is no PostgreSQL connection string") from None
    if parts.pop("sslpassword", None) is not None:
        raise BackupError("`database` has an sslpassword, which pg_basebackup would show to all")
    password = parts.pop("password", None)
    parts.pop("dbname", None)
    conninfo = make_conninfo("", **parts)
    return conninfo, {} if password is None else {"PGPASSWORD": str(password)}


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection]:
    try:
        connecting = psycopg.connect(dsn, autocommit=True)
    except psycopg.OperationalError as error:
        reason = str(error).partition("\n")[0]
        raise BackupError(f"the database did not answer: {reason}: {_CHECK}") from error
    with connecting as connection:
        yield connection


def _facts(connection: psycopg.Connection) -> _Server:
    row = connection.execute(_FACTS).fetchone()
    if row is None:
        raise AssertionError("a SELECT of functions has one row")
    return _Server(*row)


def _now(connection: psycopg.Connection) -> datetime:
    """Return the server's time, which is what its commits are stamped with."""
    (now,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    if not isinstance(now, datetime):
        raise AssertionError("clock_timestamp() is a time")
    return now.astimezone(UTC) + timedelta(microseconds=1)


def _refuse_server(server: _Server, programs: Programs) -> None:
    if server.major != programs.major:
        raise BackupError(
            f"the server is PostgreSQL {server.major}, the programs in {programs.folder} are of"
            f" {programs.major}: name the folder of the right ones with --binaries"
        )
    if server.tablespaces:
        raise BackupError(
            "the server has tablespaces outside its data directory, which this command does not"
            " carry: use pg_basebackup yourself, or give custody a server of its own"
        )


def _prepare(directory: Path, server: _Server, programs: Programs) -> None:
    """Make the folders; BackupError when they hold another server's backups."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    wal, note = directory / WAL, directory / SERVER
    if not wal.exists():
        wal.mkdir(mode=0o700)
        programs.own(wal)
    if note.exists() and note.read_text().strip() != server.identity:
        raise BackupError(
            f"{directory} holds the backups of another server, or of this one before it was"
            " restored: name a new folder, and let the server archive into the new one's wal"
        )
    if not note.exists():
        note.write_text(f"{server.identity}\n")
