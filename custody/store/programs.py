"""PostgreSQL's own programs, which make backups, check them and recover from them."""

import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]
LAST_LINES = 5
NEEDED = ("postgres", "pg_basebackup", "pg_waldump")


class BackupError(Exception):
    """A backup or a restore was not done; the message says why and what to do."""


class ProgramFailedError(BackupError):
    """A program ended by itself and said no."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one version, in `folder`.

    `prefix` and `owner` are for an embedded server under root alone: the command that drops root's
    rights, and the user who then owns the data.
    """

    folder: Path
    prefix: tuple[str, ...] = ()
    owner: int | None = None

    @property
    def major(self) -> int:
        """PostgreSQL's major version, such as 18."""
        words = self.run("postgres", "--version", what="postgres")
        return int(words.split()[2].partition(".")[0])

    def own(self, path: Path) -> None:
        """Give a file or folder to the user who runs the server."""
        if self.owner is not None:
            os.chown(path, self.owner, self.owner, follow_symlinks=False)

    def run(
        self,
        program: str,
        *arguments: str,
        what: str,
        say: Say | None = None,
        more: Mapping[str, str] | None = None,
    ) -> str:
        """Return all that the program printed, each line said as it comes; `what` failed if not."""
        lines: list[str] = []
        with self.started(program, *arguments, more=more) as process:
            for line in printed(process):
                lines.append(line)
                if say:
                    say(line)
        if process.returncode < 0:
            raise BackupError(
                f"{program} was ended by signal {-process.returncode}: try again; if it is so each"
                " time, PostgreSQL's programs are broken: install them anew or name others with"
                " --binaries"
            )
        if process.returncode != 0:
            words = "; ".join(deque(lines, LAST_LINES)) or f"exit code {process.returncode}"
            raise ProgramFailedError(f"{what} failed: {words}")
        return "\n".join(lines)

    @contextmanager
    def started(
        self, program: str, *arguments: str, more: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Run the program; it has ended when the block is left, by being told to if need be."""
        process = subprocess.Popen(
            [*self.prefix, str(self.folder / program), *arguments],
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            with process:
                try:
                    yield process
                except BaseException:
                    process.terminate()
                    raise
        finally:
            process.wait()


def printed(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a program prints, line by line, until it ends."""
    for line in process.stdout or ():
        if words := line.strip():
            yield words


def find_programs(folder: Path | None) -> Programs:
    """Return the programs in `folder`, else in PATH; BackupError names what is missing."""
    if folder is None:
        found = shutil.which("postgres")
        folder = Path(found).resolve().parent if found else None
    missing = [name for name in NEEDED if folder is None or not (folder / name).exists()]
    if folder is None or missing:
        where = folder or "PATH"
        raise BackupError(
            f"no {', '.join(missing)} in {where}: name the folder of PostgreSQL's programs with"
            " --binaries, on Debian /usr/lib/postgresql/18/bin"
        )
    return Programs(folder.resolve())


def sync(directory: Path) -> None:
    """Bring a directory's names to the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
