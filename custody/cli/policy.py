"""`custody policy`: what is allowed. All but `show` works without custody."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import NonNegativeInt

from custody.cli import policy_versions
from custody.cli.blast_radius import print_blast_radius
from custody.cli.changes import Signature, keep_signature, sign_change
from custody.cli.explain import answer, explain, question, seats_words
from custody.cli.output import clipped, print_line, print_record, spoken
from custody.cli.session import CommandError, check_policy, connect, settings
from policies.policy import DestinationClass, Policy
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import Change, decode

app = App(name="policy")
policy_versions.add_to(app)
File = Annotated[Path, Parameter(help="The policy file.")]


@app.command
def show() -> None:
    """Print the exact policy file in force; its digest goes to standard error.

    So does the address book's version in force, with its digest: the next one follows that.

    For example: custody policy show > policy.toml
    """
    config = settings()
    with connect(config) as custody:
        shown = custody.get_policy()
    policy = check_policy(shown, config)
    sys.stdout.write(shown.policy.decode())
    print_record(_summary(policy), beside=True)
    book = f"version {clipped(shown.book_version)}"
    digest = shown.book_digest or "none yet"
    print_record((("address book", book), ("its digest", digest)), beside=True)


@app.command
def check(file: File, /) -> None:
    """Check a policy file: the first line that cannot be, or its digest for officers to compare.

    For example: custody policy check policy.toml
    """
    print_record(_summary(_read(file)))


@app.command(name="explain")
def explain_file(
    file: File,
    /,
    *,
    wallet: Annotated[str | None, Parameter(help="Only from this wallet.")] = None,
    requester: Annotated[str | None, Parameter(help="Only for this requester.")] = None,
    amount: Annotated[str | None, Parameter(help='Only this amount, as "5 SOL".')] = None,
    destination: Annotated[
        DestinationClass | None,
        Parameter(help="Only to what the address book lists, to our own wallets, or to any other."),
    ] = None,
) -> None:
    """Say in sentences who may send what where, with whose approvals.

    For example: custody policy explain policy.toml --amount "5 SOL" --destination address-book
    """
    policy = _read(file)
    asked = question(policy, wallet, requester, destination)
    if amount is not None:
        for line in answer(policy, asked, amount):
            print_line(line)
        return
    for line in explain(policy, asked):
        print_line(line)
    print_line(f"The policy changes {seats_words(policy, policy.policy_quorum)}.")
    print_line(f"The address book changes {seats_words(policy, policy.book_quorum)}.")


@app.command(name="blast-radius")
def blast_radius(
    file: File,
    /,
    *,
    wallet: Annotated[str | None, Parameter(help="Only from this wallet.")] = None,
    destinations: Annotated[
        NonNegativeInt | None,
        Parameter(help="How many destinations the address book lists; any number if left out."),
    ] = None,
    schedule: Annotated[
        str | None, Parameter(help='How it leaves within a period, as "24 hours".')
    ] = None,
) -> None:
    """Say how much can leave at most, for each thing that an attacker may hold.

    For example: custody policy blast-radius policy.toml --schedule "24 hours"
    """
    print_blast_radius(_read(file), wallet, destinations, schedule)


@app.command
def sign(
    file: File,
    /,
    *,
    signatures: Annotated[
        Path | None, Parameter(help="Append it to this file; printed if left out.")
    ] = None,
    by: Signature | None = None,
) -> None:
    """Sign a policy file as one of its people.

    For example: custody policy sign policy.toml --key alice.pem --person alice
    """
    policy = _read(file)
    print_record(_summary(policy), beside=True)
    signed = sign_change("policy", policy.digest, policy.previous, by or Signature())
    change = decode(Change, signed.statement)
    if change.key not in policy.people.get(change.person, ()):
        words = f"{file} does not know {change.key} as a key of {change.person}"
        raise CommandError(f"{words}: nothing was signed")
    keep_signature(signed, signatures)


def _read(file: Path) -> Policy:
    try:
        return parse_policy(file.read_bytes())
    except FileError as error:
        raise CommandError(f"{file}: {error}") from error


def _summary(policy: Policy) -> tuple[tuple[str, str], ...]:
    return (
        ("policy", f"version {policy.version}"),
        ("follows", policy.previous or "none: the first"),
        ("wallets", ", ".join(policy.wallets)),
        ("rules", ", ".join(rule.name for rule in policy.rules)),
        ("requesters", ", ".join(policy.requesters)),
        ("people", ", ".join(policy.people)),
        ("digest", policy.digest),
        ("in words", spoken(policy.digest)),
    )
