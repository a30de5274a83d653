"""`custody key`: signing keys of officers and requesters."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.output import print_line, print_note
from custody.cli.session import CommandError, ask_passphrase
from custody.keys import create_key

app = App(name="key")


@app.command
def create(
    file: Annotated[Path, Parameter(help="The file to make; it must not be there yet.")],
    /,
    *,
    no_passphrase: Annotated[
        bool, Parameter(negative=(), help="Leave it open: for a process that starts by itself.")
    ] = False,
) -> None:
    """Make an Ed25519 signing key and print its public half, which goes into the policy.

    For example: custody key create alice.pem
    """
    if file.exists():  # before a passphrase is thought of; create_key looks again
        raise CommandError(f"{file} exists; a key is never written over: choose another name")
    key = create_key(file, None if no_passphrase else _new_passphrase())
    print_line(key.public)
    print_note(f"The private key is in {file}: keep it, and let nobody read it.")


def _new_passphrase() -> bytes:
    first = ask_passphrase("New passphrase, 15 characters or more: ")
    if ask_passphrase("The same again: ") != first:
        raise CommandError("the two passphrases differ: no key was made")
    return first
