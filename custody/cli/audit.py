"""`custody audit`: the log of everything that happened, carried off and checked without custody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.output import print_line, print_note
from custody.cli.session import CommandError, connect, settings
from custody.domain.audit import AuditEvent, BrokenChainError, verify

PROGRESS_EVENTS = 10_000
app = App(name="audit")


@app.command
def export(
    file: Annotated[Path, Parameter(help="Where to; an earlier export is continued.")], /
) -> None:
    """Write the audit log to a file, one event a line, and check the chain on the way.

    For example: custody audit export audit.jsonl
    """
    new = not file.exists()
    position, head = verify(()) if new else _verified(file)
    try:
        position, head = _export(file, position, head)
    finally:
        if new and file.exists() and not file.stat().st_size:
            file.unlink()  # nothing came: an empty file would look like a log
    _print_head(position, head)


def _export(file: Path, position: int, head: str) -> tuple[int, str]:
    with connect(settings()) as custody, file.open("ab") as out:
        for shown in custody.list_audit_events(position):
            event = AuditEvent.decode(shown.event)
            if (event.position, event.previous) != (position + 1, head):
                words = f"event {event.position} of custody's log does not follow {position} here"
                raise CommandError(f"{words}: keep {file}, and ask who changed the log")
            out.write(shown.event + b"\n")
            position, head = event.position, event.hash
            if position % PROGRESS_EVENTS == 0:
                print_note(f"{position} events so far")
    return position, head


@app.command(name="verify")
def verify_file(
    file: Annotated[Path, Parameter(help="What custody audit export wrote.")], /
) -> None:
    """Check an exported log by itself; a changed, missing or added row is named.

    Rows cut off at the end leave a shorter log that hangs together: compare the last line's number
    and head with what another auditor wrote down.

    For example: custody audit verify audit.jsonl
    """
    position, head = _verified(file)
    if not position:
        raise CommandError(f"{file} holds no events: nothing was checked")
    _print_head(position, head)


def _verified(file: Path) -> tuple[int, str]:
    try:
        return verify(_rows(file))
    except BrokenChainError as error:
        raise CommandError(f"{file} was changed: {error}") from error


def _rows(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        for row, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                raise BrokenChainError(row, "ends in the middle")
            yield line[:-1]


def _print_head(position: int, head: str) -> None:
    print_line(f"{position} events, unbroken; head {head}")
