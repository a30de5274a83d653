"""`custody book`: versions of the address book, from draft to applied."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt

from custody.cli.address import refuse_address
from custody.cli.changes import Signature, keep_signature, sign_change
from custody.cli.confirm import confirm
from custody.cli.output import print_line, print_note, print_record, quoted, spoken
from custody.cli.session import CommandError, check_policy, connect, settings
from policies import fields
from policies.signature_file import parse_signatures
from policies.statements import Book, BookEntry, StatementError, decode, digest, encode

APPLY_SECONDS, POLL_SECONDS = 30.0, 0.5
app = App(name="book")
File = Annotated[Path, Parameter(help="The address-book version.")]


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
    book = _opened(statement)
    try:
        with file.open("xb") as out:
            out.write(statement)
    except FileExistsError:
        words = f"{file} is there already and is never written over: choose another name"
        raise CommandError(words) from None
    _print_summary(book)


@app.command
def check(file: File, /) -> None:
    """Check a version of the address book and show what it changes.

    For example: custody book check book-7.json
    """
    _print_summary(_opened(file.read_bytes()))


@app.command
def sign(
    file: File,
    /,
    *,
    signatures: Annotated[Path, Parameter(help="Append the signature to this file.")],
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")] = False,
    by: Signature | None = None,
) -> None:
    """Sign a version of the address book as one of its quorum.

    For example: custody book sign book-7.json --signatures book-7.signatures
    """
    book = _opened(file.read_bytes())
    of = digest(encode(book))
    _print_summary(book)
    if not yes:
        confirm("sign it", of)
    keep_signature(sign_change("book", of, book.previous, by or Signature()), signatures)


@app.command
def apply(
    file: File,
    /,
    *,
    signatures: Annotated[Path, Parameter(help="The signatures under it.")],
) -> None:
    """Hand a signed version to the signer and wait until it is in force.

    For example: custody book apply book-7.json --signatures book-7.signatures
    """
    statement, changes = file.read_bytes(), parse_signatures(signatures.read_bytes())
    book = _decoded(statement)
    end = time.monotonic() + APPLY_SECONDS
    with connect(settings()) as custody:
        while (state := custody.create_book_version(statement, changes).state) != "applied":
            if time.monotonic() > end:
                words = f"custody has it ({state}), but the signer has not answered: ask again"
                raise CommandError(words)
            time.sleep(POLL_SECONDS)
    print_line(f"applied: version {book.version} of the address book, {digest(statement)}")


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


def _decoded(statement: bytes) -> Book:
    try:
        return decode(Book, statement)
    except StatementError as error:
        raise CommandError(f"this is no version of the address book: {error}") from error


def _opened(statement: bytes) -> Book:
    """Return the version; CommandError when it adds an address that cannot be one."""
    book = _decoded(statement)
    for number, entry in enumerate(book.add):
        if words := refuse_address(entry.network, entry.address):
            raise CommandError(f"add[{number}].address: {entry.address}: {words}")
    return book


def _print_summary(book: Book) -> None:
    """Print what signing the version means, and what nobody here can see: the entries so far."""
    print_record(_summary(book))
    if book.add:
        print_note("An entry that the address book has already stays as it is.")
    for entry in book.remove:  # an entry of old must stay removable, so only a word
        if strange := refuse_address(entry.network, entry.address):
            print_note(f"{entry.address}: {strange}")
    if book.remove:
        words = "Only the same network, address and memo are removed; "
        print_note(words + "if the address book has no such entry, nothing is.")


def _summary(book: Book) -> Iterator[tuple[str, str]]:
    of = digest(encode(book))
    yield "address book", f"version {book.version}"
    yield "follows", book.previous or "none: the first"
    for verb, entries in (("adds", book.add), ("removes", book.remove)):
        for entry in entries:
            yield verb, entry.address
            yield "  labelled", quoted(entry.label, "(no label)")
            yield "  network", entry.network
            yield "  memo", quoted(entry.memo, "(no memo)")
    yield "digest", of
    yield "in words", spoken(of)
