"""A whole custody to develop a backend against: real processes, play money, gone when it stops."""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from custody.dev.system import System, ready_nonces

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class FolderInUseError(Exception):
    """The folder holds something already."""


@contextmanager
def double(
    folder: Path | None, say: Callable[[str], None], *, in_memory_chain: bool
) -> Iterator[System]:
    """Yield a system that can pay; stop it and remove its folder, however the block ends.

    A signal that asks the process to end is a KeyboardInterrupt inside. `folder` must not hold
    anything; None for a temporary one. FolderInUseError, IsolationError, ProcessError.
    """
    if folder and folder.exists() and any(folder.iterdir()):
        raise FolderInUseError(f"{folder} is not empty: name a new folder, all of it is removed")
    before = {number: signal.signal(number, _interrupt) for number in _ENDS}
    chosen = folder or Path(tempfile.mkdtemp(prefix="kura-dev-"))
    system = System(chosen, say, in_memory_chain=in_memory_chain)
    try:
        system.up()
        system.until("a nonce", lambda: ready_nonces(system.layout.postgres.dsn) or None)
        yield system
    finally:
        for number in _ENDS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
        system.down()
        shutil.rmtree(chosen, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
