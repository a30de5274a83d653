"""`custody book import`: the next versions of the address book from a CSV file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from custody.cli.book_chain import ADD, REMOVE, versions
from custody.cli.book_csv import Row, read_rows, write_report
from custody.cli.look_alikes import (
    IN_FORCE,
    OFFLINE_HELP,
    Found,
    look_alikes,
    print_look_alikes,
    read_like,
)
from custody.cli.output import print_line, print_note
from custody.cli.session import CommandError, check_policy, connect, settings
from policies import fields
from policies.statements import digest, encode

SHOWN_MAX = 100
REPORT = "report.csv"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """What the first version follows; asked of custody unless both are said."""

    version: Annotated[PositiveInt | None, Parameter(help="Left out, the next one.")] = None
    previous: Annotated[str | None, Parameter(help="Digest that it follows.")] = None
    offline: Annotated[bool, Parameter(negative=(), help=OFFLINE_HELP)] = False


def import_book(
    file: Annotated[Path, Parameter(help="The CSV file, in UTF-8.")],
    /,
    *,
    into: Annotated[Path, Parameter(help="The folder for the versions and report.csv.")],
    skip_bad: Annotated[bool, Parameter(negative=(), help="Leave out rows that are bad.")] = False,
    follows: Follows | None = None,
) -> None:
    """Make the next versions of the address book from a CSV file, as many as its rows need.

    Its first line names the columns network,address,memo,label, and action (add or remove) if rows
    remove too. An apostrophe before a cell that begins with a digit, =, +, - or @ keeps
    spreadsheets from changing it and is no part of it. Each row's reason is in report.csv; one bad
    row stops everything, unless --skip-bad.

    For example: custody book import customers.csv --into book-7
    """
    if into.is_dir() and (past := sorted(into.glob("book-*.json"))):
        words = f"{past[0]} is there already and is never written over: name another folder"
        raise CommandError(words)
    rows = list(read_rows(file))
    _mark_repeated(rows)
    version, previous, groups = _compared(rows, follows or Follows())
    into.mkdir(parents=True, exist_ok=True)
    with (into / REPORT).open("w", encoding="utf-8-sig", newline="") as out:
        write_report(out, rows)
    _print_bad(rows)
    print_look_alikes(groups)
    good = _good(rows)
    print_line(f"{len(rows)} rows, {len(rows) - len(good)} bad; each is in {into / REPORT}")
    if len(good) < len(rows) and not skip_bad:
        raise CommandError("no version was made: mend the rows, or leave them out with --skip-bad")
    if not good:
        raise CommandError("no version was made: no row changes anything")
    for book in versions([(row.action, row.entry) for row in good], version, previous):
        statement, made = encode(book), into / f"book-{book.version}.json"
        with made.open("xb") as new:
            new.write(statement)
        changes = f"adds {len(book.add)}, removes {len(book.remove)}"
        print_line(f"{made}: version {book.version}, {changes}, {digest(statement)}")
    print_note(f"next: custody book sign {into}/book-*.json --signatures {into}/signatures")


def _mark_repeated(rows: Sequence[Row]) -> None:
    lines = dict[tuple[str, str, str], int]()
    for row in rows:
        if not row.reason and lines.setdefault(row.place, row.line) != row.line:
            row.reason = f"is the same destination as line {lines[row.place]}"


def _compared(rows: Sequence[Row], follows: Follows) -> tuple[int, str, list[list[Found]]]:
    """Compare the rows with the address book in force; return what to follow, and look-alikes."""
    known = list[Found]()
    if follows.version == 1:
        version, previous = 1, follows.previous or ""
    elif not follows.offline:
        version, previous = _asked(rows, follows)
        known = [(IN_FORCE, entry) for entry in read_like(row.entry for row in _good(rows))]
        _mark_needless(rows, known)
    elif follows.version is None or follows.previous is None:
        raise CommandError("offline, say what the first version follows: --version and --previous")
    else:
        version, previous = follows.version, follows.previous
    named = {ADD: "adds", REMOVE: "removes"}
    groups = look_alikes([*known, *((named[row.action], row.entry) for row in _good(rows))])
    _mark_look_alikes(rows, groups)
    return version, previous, groups


def _asked(rows: Sequence[Row], follows: Follows) -> tuple[int, str]:
    """Return what to follow as custody says it, and mark rows of networks that there are not."""
    config = settings()
    with connect(config) as custody:
        shown = custody.get_policy()
    networks = {asset.network for asset in check_policy(shown, config).assets.values()}
    for row in _good(rows):
        if row.action == ADD and row.entry.network not in networks:
            row.reason = f"network: must be one of the policy's: {', '.join(sorted(networks))}"
    next_one = fields.decimal(shown.book_version, 10**9) + 1
    previous = shown.book_digest if follows.previous is None else follows.previous
    return follows.version or next_one, previous


def _mark_needless(rows: Sequence[Row], known: Sequence[Found]) -> None:
    """Mark rows that would change nothing."""
    places = {(entry.network, entry.address, entry.memo) for _, entry in known}
    for row in _good(rows):
        if row.action == ADD and row.place in places:
            row.reason = "is in the address book already, and would stay as it is"
        elif row.action == REMOVE and row.place not in places:
            row.reason = "is not in the address book"


def _mark_look_alikes(rows: Sequence[Row], groups: Sequence[Sequence[Found]]) -> None:
    others = {
        (entry.network, entry.address): group[0 if number else 1][1].address
        for group in groups
        for number, (_, entry) in enumerate(group)
    }
    for row in _good(rows):
        if other := others.get(row.place[:2]):
            row.warning = f"looks like {other}"


def _good(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.reason]


def _print_bad(rows: Sequence[Row]) -> None:
    bad = [row for row in rows if row.reason]
    for row in bad[:SHOWN_MAX]:
        print_note(f"line {row.line}: {row.reason}", "bold red")
    if len(bad) > SHOWN_MAX:
        print_note(f"and {len(bad) - SHOWN_MAX} more")
