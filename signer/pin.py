"""Where a PIN comes from: a file that only its owner can read, or a terminal.

Never an environment variable or an argument: other processes, core dumps and shell histories see
those. No error holds any of the file's bytes.
"""

import getpass
import os
import stat
import warnings
from pathlib import Path
from typing import Final

from signer.pkcs11 import HsmError

_MOST: Final = 1024  # bytes; PKCS#11 tokens take at most 255


class PinUnreadableError(HsmError):
    """The PIN's file is missing, open to others or malformed; or there is no terminal."""


def read_pin(path: Path | None, prompt: str = "Token PIN: ") -> str:
    """The PIN: the one line of the file, or what is typed on the terminal when there is no path."""
    return _ask(prompt) if path is None else _one_line(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        # No link, and no waiting on a FIFO. What is checked is the file that is read.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        raise PinUnreadableError(f"PIN file {path}: {err.strerror}") from None
    try:
        _refuse_unless_closed(path, os.fstat(fd))
        return os.read(fd, _MOST + 1)
    finally:
        os.close(fd)


def _refuse_unless_closed(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise PinUnreadableError(f"PIN file {path} is not a regular file: name the file itself")
    if info.st_uid not in {os.geteuid(), 0}:
        raise PinUnreadableError(f"PIN file {path} belongs to another user: chown it")
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise PinUnreadableError(f"PIN file {path} is open to group or others: chmod 0400 it")


def _one_line(path: Path, content: bytes) -> str:
    line = content.removesuffix(b"\n")
    if not line or len(line) > _MOST or not (line.isascii() and line.decode("ascii").isprintable()):
        raise PinUnreadableError(f"PIN file {path} must hold one line of printable ASCII, the PIN")
    return line.decode("ascii")


def _ask(prompt: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would echo the PIN
        try:
            pin = getpass.getpass(prompt)
        except (getpass.GetPassWarning, EOFError, OSError):
            raise PinUnreadableError("no terminal to ask for the PIN: name a PIN file") from None
    if not pin:
        raise PinUnreadableError("no PIN typed")
    return pin
