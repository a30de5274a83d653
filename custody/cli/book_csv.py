"""The address book as a CSV file for spreadsheets: rows in, with what is wrong with each; and out.

Invariants: a cell that a spreadsheet would run as a formula, or a memo that it would round, is
written with an apostrophe before it, and read back without; a row that cannot be read as it stands
is bad, never mended. No line is read whole that is too long to be one.
"""

import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from custody.cli.address import refuse_address
from custody.cli.book_chain import ADD, REMOVE
from custody.cli.output import clipped, plain
from custody.cli.session import CommandError
from policies import fields
from policies.canonical import find_hidden
from policies.statements import BookEntry

COLUMNS = ("network", "address", "memo", "label")
ACTION = "action"
LINE_MAX = 8_192
_SHOWN_MAX = 256
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # the wide ones too: some spreadsheets run them
_GUARD = "'"
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of other bytes
_PARSERS: dict[str, Callable[[object], str]] = {
    "network": fields.network,
    "address": fields.address,
    "memo": fields.memo,
    "label": fields.label,
}


@dataclass(slots=True)
class Row:
    """A row, the line on which it begins, and what is wrong with it ("" when nothing is)."""

    line: int
    action: str
    entry: BookEntry
    reason: str = ""
    warning: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """What the entry stands for: equal places are one destination."""
        return self.entry.network, self.entry.address, self.entry.memo


def read_rows(file: Path) -> Iterator[Row]:
    """Yield every row; CommandError with the line when the file is no such CSV at all."""
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(_lines(text, file), strict=True)
        try:
            columns = _header(next(reader, []), file)
            end = reader.line_num
            for cells in reader:
                line, end = end + 1, reader.line_num
                if cells:
                    yield _row(line, columns, cells)
        except csv.Error as error:
            raise CommandError(f"{file}: line {reader.line_num}: {error}") from error


def write_entries(out: TextIO, entries: Iterable[BookEntry]) -> int:
    """Write entries as `read_rows` reads them, header first; return how many there were."""
    writer, number = csv.writer(out), 0
    writer.writerow(COLUMNS)
    for entry in entries:
        memo = _GUARD + entry.memo if entry.memo[:1].isdigit() else _guarded(entry.memo)
        writer.writerow((entry.network, _guarded(entry.address), memo, _guarded(entry.label)))
        number += 1
    return number


def write_report(out: TextIO, rows: Iterable[Row]) -> None:
    """Write every row with its line and what came of it."""
    writer = csv.writer(out)
    writer.writerow(("line", "result", "reason", ACTION, *COLUMNS))
    for row in rows:
        result = "bad" if row.reason else "warning" if row.warning else "ok"
        cells = (row.reason or row.warning, row.action, *row.place, row.entry.label)
        shown = (_guarded(plain(clipped(cell, _SHOWN_MAX))) for cell in cells)
        writer.writerow((str(row.line), result, *shown))


def _lines(text: TextIO, file: Path) -> Iterator[str]:
    number = 0
    while line := text.readline(LINE_MAX):
        number += 1
        if len(line) == LINE_MAX:
            words = f"is longer than {LINE_MAX} characters: is this the right file?"
            raise CommandError(f"{file}: line {number} {words}")
        yield line


def _header(cells: Sequence[str], file: Path) -> dict[str, int]:
    """Return where each column stands."""
    names = {*cells} - {ACTION}
    if names == {*COLUMNS} and len({*cells}) == len(cells):
        return {name: number for number, name in enumerate(cells)}
    words = f"{file}: line 1 must be {','.join(COLUMNS)}, and may name a column {ACTION}"
    first = "".join(cells)[:LINE_MAX]
    if _NOT_UTF8.search(first):
        words += "; this is not UTF-8: save it as CSV UTF-8"
    elif ";" in first or "\t" in first:
        words += "; separate the cells with commas"
    raise CommandError(words)


def _row(line: int, columns: dict[str, int], cells: Sequence[str]) -> Row:
    """Return a row with the first thing that is wrong with it."""
    texts = dict.fromkeys((ACTION, *COLUMNS), "")
    raw = {name: cells[at] for name, at in columns.items() if at < len(cells)}
    texts |= {name: _unguarded(text) for name, text in raw.items()}
    action, network = texts[ACTION] or ADD, sys.intern(texts["network"])
    entry = BookEntry(
        network=network, address=texts["address"], memo=texts["memo"], label=texts["label"]
    )
    row = Row(line, sys.intern(action), entry)
    if len(cells) != len(columns):
        row.reason = f"has {len(cells)} cells, the header {len(columns)}"
        return row
    for name in columns:
        if wrong := _wrong(name, raw[name], texts[name]):
            row.reason = f"{name}: {wrong}"
            return row
    if action == ADD and (strange := refuse_address(network, entry.address)):
        row.reason = f"address: {strange}"
    return row


def _wrong(name: str, raw: str, text: str) -> str:
    """Return what is wrong with one cell, "" when nothing is."""
    if _NOT_UTF8.search(text):
        return "is not UTF-8: save the file as CSV UTF-8"
    if hidden := find_hidden(text):
        return f"holds the hidden character {hidden}"
    if text != text.strip():
        return "begins or ends with a blank"
    if raw and raw[0] in _FORMULA:
        return f"begins with {raw[0]}, so that spreadsheets run it: write '{raw[0]} if it is meant"
    if name == "memo" and _ROUNDED.fullmatch(raw):
        return "was rounded by a spreadsheet: have the column be text, and copy it again"
    if name == ACTION:
        return "" if text in {"", ADD, REMOVE} else f"must be {ADD} or {REMOVE}"
    try:
        _PARSERS[name](text)
    except ValueError as error:
        return str(error)
    return ""


def _guarded(text: str) -> str:
    return _GUARD + text if text and text[0] in _FORMULA + _GUARD else text


def _unguarded(cell: str) -> str:
    """Return the text of a cell that may stand behind an apostrophe."""
    after = cell[1:2]
    guarded = after and (after in _FORMULA + _GUARD or after.isdigit())
    return cell[1:] if cell[:1] == _GUARD and guarded else cell
