"""Settings from the environment: KURA_<PROCESS>_<TABLE>_<KEY> stands above the file's entry.

    KURA_API_LISTEN=0.0.0.0:8443  KURA_WORKER_FEE_UNIT_PRICE=2000

A variable that names no entry refuses to start, like an unknown entry in the file.
"""

import tomllib
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

from policies.lines import line_of
from policies.reader import EntryError, FileError, Table, read_toml

TABLES = ("tls", "fee", "limits")
T = TypeVar("T")


class VariableError(ValueError):
    """A variable's value cannot be taken; the message names the variable and the reason."""


def read_with_environment(
    text: str, process: str, environment: Mapping[str, str], read: Callable[[Table], T]
) -> T:
    """Return what `read` makes of the file with the variables of `process` laid over it.

    FileError names the file's line, VariableError the variable.
    """
    prefix = f"KURA_{process.upper()}_"
    variables = {name: value for name, value in environment.items() if name.startswith(prefix)}
    if not variables:
        return read_toml(text, read)
    written = read_toml(text, _whole)
    merged, places = deepcopy(written), {}
    for name, value in variables.items():
        path = _place(name.removeprefix(prefix).lower())
        places[path] = name
        _put(merged, path, _value(value))
    try:
        root = Table(merged, ())
        result = read(root)
        root.done()
    except EntryError as error:
        path = tuple(str(part) for part in error.path)
        for place, name in places.items():
            if path[: len(place)] == place:
                raise VariableError(f"{name}: {error}") from error
        raise FileError(line_of(text, error.path), error.path, str(error)) from error
    return result


def _whole(root: Table) -> dict[str, Any]:
    return {name: root.value(name, lambda value: value) for name in root.names()}


def _place(name: str) -> tuple[str, ...]:
    """Return where "fee_unit_price" belongs: into a table of that name, else to the top."""
    table = next((table for table in TABLES if name.startswith(f"{table}_")), None)
    return (table, name.removeprefix(f"{table}_")) if table else (name,)


def _put(settings: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        settings = settings.setdefault(part, {})
    settings[path[-1]] = value


def _value(text: str) -> Any:
    """Return what the text would be in the file: a number, a list, true; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
