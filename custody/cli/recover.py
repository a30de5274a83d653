"""`custody recover`: officers sign that a signer goes on with a new journal. Needs no custody.

The watchtower has to hear of it, or it takes the new journal for a rollback.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.changes import (
    WEEK_HOURS,
    Signature,
    keep_signature,
    read_signatures,
    sign_change,
)
from custody.cli.confirm import confirm
from custody.cli.output import print_line, print_record, spoken, utc
from custody.cli.session import CommandError, settings, unix_ms
from custody.cli.tower import open_watchtower
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import Change, Recover, StatementError, decode, digest, encode

HOUR_MS = 3_600_000
AGE_MAX_MS, AHEAD_MAX_MS = WEEK_HOURS * HOUR_MS, HOUR_MS // 12
app = App(name="recover")
File = Annotated[Path, Parameter(help="The statement from `signer recover prepare`.")]


@app.command
def show(file: File, /) -> None:
    """Show what a recovery would do.

    For example: custody recover show recover.json
    """
    print_record(_rows(_opened(file)))


@app.command
def sign(
    file: File,
    /,
    *,
    policy: Annotated[Path, Parameter(help="The policy that was in force.")],
    signatures: Annotated[Path, Parameter(help="Append the signature to this file.")],
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")] = False,
    by: Signature | None = None,
) -> None:
    """Sign a recovery as one of the policy's change quorum.

    Ask first why the old journal is gone, and who says so: the new one has forgotten what was
    signed, and only the full windows and the refusal of older intents stand in for it. Compare
    the audit key with the signer's own, and `created` with when the operator made the file.

    For example: custody recover sign recover.json --policy policy.toml --signatures recover.sig
    """
    recover = _opened(file)
    try:
        in_force = parse_policy(policy.read_bytes())
    except FileError as error:
        raise CommandError(f"{policy}: {error}") from error
    of = digest(encode(recover))
    print_record((*_rows(recover), *_under(in_force, recover)))
    _refuse_strange_time(recover)
    if not yes:
        confirm("sign it", of)
    signed = sign_change("recover", of, in_force.digest, by or Signature())
    change = decode(Change, signed.statement)
    if change.key not in in_force.people.get(change.person, ()):
        words = f"{policy} does not know {change.key} as a key of {change.person}"
        raise CommandError(f"{words}: nothing was signed")
    keep_signature(signed, signatures)


@app.command
def submit(
    file: File,
    /,
    *,
    signatures: Annotated[Path, Parameter(help="The signatures under it, by the quorum.")],
) -> None:
    """Hand a recovery to the watchtower: without it the new journal gets no lease.

    The first lease comes once every nonce of the signer's wallets has been advanced.

    For example: custody recover submit recover.json --signatures recover.sig
    """
    config, recover, signed = settings(), _opened(file), read_signatures(signatures)
    with open_watchtower(config) as watchtower:
        print_record(_rows(recover))
        watchtower.create_recovery(encode(recover), signed)
    print_line("watchtower: noted; a lease comes once every nonce is advanced (custody status)")


def _refuse_strange_time(recover: Recover) -> None:
    """A signer whose clock is wrong would take intents of before the recovery for new ones."""
    age = unix_ms() - recover.created
    if age < -AHEAD_MAX_MS:
        words = "it was made later than your clock says: set the signer's clock right, or yours"
        raise CommandError(f"{words}; nothing was signed")
    if age > AGE_MAX_MS:
        words = "it was made more than a week ago: set the signer's clock right, or prepare again"
        raise CommandError(f"{words}; nothing was signed")


def _opened(file: Path) -> Recover:
    try:
        return decode(Recover, file.read_bytes())
    except StatementError as error:
        raise CommandError(f"{file} is no recovery: {error}") from error


def _rows(recover: Recover) -> Iterator[tuple[str, str]]:
    of = digest(encode(recover))
    yield "recovery of", recover.audit_key
    yield "old journal", recover.old_journal or "none that the token remembers"
    yield "new journal", recover.new_journal
    yield "created", f"{utc(recover.created)} by the signer's clock"
    yield "watchtower", recover.watchtower or "the key that the policy names"
    yield "digest", of
    yield "in words", spoken(of)


def _under(policy: Policy, recover: Recover) -> Iterator[tuple[str, str]]:
    wallets = [w.name for w in policy.wallets.values() if w.signer == recover.audit_key]
    yield "policy", f"version {policy.version}"
    yield "its digest", policy.digest
    yield "its wallets", ", ".join(wallets) or "none: it does not name this signer"
