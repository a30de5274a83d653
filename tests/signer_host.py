"""An isolated host for real `signer` processes: settings, PIN files, token directory, socket.

Whatever a process prints is searched for both PINs.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kura.signer.v1 import signer_pb2 as wire
from policies.signature_file import format_signature
from policies.statements import digest
from signer.frames import read_frame, write_frame
from tests import softhsm
from tests.factories import HOUR, key, make_change, sign
from tests.signing import HELLO, lease_job

SIGNER = str(Path(sys.executable).with_name("signer"))
# A network namespace of its own with only `lo`; without root, a user namespace too.
ISOLATED = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-current-user"])]


def now() -> int:
    """Unix ms by the clock that a real signer reads."""
    return time.time_ns() // 1_000_000


class Host:
    """`directory` is short, since a socket's path has at most 107 bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pin, self.so_pin = secrets.token_hex(32), secrets.token_hex(32)
        (directory / "tokens").mkdir(mode=0o700)
        for name, pin in (("pin", self.pin), ("so-pin", self.so_pin)):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(pin + "\n")
        self._configure()

    def copy(self, directory: Path) -> "Host":
        """Return a host in the same state, in an empty directory of its own."""
        other = Host.__new__(Host)
        other.directory, other.pin, other.so_pin = directory, self.pin, self.so_pin
        no_socket = shutil.ignore_patterns("socket")
        shutil.copytree(self.directory, directory, dirs_exist_ok=True, ignore=no_socket)
        other._configure()
        return other

    def _configure(self) -> None:
        at = self.directory
        (at / "softhsm2.conf").write_text(softhsm._CONF.format(tokens=at / "tokens"))
        self.set(pin_file=at / "pin")

    def set(self, **changes: object) -> None:
        """Write the settings anew, with `changes`."""
        at = self.directory
        values: dict[str, object] = {
            "module": softhsm.MODULE,
            "token": "kura",
            "pin_file": at / "pin",
            "journal": at / "journal",
            "socket": at / "socket",
            "peer_uid": os.getuid() + 1,
        }
        lines = [
            f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"'
            for name, value in (values | changes).items()
        ]
        (at / "signer.toml").write_text("\n".join(lines) + "\n")

    def done(self, *arguments: object, typed: str = "") -> str:
        """Run one command that must succeed; return what it printed."""
        result = self._run([SIGNER], arguments, typed)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def refused(self, *arguments: object, typed: str = "", isolated: bool = False) -> str:
        """Run one command that must fail with one line of words; return them."""
        result = self._run([*ISOLATED, SIGNER] if isolated else [SIGNER], arguments, typed)
        assert result.returncode == 1, result
        lines = result.stderr.splitlines()
        [words] = [line for line in lines if not line.startswith("signer: warning: memory")]
        assert words.startswith("signer: ")
        return words

    def tried(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one command where only `lo` is, whatever comes of it."""
        return self._run([*ISOLATED, SIGNER], arguments, "")

    def limited(self, blocks: int, *arguments: object) -> str:
        """Run one command that may write files of so many KiB only; return its last words."""
        shell = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "-"]
        result = self._run([*shell, SIGNER], arguments, "")
        assert result.returncode == 1, result
        return result.stderr

    def _run(
        self, program: list[str], arguments: tuple[object, ...], typed: str
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*program, *self._arguments(*arguments)],
            env=self._environment(),
            input=typed,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            start_new_session=True,  # without a terminal to ask on
        )
        self.assert_no_pin(result.stdout + result.stderr)
        return result

    def _arguments(self, *arguments: object) -> list[str]:
        return ["--config", str(self.directory / "signer.toml"), *map(str, arguments)]

    def _environment(self) -> dict[str, str]:
        conf = str(self.directory / "softhsm2.conf")
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SOFTHSM2_CONF": conf}

    def assert_no_pin(self, text: str) -> None:
        assert self.pin not in text
        assert self.so_pin not in text

    @contextmanager
    def serving(self, *program: object) -> Iterator[subprocess.Popen[str]]:
        """Run `signer serve` in a namespace of its own, killed at the end (SIGKILL).

        `program`: what stands for `signer`.
        """
        run = [str(part) for part in program] or [SIGNER]
        command, pipe = [*ISOLATED, *run, *self._arguments("serve")], subprocess.PIPE
        with subprocess.Popen(
            command, env=self._environment(), stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                assert process.stdout
                line = process.stdout.readline()
                ready = f"signer ready on {self.directory / 'socket'}\n"
                assert line == ready, process.communicate()
                yield process
            finally:
                process.kill()
                self.assert_no_pin("".join(process.communicate()))

    def ask(self, job: wire.Job) -> wire.Result:
        """Send one job to the serving signer, under a lease of now where it needs one."""
        if job.WhichOneof("verb") in {"transfer", "nonce_open"}:
            hello = self.ask(HELLO)
            if hello.HasField("hello"):
                self.ask(lease_job(hello, time=now()))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.directory / "socket"))
            connection.settimeout(60)
            write_frame(connection, wire.Request(id=1, jobs=[job]).SerializeToString())
            frame = read_frame(connection)
        assert frame
        return wire.Reply.FromString(frame).results[0]

    def lease(self, **changes: Any) -> None:
        """Give the serving signer a lease of now, as the watchtower does, but for `changes`."""
        job = lease_job(self.ask(HELLO), **{"time": now()} | changes)
        assert self.ask(job).applied.digest

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path


def signatures(policy: bytes, *people: str, by: str = "") -> bytes:
    """Return a signature file under a first policy; `by` signs for all of them."""
    changes = [
        make_change("policy", digest(policy), person, expires=now() + HOUR) for person in people
    ]
    lines = [
        format_signature(sign(key(by or person), change))
        for person, change in zip(people, changes, strict=True)
    ]
    return "".join(lines).encode()


@contextmanager
def temporary_host(like: Host | None = None) -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as directory:
        yield like.copy(Path(directory)) if like else Host(Path(directory))
