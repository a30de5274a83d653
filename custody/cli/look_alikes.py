"""Entries of the address book that people would take for one another.

Invariant: custody only names entries; which of them look alike is decided here. That it names all
is its word, as is the version that they are of.
"""

from collections.abc import Iterable, Iterator, Sequence

from custody.cli.output import clipped, print_note, quoted
from custody.cli.session import CommandError, connect, settings
from custody.client import CustodyClient
from custody.domain.look_alikes import ends
from kura.custody.v1 import custody_pb2 as wire
from policies import fields
from policies.canonical import find_hidden
from policies.statements import Book, BookEntry

ASKED_MAX = 1_000
IN_FORCE = "in force"
OFFLINE_HELP = "Do not compare with the address book in force, which custody tells."
Found = tuple[str, BookEntry]  # "adds", "removes" or IN_FORCE, and the entry


class Copy:
    """The address book as custody tells it: of one version, whatever is read."""

    def __init__(self, custody: CustodyClient) -> None:
        self._custody = custody
        self._version = self._digest = ""

    @property
    def words(self) -> str:
        """What custody says it is of; "" before anything was read."""
        of = self._digest or "no digest: the empty one"
        return f"version {self._version} of the address book ({of})" if self._version else ""

    def check(self) -> None:
        """Warn when custody says that the signer has another version."""
        shown = self._custody.get_policy()
        if shown.book_digest != self._digest:
            words = f"version {clipped(shown.book_version)} ({clipped(shown.book_digest)})"
            words = f"WARNING: these entries are of {self.words}, but the signer has {words}"
            print_note(words, "bold yellow")

    def everything(self) -> Iterator[BookEntry]:
        """Yield every entry in force, oldest first."""
        return self._read(self._custody.list_book_entries())

    def like(self, entries: Iterable[BookEntry]) -> Iterator[BookEntry]:
        """Yield the entries in force that look like one of these, or are one of these."""
        asked: dict[str, dict[str, str]] = {}
        for entry in entries:
            asked.setdefault(entry.network, {})[ends(entry.address)] = entry.address
        for network, addresses in asked.items():
            some = list(addresses.values())
            for first in range(0, len(some), ASKED_MAX):
                pages = self._custody.list_book_entries(network, some[first : first + ASKED_MAX])
                for entry in self._read(pages):
                    if entry.network == network and ends(entry.address) in addresses:
                        yield entry

    def _read(self, pages: Iterable[wire.ListBookEntriesResponse]) -> Iterator[BookEntry]:
        for page in pages:
            before = (self._version, self._digest)
            self._version, self._digest = clipped(page.book_version), clipped(page.book_digest)
            if before[0] and before != (self._version, self._digest):
                raise CommandError("the address book changed on the way: do it again")
            for item in page.entries:
                yield _entry(item)


def read_like(entries: Iterable[BookEntry]) -> list[BookEntry]:
    """Return the entries in force that look like these, or are these; say whose word that is."""
    with connect(settings()) as custody:
        copy = Copy(custody)
        known = list(copy.like(entries))
        if copy.words:
            copy.check()
            print_note(f"Compared with {copy.words}, as custody says.")
    return known


def warn_of_look_alikes(books: Sequence[Book], *, offline: bool) -> int:
    """Print which addresses in these versions look like another; return how many groups do."""
    entries = [
        *(("adds", entry) for book in books for entry in book.add),
        *(("removes", entry) for book in books for entry in book.remove),
    ]
    known = list[BookEntry]()
    if books[0].version > 1 and offline:
        print_note("Not compared with the address book in force.")
    elif books[0].version > 1:
        known = read_like(entry for _, entry in entries)
    groups = look_alikes([*((IN_FORCE, entry) for entry in known), *entries])
    print_look_alikes(groups)
    return len(groups)


def look_alikes(entries: Iterable[Found]) -> list[list[Found]]:
    """Return the groups of addresses that look alike, each address once."""
    first, groups = dict[str, Found](), dict[str, dict[str, Found]]()
    for found in entries:
        entry = found[1]
        key = f"{entry.network} {ends(entry.address)}"
        seen = first.setdefault(key, found)
        if seen[1].address != entry.address:
            group = groups.setdefault(key, {seen[1].address: seen})
            group.setdefault(entry.address, found)
    return [list(group.values()) for group in groups.values()]


def print_look_alikes(groups: list[list[Found]]) -> None:
    """Warn: the whole addresses of a group one under the other."""
    for number, group in enumerate(groups, start=1):
        words = f"WARNING: look-alikes {number} of {len(groups)}: the same ends, another middle"
        print_note(words, "bold yellow")
        for where, entry in group:
            print_note(f"  {where:9} {entry.address}  {quoted(entry.label, '(no label)')}")


def _entry(item: wire.BookEntry) -> BookEntry:
    """Return an entry that custody names; CommandError when it cannot be one."""
    try:
        if hidden := find_hidden(item.memo + item.label):
            raise ValueError(f"holds the hidden character {hidden}")  # noqa: TRY301
        return BookEntry(
            network=fields.network(item.network),
            address=fields.address(item.address),
            memo=fields.memo(item.memo),
            label=fields.label(item.label),
        )
    except ValueError as error:
        words = f"custody names an entry of the address book that cannot be one: {error}"
        raise CommandError(words) from error
