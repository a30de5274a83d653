"""Versions of the address book that follow one another, and the files that they stand in."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from custody.cli.address import refuse_address
from custody.cli.session import CommandError
from policies import canonical
from policies.statements import (
    BOOK_BYTES_MAX,
    BOOK_ENTRIES_MAX,
    Book,
    BookEntry,
    StatementError,
    decode,
    digest,
    encode,
)

ADD, REMOVE = "add", "remove"
_HEAD_BYTES = 256  # of a version without its entries: more than there ever are
Deed = tuple[str, BookEntry]  # ADD or REMOVE, and the entry


def versions(deeds: Sequence[Deed], version: int, previous: str) -> Iterator[Book]:
    """Yield versions that do all this in order, each as full as it may be."""
    some, size = list[Deed](), _HEAD_BYTES
    for deed in deeds:
        more = _bytes_of(deed[1])
        if some and (len(some) == BOOK_ENTRIES_MAX or size + more > BOOK_BYTES_MAX):
            book = _version(some, version, previous)
            yield book
            version, previous = version + 1, digest(encode(book))
            some, size = [], _HEAD_BYTES
        some.append(deed)
        size += more
    yield _version(some, version, previous)


def open_version(statement: bytes) -> Book:
    """Return the version; CommandError when it adds an address that cannot be one."""
    book = decode_version(statement)
    for number, entry in enumerate(book.add):
        if words := refuse_address(entry.network, entry.address):
            raise CommandError(f"add[{number}].address: {entry.address}: {words}")
    return book


def decode_version(statement: bytes) -> Book:
    """Return the version; CommandError when the bytes are none."""
    try:
        return decode(Book, statement)
    except StatementError as error:
        raise CommandError(f"this is no version of the address book: {error}") from error


def read_chain(files: Sequence[Path]) -> list[Book]:
    """Return the versions in files by number; CommandError unless each follows the one before."""
    books = sorted((_read(file) for file in files), key=lambda book: book.version)
    for before, book in pairwise(books):
        if (book.version, book.previous) != (before.version + 1, digest(encode(before))):
            words = f"version {book.version} does not follow version {before.version} of these"
            raise CommandError(f"{words}: name files that do, such as one import's")
    return books


def _read(file: Path) -> Book:
    try:
        return open_version(file.read_bytes())
    except CommandError as error:
        raise CommandError(f"{file}: {error}") from error


def _version(deeds: Sequence[Deed], version: int, previous: str) -> Book:
    add, remove = (tuple(entry for do, entry in deeds if do == what) for what in (ADD, REMOVE))
    return Book(version=version, previous=previous, add=add, remove=remove)


def _bytes_of(entry: BookEntry) -> int:
    """Return how many bytes an entry takes in a version, with the comma after it."""
    texts = {
        "network": entry.network,
        "address": entry.address,
        "memo": entry.memo,
        "label": entry.label,
    }
    return len(canonical.encode(dict(texts))) + 1
