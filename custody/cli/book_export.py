"""`custody book export`: the address book in force as a CSV file."""

import hashlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from custody.cli.book_csv import write_entries
from custody.cli.look_alikes import Copy
from custody.cli.output import print_line
from custody.cli.session import CommandError, connect, settings


def export_book(
    file: Annotated[Path, Parameter(help="Where to; it must not be there yet.")], /
) -> None:
    """Write the entries in force to a CSV file, as custody tells them.

    They are custody's word: compare the version, its digest and the file's digest with the other
    officers'. A cell that a spreadsheet would change stands behind an apostrophe; book import takes
    it away again.

    For example: custody book export book.csv
    """
    if file.exists():
        words = f"{file} is there already and is never written over: choose another name"
        raise CommandError(words)
    part = file.with_name(file.name + ".part")
    try:
        with (
            connect(settings()) as custody,
            part.open("w", encoding="utf-8-sig", newline="") as out,
        ):
            copy = Copy(custody)
            number = write_entries(out, copy.everything())
            copy.check()
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    with file.open("rb") as written:
        of = hashlib.file_digest(written, "sha256").hexdigest()
    print_line(f"{number} entries of {copy.words}, as custody says")
    print_line(f"the file's digest: {of}")
