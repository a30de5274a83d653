"""`custody audit`: a log carried off page by page, gone on with, and checked by its file alone."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from custody.domain.audit import NOTHING_BEFORE, AuditEvent
from tests.memory_custody import CallError, MemoryCustody

Run = Callable[..., tuple[int, str, str]]


def happens(custody: MemoryCustody, *names: str) -> None:
    """Add events to custody's log."""
    for name in names:
        last = custody.log[-1].hash if custody.log else NOTHING_BEFORE
        event = AuditEvent(
            position=len(custody.log) + 1,
            time=1_700_000_000_000,
            kind="ORDER",
            event=name,
            actor="alice",
            subject="",
            details={},
            previous=last,
        )
        custody.log.append(event)


@pytest.fixture
def export(
    run: Run, custody: MemoryCustody, alice: Path, tmp_path: Path
) -> Callable[[], tuple[int, str, str]]:
    happens(custody, "ONE", "TWO", "THREE")
    return lambda: run("--config", alice, "audit", "export", tmp_path / "log")


def test_an_export_is_verified_by_its_file_alone(
    run: Run, export: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    told = f"3 events, unbroken; head {custody.log[-1].hash}\n"
    assert export()[:2] == (0, told)
    asked = len(custody.calls)
    assert run("audit", "verify", tmp_path / "log")[:2] == (0, told)
    assert len(custody.calls) == asked
    happens(custody, "FOUR")
    assert export()[1].startswith("4 events, unbroken")
    assert [request.after for request in custody.sent("ListAuditEvents")][-1] == 3


def test_an_export_of_which_nothing_came_leaves_no_file(
    export: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    custody.outages = [CallError(grpc.StatusCode.INTERNAL, "no")]
    assert export()[0] == 1
    assert not (tmp_path / "log").exists()
    custody.log.clear()
    export()
    assert not (tmp_path / "log").exists()


def test_an_empty_file_is_no_log(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    code, out, err = run("audit", "verify", tmp_path / "log")
    assert (code, out) == (1, "")
    assert "holds no events: nothing was checked" in err


@pytest.mark.parametrize(
    ("spoil", "row"),
    [
        (lambda lines: [lines[0].replace(b"ONE", b"1NE"), *lines[1:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [*lines[:2], lines[2][:-1]], 3),
    ],
)
def test_the_first_bad_row_is_named(
    run: Run,
    export: Run,
    tmp_path: Path,
    spoil: Callable[[list[bytes]], list[bytes]],
    row: int,
) -> None:
    export()
    file = tmp_path / "log"
    file.write_bytes(b"".join(spoil(file.read_bytes().splitlines(keepends=True))))
    code, out, err = run("audit", "verify", file)
    assert (code, out) == (1, "")
    assert f"row {row}: " in err
    assert export()[0] == 1, "a spoilt export was gone on with"


def test_a_log_that_was_written_anew_does_not_follow_an_earlier_export(
    export: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    export()
    kept = (tmp_path / "log").read_bytes()
    custody.log.clear()
    happens(custody, "ONE", "OTHER", "THREE", "FOUR")
    code, _, err = export()
    assert code == 1
    assert "does not follow 3 here" in err
    assert (tmp_path / "log").read_bytes() == kept
