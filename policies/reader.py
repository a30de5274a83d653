"""Reads a TOML table strictly: every key known, every value parsed, every error with its line."""

import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Path = tuple[str | int, ...]
_AT_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)$")


class EntryError(ValueError):
    """An entry of the file is wrong. `path` leads to it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


class FileError(ValueError):
    """The file is wrong: the line (from 1), the entry and the reason, in words for its author."""

    def __init__(self, line: int, path: Path, reason: str) -> None:
        entry = ".".join(str(part) for part in path)
        super().__init__(f"line {line}: {entry}: {reason}" if entry else f"line {line}: {reason}")
        self.line = line
        self.entry = entry
        self.reason = reason


def read_toml(text: str, read: "Callable[[Table], T]") -> T:
    """Return what `read` makes of the file's root table; FileError for anything it cannot take."""
    try:
        root = Table(tomllib.loads(text), ())
    except (ValueError, RecursionError) as error:  # tomllib lets more than its own error through
        place = _AT_LINE.search(str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        raise FileError(line, (), f"is not TOML: {error}") from error
    try:
        result = read(root)
        root.done()
    except EntryError as error:
        # Loaded only for an error's words, so that a serving signer carries none of it.
        from policies.lines import line_of  # noqa: PLC0415

        raise FileError(line_of(text, error.path), error.path, str(error)) from error
    return result


class Table:
    """One table; remembers what was read, so that `done` can refuse what nobody asked for."""

    def __init__(self, table: dict[str, Any], path: Path) -> None:
        self._table = table
        self._read: set[str] = set()
        self.path = path

    def value(self, key: str, parse: Callable[[object], T]) -> T:
        """Return the parsed value of a required key."""
        self._read.add(key)
        if key not in self._table:
            raise EntryError(self.path, f"{key} is missing" + self._guess(key))
        return _parsed(parse, self._table[key], (*self.path, key))

    def values(self, key: str, parse: Callable[[object], T]) -> tuple[T, ...]:
        """Return the parsed items of a required list; the same item twice is refused."""
        path = (*self.path, key)
        items = tuple(_parsed(parse, item, path) for item in self.value(key, _list))
        if len(set(items)) != len(items):
            raise EntryError(path, "says the same thing twice")
        return items

    def table(self, key: str) -> "Table":
        """Return a required table."""
        return Table(self.value(key, _dict), (*self.path, key))

    def named(self, key: str, read: "Callable[[str, Table], T]") -> dict[str, T]:
        """Return what `read` makes of each table under `key`, by name."""
        outer = self.table(key)
        return {name: _whole(read, name, outer.table(name)) for name in outer.names()}

    def array(self, key: str, read: "Callable[[Table], T]") -> tuple[T, ...]:
        """Return what `read` makes of each table of the array `key`."""
        path = (*self.path, key)
        tables = [
            Table(_parsed(_dict, item, path), (*path, index))
            for index, item in enumerate(self.value(key, _list))
        ]
        return tuple(_whole(lambda _, table: read(table), key, table) for table in tables)

    def names(self) -> Iterator[str]:
        """Return the keys as they stand."""
        return iter(self._table)

    def _guess(self, key: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - for an error's words

        near = get_close_matches(key, [name for name in self._table if name not in self._read])
        return f" ({near[0]} is not known here: is that what it should be?)" if near else ""

    def done(self) -> None:
        """Refuse what was not read."""
        for key in self._table:
            if key not in self._read:
                raise EntryError((*self.path, key), "is not known here")


def _whole(read: Callable[[str, Table], T], name: str, table: Table) -> T:
    result = read(name, table)
    table.done()
    return result


def _parsed(parse: Callable[[object], T], value: object, path: Path) -> T:
    try:
        return parse(value)
    except EntryError:
        raise
    except ValueError as error:
        raise EntryError(path, str(error)) from error


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("must be a list")
    return value


def _dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a table")
    return value
