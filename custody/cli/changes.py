"""Signatures of officers under a policy or an address-book version, one a line of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from custody.cli.output import print_line, print_note
from custody.cli.session import CommandError, hours_from_now, open_key, own_key, own_name, settings
from custody.keys import SigningKey
from policies.signature_file import format_signature, parse_signatures
from policies.statements import Change, Signed, decode

WEEK_HOURS = 7 * 24


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who signs, and until when it counts."""

    key: Annotated[Path | None, Parameter(help="Your key; the settings' one if left out.")] = None
    person: Annotated[str | None, Parameter(help="You; the settings' name if left out.")] = None
    expires_in: Annotated[PositiveInt, Parameter(help="Hours until it lapses.")] = WEEK_HOURS

    def by(self) -> tuple[str, SigningKey]:
        """Return who signs and their key; the settings are read only for what is left out."""
        key = open_key(self.key) if self.key else own_key(settings())
        return self.person or own_name(settings()), key


def sign_change(subject: str, of: str, previous: str, signature: Signature) -> Signed:
    """Return a person's signature under the version with digest `of` that follows `previous`.

    StatementError names what is wrong, such as a person whose name cannot be one.
    """
    (signed,) = sign_changes(subject, [(of, previous)], signature)
    return signed


def sign_changes(
    subject: str, versions: Sequence[tuple[str, str]], signature: Signature
) -> list[Signed]:
    """Return a person's signature under each (digest, previous); the key is opened once."""
    person, key = signature.by()
    expires, made = hours_from_now(signature.expires_in), []
    for of, previous in versions:
        change = Change(
            key=key.public,
            person=person,
            subject=subject,
            digest=of,
            previous=previous,
            expires=expires,
        )
        signed = key.sign(change)
        decode(Change, signed.statement)
        made.append(signed)
    return made


def read_signatures(file: Path) -> list[Signed]:
    """Return the signatures in a file; CommandError naming the file otherwise."""
    try:
        return parse_signatures(file.read_bytes())
    except ValueError as error:
        raise CommandError(f"{file}: {error}") from error


def keep_signature(signed: Signed, file: Path | None) -> None:
    """Append the signature to a file of signatures, or print it."""
    if file is None:
        print_line(format_signature(signed).rstrip("\n"))
        return
    keep_signatures([signed], file)


def keep_signatures(signed: Sequence[Signed], file: Path) -> None:
    """Append signatures to a file of them."""
    if file.exists():
        read_signatures(file)
    with file.open("a") as out:
        out.writelines(map(format_signature, signed))
    what = "the signature is the last line" if len(signed) == 1 else f"the last {len(signed)} lines"
    print_note(f"Signed; {what} of {file}.")
