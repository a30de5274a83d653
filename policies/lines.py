"""Where in a TOML file each table and key stands, so that an error can name its line.

Knows the part of TOML that policy files use: one header or one key a line.
"""

import re

from policies.reader import Path

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def line_numbers(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table header and key by its path."""
    lines: dict[Path, int] = {(): 1}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            table = _open(header[2].split("."), array=header[1] == "[[", counts=counts)
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, key[1]), number)
    return lines


def line_of(text: str, path: Path) -> int:
    """Return the line of `path` in the file `text`, or of the nearest table that holds it."""
    lines = line_numbers(text)
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _open(parts: list[str], *, array: bool, counts: dict[Path, int]) -> Path:
    path: Path = ()
    for depth, part in enumerate(parts, start=1):
        path = (*path, part)
        if array and depth == len(parts):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path
