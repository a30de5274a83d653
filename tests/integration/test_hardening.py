"""What a hardened process has given up, as the kernel and a neighbour of the same user see it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from custody.dev.postgres import AS_NOBODY
from custody.dev.system import isolation
from signer.hardening import HardeningError, assert_isolated, network_interfaces

# Root reads every process; so the tests that need a stranger with the same rights run as nobody,
# who may enter the checkout wherever it lies.
NOBODY: tuple[str, ...] = AS_NOBODY if os.geteuid() == 0 else ()
REPORT = """
import ctypes, json, resource, sys
{before}
from signer.hardening import harden
words = harden()
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({{
    "words": words,
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "locked": int(status["VmLck"].split()[0]),
    "no_new_privs": status["NoNewPrivs"].strip(),
}}), flush=True)
sys.stdin.read()
"""
SMALL_LIMIT = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))"


@contextmanager
def hardened(before: str = "", who: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """A process that has called harden(), alive until the end: its id and its own report."""
    command = [*who, sys.executable, "-c", REPORT.format(before=before)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.pid, json.loads(process.stdout.readline())
        process.communicate()


def test_the_process_gives_up_dumps_tracing_and_new_rights() -> None:
    with hardened(who=NOBODY) as (pid, report):
        assert report["core"] == [0, 0]
        assert report["dumpable"] == 0
        assert report["no_new_privs"] == "1"
        peek = f"import os; [print(os.open(f'/proc/{pid}/{{f}}', 0)) for f in ('mem', 'environ')]"
        done = subprocess.run(
            [*NOBODY, sys.executable, "-c", peek], capture_output=True, check=False, text=True
        )
        assert "PermissionError" in done.stderr
        assert not done.stdout
        # Whoever checks the isolation from outside can still do so.
        assert "lo:" in Path(f"/proc/{pid}/net/dev").read_text()


def test_memory_is_locked_or_the_operator_is_told() -> None:
    with hardened() as (_, report):
        assert (report["locked"] > 0) == (report["words"] == [])
    with hardened(SMALL_LIMIT, NOBODY) as (_, report):
        assert report["locked"] == 0
        assert "LimitMEMLOCK=infinity" in report["words"][0]


def test_other_interfaces_are_seen_and_refused() -> None:
    assert network_interfaces() == sorted(name for _, name in socket.if_nameindex())
    with pytest.raises(HardeningError, match="start it in a network namespace"):
        assert_isolated()


def test_a_namespace_with_only_lo_is_isolated() -> None:
    """/sys still shows the outer interfaces there; the answer must be the namespace's own."""
    program = "import signer.hardening as h; h.assert_isolated(); print(h.network_interfaces())"
    done = subprocess.run(
        [*isolation(), sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "['lo']\n"
