"""Officers ask custody and the watchtower, both at once: neither can hide or hold up an order."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from custody.cli.output import print_line, print_note
from custody.cli.problems import words_of
from custody.cli.session import PATIENCE, connect
from custody.cli.tower import Watchtower
from custody.client import CustodyClient
from custody.client_config import ClientConfig

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken:
    """An order was taken; `words` say what comes of it, `done` whether it acts already."""

    words: str
    done: bool = True


def ask_both(
    config: ClientConfig,
    custody: Callable[[CustodyClient], A],
    watchtower: Callable[[Watchtower], B],
) -> tuple[A | None, B | None]:
    """Return both answers; None for one that gave none, which is told as a warning."""
    target = config.watchtower

    def ask_custody() -> A:
        with connect(config) as client:
            return custody(client)

    def ask_watchtower(target: str) -> B:
        with Watchtower(target, config.tls, PATIENCE) as client:
            return watchtower(client)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask_custody)
        second = pool.submit(ask_watchtower, target) if target else None
    if second is None:
        print_note(
            f'WARNING: {config.file}: set watchtower = "host:port": it was not asked', "bold"
        )
    said = _answer(first)
    return said, _answer(second) if second else None


def deliver(
    config: ClientConfig,
    custody: Callable[[CustodyClient], Taken],
    watchtower: Callable[[Watchtower], Taken],
) -> list[Taken]:
    """Hand an order to both, say of each whether it took it, and return what those said."""
    said = ask_both(config, custody, watchtower)
    places = ("custody", "watchtower")
    taken = [(place, item) for place, item in zip(places, said, strict=True) if item]
    for place, item in taken:
        print_line(f"{place}: {item.words}")
    return [item for _, item in taken]


def _answer(future: Future[T]) -> T | None:
    error = future.exception()
    if error is None:
        return future.result()
    words = words_of(error) if isinstance(error, Exception) else None
    if words is None:
        raise error
    for number, line in enumerate(words):
        print_note(line if number else f"WARNING: {line}", "" if number else "bold red")
    return None
