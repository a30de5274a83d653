"""`custody policy pin`: the settings follow a version that the officers brought in force."""

import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from custody.cli.changes import read_signatures
from custody.cli.confirm import confirm
from custody.cli.output import print_line, print_record, spoken
from custody.cli.policy_words import diff_lines
from custody.cli.session import CommandError, settings
from custody.client_config import ClientConfig
from policies.changes import open_policy
from policies.codes import Refusal
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import Change, Signed, StatementError, decode, digest

_ANY_TIME = 0
_UNCHANGED = "the settings stay as they were"


def pin(
    old: Annotated[Path, Parameter(help="The file of the version that your settings pin.")],
    first: Annotated[Path, Parameter(name="NEW", help="The version that follows it.")],
    /,
    *more: Annotated[Path, Parameter(name="NEWER", help="Those that follow that, in order.")],
    signatures: Annotated[
        tuple[Path, ...],
        Parameter(negative="", help="The signatures under them; may be repeated."),
    ],
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")] = False,
) -> None:
    """Pin a newer policy version in your settings, once it is in force.

    Each version must follow the one before it and be signed by that one's quorum; custody is not
    asked and not believed. Signatures that have lapsed since still prove who wanted a version. They
    do not prove that it came into force: where it was vetoed, custody's policy is another one than
    the pinned one, and every command says so.

    For example: custody policy pin policy-1.toml policy-2.toml --signatures policy-2.signatures
    """
    config = settings()
    if config.policy_digest is None:
        words = f'{config.file} pins none yet: read the policy and add policy_digest = "THE DIGEST"'
        raise CommandError(words)
    before = _pinned(old, config.policy_digest)
    changes = [item for file in signatures for item in _changes(file)]
    for file in (first, *more):
        after = _follows(before, file, changes)
        print_line(f"version {before.version} → {after.version}")
        for line in diff_lines(before, after):
            print_line(line)
        before = after
    print_record((("digest", before.digest), ("in words", spoken(before.digest))))
    if not yes:
        confirm("pin it", before.digest, otherwise=_UNCHANGED)
    _rewrite(config, config.policy_digest, before.digest)
    print_line(f"{config.file} pins version {before.version}, {before.digest}")


def _pinned(file: Path, wanted: str) -> Policy:
    content = file.read_bytes()
    if digest(content) != wanted:
        words = f"{file} is not the version that your settings pin, {wanted}: {_UNCHANGED}"
        raise CommandError(f"{words}; its exact file: custody policy proposals {wanted}")
    try:
        return parse_policy(content)
    except FileError as error:
        raise CommandError(f"{file}: {error}") from error


def _changes(file: Path) -> Iterator[tuple[Change, Signed]]:
    try:
        for signed in read_signatures(file):
            yield decode(Change, signed.statement), signed
    except StatementError as error:
        raise CommandError(f"{file} holds what is no change: {error}") from error


def _follows(before: Policy, file: Path, changes: Sequence[tuple[Change, Signed]]) -> Policy:
    content = file.read_bytes()
    subject = ("policy", digest(content), before.digest)
    under = [
        signed
        for change, signed in changes
        if (change.subject, change.digest, change.previous) == subject
    ]
    if not under and any((change.subject, change.digest) == subject[:2] for change, _ in changes):
        words = f"{file} does not follow version {before.version}: name those between them too"
        raise CommandError(f"{words}: {_UNCHANGED}")
    after = open_policy(before, content, under, _ANY_TIME)
    if isinstance(after, Refusal):
        raise CommandError(f"{file}: {after.code}: {after.message}: {_UNCHANGED}")
    return after


def _rewrite(config: ClientConfig, old: str, new: str) -> None:
    """Change the line of `policy_digest` and no other byte, whole or not at all."""
    file = config.file.resolve()  # a link to the settings stays one
    text = file.read_bytes().decode()
    line = rf"""(?m)^([ \t]*policy_digest[ \t]*=[ \t]*["']){old}(?=["'])"""
    fresh, found = re.subn(line, rf"\g<1>{new}", text)
    if found != 1 or tomllib.loads(fresh) != tomllib.loads(text) | {"policy_digest": new}:
        words = f"{config.file}: policy_digest is written in a way that this cannot change"
        raise CommandError(f'{words}: make its line policy_digest = "{new}"')
    part = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        part.touch(mode=0o600)
        shutil.copymode(file, part)
        with part.open("wb") as out:
            out.write(fresh.encode())
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
