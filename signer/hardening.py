"""What the signer gives up before it touches a key: core dumps, tracing, swap, rights, networks.

Call `assert_isolated` and `harden` first thing in the process, before a PIN is read.
"""

import ctypes
import os
import resource
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_MCL_ALL: Final = 1 | 2 | 4  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT: pages in use, now and later


class HardeningError(Exception):
    """The process is not as closed as a signer must be; the words say what to do next."""


def harden() -> list[str]:
    """No core dump, no ptrace or /proc/PID/mem by the same user, no rights gained by exec, no swap.

    Returns words for the operator when the system refuses to lock memory, else nothing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_DUMPABLE, 0), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0):
            reason = os.strerror(ctypes.get_errno())
            raise HardeningError(f"prctl({option}) failed, {reason}: allow it in the sandbox")
    if not libc.mlockall(_MCL_ALL):
        return []
    reason = os.strerror(ctypes.get_errno())
    words = f"memory is not locked ({reason}), secrets may reach the swap: turn swap off, or give"
    return [f"{words} the signer LimitMEMLOCK=infinity (CAP_IPC_LOCK)"]


def network_interfaces() -> list[str]:
    """Names of the interfaces in this process's own network namespace, sorted.

    Not /sys/class/net, which shows the namespace of whoever mounted /sys.
    """
    _, _, *rows = Path("/proc/self/net/dev").read_text("ascii").splitlines()
    return sorted(row.split(":")[0].strip() for row in rows)


def assert_isolated() -> None:
    """Raise HardeningError unless `lo` is the only interface."""
    if (found := network_interfaces()) != ["lo"]:
        raise HardeningError(
            f"the signer sees the interfaces {', '.join(found) or 'none'}: start it in a network"
            " namespace of its own with only lo (network_mode: none, PrivateNetwork=yes)"
        )
