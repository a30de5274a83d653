"""`custody policy`: what is allowed. All but `show` works without custody."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import NonNegativeInt

from custody.cli import policy_versions
from custody.cli.address import refuse_address
from custody.cli.blast_radius import print_blast_radius
from custody.cli.changes import Signature, keep_signature, sign_change
from custody.cli.explain import answer, explain, question, seats_words
from custody.cli.output import clipped, print_line, print_note, print_record, spoken
from custody.cli.policy_pin import pin
from custody.cli.policy_words import case_lines, diff_lines, spare_warnings, spare_words
from custody.cli.session import CommandError, check_policy, connect, settings
from policies.cases import parse_cases
from policies.policy import DestinationClass, Policy
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.spare import spares
from policies.statements import Change, decode

app = App(name="policy")
policy_versions.add_to(app)
app.command(pin)
File = Annotated[Path, Parameter(help="The policy file.")]
Old = Annotated[Path, Parameter(help="The file before, such as the one in force.")]
New = Annotated[Path, Parameter(help="The file after it.")]


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

    It warns where one more person lost, with the last of their keys, makes something impossible.

    For example: custody policy check policy.toml
    """
    policy = _read(file)
    print_record(_summary(policy))
    if (policy.version == 1) != (policy.previous == ""):
        words = 'version 1 alone has previous = ""; any other names the digest of the one before'
        print_note(f"WARNING: never in force as it is: {words}", "bold yellow")
    for wallet in policy.wallets.values():
        places = {"address": wallet.address} | (
            {"sweep.to": wallet.sweep.to} if wallet.sweep else {}
        )
        for entry, address in places.items():
            if wrong := refuse_address(policy.assets[wallet.asset].network, address):
                print_note(f"WARNING: wallets.{wallet.name}.{entry}: {wrong}", "bold yellow")
    left = tuple(spares(policy))
    print_record(("spare people", spare_words(spare)) for spare in left)
    for line in spare_warnings(left):
        print_note(line, "bold yellow")


@app.command
def diff(old: Old, new: New, /) -> None:
    """Say in words what a version changes, and whether it acts at once or waits for its delay.

    For example: custody policy diff policy-1.toml policy-2.toml
    """
    before, after = _read(old), _read(new)
    if (after.version, after.previous) != (before.version + 1, before.digest):
        print_note(f"{new} does not follow {old}: its previous must be {before.digest}", "yellow")
    for line in diff_lines(before, after):
        print_line(line)


@app.command
def test(
    file: File, cases: Annotated[Path, Parameter(help="The file of examples beside it.")], /
) -> int:
    """Try a policy file on the officers' own examples; the exit code is 0 when all hold.

    For example: custody policy test policies/example.toml policies/example.cases.toml
    """
    policy = _read(file)
    try:
        tried = parse_cases(policy, cases.read_bytes())
    except FileError as error:
        raise CommandError(f"{cases}: {error}") from error
    if not tried:
        raise CommandError(f"{cases}: holds no cases: nothing was tried")
    lines = tuple(case_lines(policy, tried))
    for line, _ in lines:
        print_line(line)
    held = sum(holds for _, holds in lines)
    print_line(f"{held} of {len(lines)} hold")
    return 0 if held == len(lines) else 1


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
        Parameter(
            help="Only to what the address book lists, to our own wallets, to what a service "
            "attests, or to any other."
        ),
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
    in_force: Annotated[
        Path | None, Parameter(help="The file in force, which this follows; none for the first.")
    ] = None,
    signatures: Annotated[
        Path | None, Parameter(help="Append it to this file; printed if left out.")
    ] = None,
    by: Signature | None = None,
) -> None:
    """Sign a policy file as one of the people in force; the first one, as one of its own people.

    For example: custody policy sign policy-2.toml --in-force policy-1.toml --key alice.pem
    --person alice
    """
    policy = _read(file)
    people = _signers(file, policy, in_force)
    print_record(_summary(policy), beside=True)
    signed = sign_change("policy", policy.digest, policy.previous, by or Signature())
    change = decode(Change, signed.statement)
    if change.key not in people.get(change.person, ()):
        words = f"{in_force or file} does not know {change.key} as a key of {change.person}"
        raise CommandError(f"{words}: nothing was signed")
    keep_signature(signed, signatures)


def _signers(file: Path, policy: Policy, in_force: Path | None) -> Mapping[str, frozenset[str]]:
    """Return the people whose signatures count: of the version that this one follows."""
    if in_force is None and policy.version == 1:
        return policy.people
    if in_force is None:
        words = f"{file} is version {policy.version}: name the version in force with --in-force"
        raise CommandError(f"{words} (custody policy show > FILE): nothing was signed")
    before = _read(in_force)
    if (policy.version, policy.previous) != (before.version + 1, before.digest):
        words = f"{file} does not follow {in_force}: it must be version {before.version + 1} and "
        raise CommandError(f'{words}have the line previous = "{before.digest}": nothing was signed')
    return before.people


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
