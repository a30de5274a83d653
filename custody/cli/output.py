"""What is printed. Invariant: nothing that a server said reaches the terminal as it came.

Control and format characters are shown as their code point, markup is never interpreted, and no
name, address or digest is shortened or broken. Any other value of a record stays in its column, so
that no part of a long one can look like a row.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from custody.words import digest_words
from policies import fields
from policies.canonical import find_hidden
from policies.policy import Policy
from policies.units import format_units

_LABEL = 16
_CLIP = 100
_WHOLE = re.compile(r"[A-Za-z0-9/:._-]{1,128}", re.ASCII)  # a name, address, digest or number
_OUT = Console(markup=False, highlight=False, emoji=False)
_ERR = Console(markup=False, highlight=False, emoji=False, stderr=True)

Rows = Iterable[tuple[str, str]]


def plain(text: str) -> str:
    """Return `text` with every character that could act on a terminal shown as <U+…>."""
    return "".join(f"<{hidden}>" if (hidden := find_hidden(c)) else c for c in text)


def clipped(text: str, most: int = _CLIP) -> str:
    """Return at most so many characters of a text that a stranger chose."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def quoted(text: str, absent: str) -> str:
    """Return a stranger's text in quotation marks, so that its ends show; `absent` for none.

    Blanks of other kinds than the plain one are shown as <U+...>.
    """
    if not text:
        return absent
    spoken = json.dumps(text, ensure_ascii=False)
    return "".join(f"<U+{ord(c):04X}>" if c.isspace() and c != " " else c for c in spoken)


def print_line(text: str) -> None:
    """Print one line, as long as it is."""
    _OUT.print(Text(plain(text)), soft_wrap=True)


def print_note(text: str, style: str = "") -> None:
    """Print one line for people on standard error, beside what a program may read."""
    _ERR.print(Text(plain(text), style=style), soft_wrap=True)


def print_record(rows: Rows, *, beside: bool = False) -> None:
    """Print labelled values; on standard error when `beside` a program's output.

    An address or digest that would not fit beside its label has the next line for itself; any
    other long value goes on below its own beginning.
    """
    console = _ERR if beside else _OUT
    for label, text in rows:
        value, gap = plain(text), " "
        if not _WHOLE.fullmatch(value):
            value = f"\n{' ' * _LABEL}".join(_fold(value, max(1, console.width - _LABEL)))
        elif _LABEL + len(value) > console.width:
            gap = "\n"
        line = Text(label.ljust(_LABEL - 1) + gap, style="bold").append(value, style="not bold")
        console.print(line, soft_wrap=True)


def _fold(text: str, width: int) -> Iterator[str]:
    """Yield the whole text in lines of at most `width` cells, broken before words if possible."""
    line = ""
    for word in re.findall(r"\S+\s*|\s+", text):
        if line and _cells(line + word.rstrip()) > width:
            yield line
            line = ""
        line += word
        while _cells(line) > width:
            ends = accumulate(map(_cells, line))
            most = max(1, sum(end <= width for end in ends))
            yield line[:most]
            line = line[most:]
    yield line


def _cells(text: str) -> int:
    """Return the most columns that any terminal needs: they differ on all that is not ASCII."""
    return sum(1 if character.isascii() else 2 for character in text)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as wide as it needs to be; the terminal may break lines, we never do."""
    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(plain(cell), no_wrap=True) for cell in row))
    wide = _OUT.options.update(max_width=100_000)
    width = Measurement.get(_OUT, wide, table).maximum
    for line in _OUT.render_lines(table, wide.update(width=width), pad=False):
        text = Text.assemble(*((part.text, part.style or "") for part in line))
        text.rstrip()
        _OUT.print(text, soft_wrap=True)


def print_problem(lines: Sequence[str]) -> None:
    """Print what went wrong: the first line stands out."""
    for number, line in enumerate(lines):
        print_note(line, "" if number else "bold red")


def utc(milliseconds: int) -> str:
    """Return Unix milliseconds as a time that people read."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):  # a signed time may lie beyond the year 9999
        return f"{milliseconds} ms after 1970"


def spoken(digest: str) -> str:
    """Return a digest's six words."""
    return " ".join(digest_words(digest))


def amount_words(policy: Policy, base_units: str, asset: str) -> str:
    """Return "1.5 SOL" for a server's "1500000000"; the text itself when it is no amount."""
    known = policy.assets.get(asset)
    try:
        units = fields.decimal(base_units, fields.AMOUNT_MAX)
    except ValueError:
        return f"{base_units} base units of {asset}"
    return format_units(units, asset, known.decimals) if known else f"{units} base units of {asset}"
