"""`custody book`: versions of the address book, from draft to applied."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt

from custody.cli.address import refuse_address
from custody.cli.book_chain import decode_version, open_version, read_chain
from custody.cli.book_export import export_book
from custody.cli.book_import import import_book
from custody.cli.changes import Signature, keep_signatures, read_signatures, sign_changes
from custody.cli.confirm import confirm, confirm_look_alikes
from custody.cli.look_alikes import OFFLINE_HELP, warn_of_look_alikes
from custody.cli.output import print_line, print_note, print_record, quoted, spoken
from custody.cli.session import CommandError, check_policy, connect, settings
from custody.client import CustodyClient
from policies import fields
from policies.statements import Book, BookEntry, Change, Signed, decode, digest, encode

APPLY_SECONDS, POLL_SECONDS = 30.0, 0.5
SHOWN_MAX = 200
app = App(name="book")
app.command(import_book, name="import")
app.command(export_book, name="export")
File = Annotated[Path, Parameter(help="The address-book version.")]
Offline = Annotated[bool, Parameter(negative=(), help=OFFLINE_HELP)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One entry to add or remove, and the version that it follows."""

    add: Annotated[str, Parameter(help="The whole address to allow.")] = ""
    remove: Annotated[str, Parameter(help="The whole address to allow no more.")] = ""
    label: Annotated[str, Parameter(help="Whose it is, in a few words.")]
    memo: Annotated[str, Parameter(help="The entry is for this memo or tag alone.")] = ""
    network: Annotated[str | None, Parameter(help="Where it is; left out, the only one.")] = None
    version: Annotated[PositiveInt | None, Parameter(help="Left out, the next one.")] = None
    previous: Annotated[str | None, Parameter(help="Digest that it follows.")] = None
    offline: Annotated[bool, Parameter(negative=(), help=OFFLINE_HELP)] = False

    def statement(self) -> bytes:
        """Return the version's exact bytes."""
        entry = BookEntry(
            network=self.network or "",
            address=self.add or self.remove,
            memo=self.memo,
            label=self.label,
        )
        book = Book(
            version=self.version or 0,
            previous=self.previous or "",
            add=(entry,) if self.add else (),
            remove=(entry,) if self.remove else (),
        )
        return encode(book)


@app.command
def draft(
    file: Annotated[Path, Parameter(help="The file to make; it must not be there yet.")],
    /,
    entry: Draft,
) -> None:
    """Write the next version of the address book. What is left out is asked of custody.

    For example: custody book draft book-7.json --add CSRWyb7Bkw2E8dEqYyjvbAm2svuNTTHoTCuhtHSV3BKg
    --label "Customer 4711"
    """
    if bool(entry.add) == bool(entry.remove):
        raise CommandError("say either --add ADDRESS or --remove ADDRESS")
    statement = _filled(entry).statement()
    book = open_version(statement)
    try:
        with file.open("xb") as out:
            out.write(statement)
    except FileExistsError:
        words = f"{file} is there already and is never written over: choose another name"
        raise CommandError(words) from None
    _print_summary(book)
    warn_of_look_alikes([book], offline=entry.offline)


@app.command
def check(file: File, /, *more: File, offline: Offline = False) -> None:
    """Check versions of the address book and show what they change.

    For example: custody book check book-7.json
    """
    books = read_chain([file, *more])
    for book in books:
        _print_summary(book)
    warn_of_look_alikes(books, offline=offline)


@app.command
def sign(  # noqa: PLR0913 - what is said once for all of it
    file: File,
    /,
    *more: File,
    signatures: Annotated[Path, Parameter(help="Append the signatures to this file.")],
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")] = False,
    look_alikes: Annotated[
        PositiveInt | None, Parameter(help="How many look-alikes you have compared.")
    ] = None,
    offline: Offline = False,
    by: Signature | None = None,
) -> None:
    """Sign versions of the address book, each following the one before, as one of its quorum.

    The last one's digest names them all, since each names the one before.

    For example: custody book sign book-7.json --signatures book-7.signatures
    """
    books = read_chain([file, *more])
    for book in books:
        _print_to_sign(book)
    if number := warn_of_look_alikes(books, offline=offline):
        confirm_look_alikes(number, look_alikes)
    versions = [(digest(encode(book)), book.previous) for book in books]
    if not yes:
        confirm("sign it" if len(books) == 1 else f"sign all {len(books)}", versions[-1][0])
    keep_signatures(sign_changes("book", versions, by or Signature()), signatures)


@app.command
def apply(
    file: File,
    /,
    *more: File,
    signatures: Annotated[Path, Parameter(help="The signatures under them.")],
) -> None:
    """Hand signed versions to the signer, one after the other, and wait until they are in force.

    For example: custody book apply book-7.json --signatures book-7.signatures
    """
    statements = [name.read_bytes() for name in (file, *more)]
    books = sorted((decode_version(item).version, item) for item in statements)
    changes = _by_subject(read_signatures(signatures))
    with connect(settings()) as custody:
        for version, statement in books:
            of = digest(statement)
            if of not in changes:
                raise CommandError(f"{signatures} holds no signature under version {version}, {of}")
            _apply(custody, version, statement, changes[of])
            print_line(f"applied: version {version} of the address book, {of}")


def _apply(
    custody: CustodyClient, version: int, statement: bytes, changes: Sequence[Signed]
) -> None:
    """Return once the version is in force, and custody knows that the next one may follow it."""
    end = time.monotonic() + APPLY_SECONDS
    while True:
        state = custody.create_book_version(statement, changes).state
        if state == "applied":
            in_force = custody.get_policy().book_version
            if fields.decimal(in_force, 10**9) >= version:
                return
        if time.monotonic() > end:
            words = f"custody has it ({state}), but the signer has not answered: ask again"
            raise CommandError(words)
        time.sleep(POLL_SECONDS)


def _by_subject(signed: Sequence[Signed]) -> dict[str, list[Signed]]:
    """Return signatures by the digest that they are under."""
    found = dict[str, list[Signed]]()
    for item in signed:
        found.setdefault(decode(Change, item.statement).digest, []).append(item)
    return found


def _filled(entry: Draft) -> Draft:
    """Return the draft with what was left out, as custody says it; the signer checks it anyway."""
    if entry.version == 1 and entry.previous is None:
        entry = replace(entry, previous="")
    if None not in (entry.version, entry.previous, entry.network):
        return entry
    config = settings()
    with connect(config) as custody:
        shown = custody.get_policy()
    networks = {asset.network for asset in check_policy(shown, config).assets.values()}
    if entry.network is None and len(networks) != 1:
        raise CommandError(f"say which --network: {', '.join(sorted(networks))}")
    return replace(
        entry,
        version=entry.version or fields.decimal(shown.book_version, 10**9) + 1,
        previous=shown.book_digest if entry.previous is None else entry.previous,
        network=entry.network or networks.pop(),
    )


def _print_to_sign(book: Book) -> None:
    """Print all of a version that can be read at once, and of a larger one what it is."""
    added, removed = len(book.add), len(book.remove)
    if added + removed <= SHOWN_MAX:
        _print_summary(book)
        return
    changes = (("adds", f"{added} entries"), ("removes", f"{removed} entries"))
    print_record([*_head(book), *changes, *_name(book)])
    print_note("Read every entry of it first: custody book check FILE")


def _print_summary(book: Book) -> None:
    """Print what signing the version means, and what nobody here can see: the entries so far."""
    print_record([*_head(book), *_changes(book), *_name(book)])
    if book.add:
        print_note("An entry that the address book has already stays as it is.")
    for entry in book.remove:  # an entry of old must stay removable, so only a word
        if strange := refuse_address(entry.network, entry.address):
            print_note(f"{entry.address}: {strange}")
    if book.remove:
        words = "Only the same network, address and memo are removed; "
        print_note(words + "if the address book has no such entry, nothing is.")


def _head(book: Book) -> Iterator[tuple[str, str]]:
    yield "address book", f"version {book.version}"
    yield "follows", book.previous or "none: the first"


def _changes(book: Book) -> Iterator[tuple[str, str]]:
    for verb, entries in (("adds", book.add), ("removes", book.remove)):
        for entry in entries:
            yield verb, entry.address
            yield "  labelled", quoted(entry.label, "(no label)")
            yield "  network", entry.network
            yield "  memo", quoted(entry.memo, "(no memo)")


def _name(book: Book) -> Iterator[tuple[str, str]]:
    of = digest(encode(book))
    yield "digest", of
    yield "in words", spoken(of)
