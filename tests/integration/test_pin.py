"""A PIN comes from a closed file or from a terminal, and from nowhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from signer.pin import PinUnreadableError, read_pin

PIN = "5a3c-not-in-any-error"


def pin_file(path: Path, content: bytes = PIN.encode() + b"\n", mode: int = 0o400) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_closed_file_gives_its_one_line(tmp_path: Path, mode: int, end: bytes) -> None:
    assert read_pin(pin_file(tmp_path / "pin", PIN.encode() + end, mode)) == PIN


@pytest.mark.parametrize("mode", [0o440, 0o410, 0o604, 0o601, 0o420, 0o602])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(PinUnreadableError, match="chmod 0400"):
        read_pin(pin_file(tmp_path / "pin", mode=mode))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\n\n",
        b"a\nb\n",
        b"a\n\n",
        b"a\r\n",
        b"a\0b",
        b"a\tb",
        b"\xff\xfe",
        b"x" * 1025,
    ],
)
def test_anything_but_one_line_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PinUnreadableError, match="one line of printable ASCII"):
        read_pin(pin_file(tmp_path / "pin", content))


def test_another_users_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pin_file(tmp_path / "pin")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PinUnreadableError, match="another user"):
        read_pin(path)


def test_only_a_regular_file_itself_is_read(tmp_path: Path) -> None:
    pin_file(tmp_path / "pin")
    (tmp_path / "link").symlink_to(tmp_path / "pin")
    os.mkfifo(tmp_path / "fifo", 0o600)  # must not wait for a writer
    (tmp_path / "directory").mkdir(mode=0o700)
    for name in ("link", "fifo", "directory", "absent"):
        with pytest.raises(PinUnreadableError, match=name):
            read_pin(tmp_path / name)


def test_errors_hold_nothing_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(PinUnreadableError) as caught:
        read_pin(pin_file(tmp_path / "pin", PIN.encode() + b"\xff\n"))
    error: BaseException | None = caught.value
    while error:
        assert PIN not in repr(error)
        error = error.__context__


PROGRAM = """
import fcntl, os, sys, termios
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from signer.pin import read_pin
print(read_pin(None, "SO PIN? "))
"""


def prompting(stdin: int) -> subprocess.Popen[bytes]:
    """read_pin(None) in a session of its own, whose only terminal is stdin, if that is one."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def read_until(terminal: int, words: bytes) -> bytes:
    shown = b""
    while words not in shown:
        shown += os.read(terminal, 1024)
    return shown


def at_terminal(typed: bytes) -> tuple[bytes, bytes, bytes]:
    """What the terminal showed, stdout and stderr, when `typed` answers the prompt."""
    terminal, inner = pty.openpty()
    try:
        with prompting(inner) as process:
            shown = read_until(terminal, b"SO PIN? ")
            os.write(terminal, typed)
            out, err = process.communicate()
        return shown + read_until(terminal, b"\n"), out, err
    finally:
        os.close(terminal)
        os.close(inner)


def test_the_prompt_does_not_echo() -> None:
    shown, out, _ = at_terminal(PIN.encode() + b"\n")
    assert out.decode() == PIN + "\n"
    assert PIN.encode() not in shown


def test_an_empty_answer_is_refused() -> None:
    _, out, err = at_terminal(b"\n")
    assert not out
    assert b"PinUnreadableError: no PIN typed" in err


def test_without_a_terminal_nothing_is_read() -> None:
    with prompting(subprocess.PIPE) as process:
        out, err = process.communicate(PIN.encode() + b"\n")
    assert not out
    assert b"PinUnreadableError: no terminal" in err
    assert PIN.encode() not in err
