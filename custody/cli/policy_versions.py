"""`custody policy propose | activate | veto | proposals`: a policy version's way into force.

Custody only carries what officers sign. Whether a delay is over is the watchtower's word; whether a
version is in force is the signer's decision.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.both import Taken, ask_both, deliver
from custody.cli.changes import read_signatures
from custody.cli.confirm import confirm
from custody.cli.output import (
    clipped,
    print_line,
    print_note,
    print_record,
    print_table,
    spoken,
    utc,
)
from custody.cli.proposal_rows import HEAD, NAME, Versions, people, proposal_rows, state
from custody.cli.session import CommandError, connect, own_key, own_name, settings, unix_ms
from custody.cli.tower import Watchtower
from custody.cli.trust import UntrustedError
from custody.client import CustodyClient, CustodyRefused, CustodyUnreachableError
from kura.custody.v1 import custody_pb2 as wire
from policies import fields
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import Signed, Veto, digest

WAIT_SECONDS, POLL_SECONDS = 15.0, 0.5
_PENDING = wire.POLICY_VERSION_STATE_PENDING
File = Annotated[Path, Parameter(help="The policy file.")]
Signatures = Annotated[Path, Parameter(help="The signatures under it, from custody policy sign.")]


def add_to(app: App) -> None:
    """Make these commands part of `custody policy`."""
    for command in (propose, activate, veto, proposals):
        app.command(command)


def propose(file: File, /, *, signatures: Signatures) -> int:
    """Hand a signed policy version to signer and watchtower, and say when it is in force.

    One that only tightens is in force at once, and reaches the signer by the watchtower too; any
    other waits for the delay that the version in force sets, and then comes into force by itself
    unless an officer vetoes it.

    For example: custody policy propose policy-2.toml --signatures policy-2.signatures
    """
    taken = _hand_over(file, signatures)
    if taken and not any(item.done for item in taken):
        change = digest(file.read_bytes())
        print_line(f"until then any officer may veto it: custody policy veto {change}")
    return 0 if taken else 1


def activate(file: File, /, *, signatures: Signatures) -> int:
    """Ask the signer at once to put a version in force whose delay is over.

    The watchtower says whether it is over. The signatures may be newer than those it was proposed
    with, if these have lapsed.

    For example: custody policy activate policy-2.toml --signatures policy-2.signatures
    """
    return 0 if any(item.done for item in _hand_over(file, signatures)) else 1


def veto(
    version: Annotated[str, Parameter(help="The version's digest, or its file.")],
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")] = False,
) -> int:
    """Sign and send your veto of a policy version that waits: it never comes into force then.

    It goes to custody and to the watchtower; one of them is enough.

    For example: custody policy veto policy-2.toml
    """
    config, change = settings(), _change(version)
    with connect(config) as custody:
        policy = _print_version(custody, change)
    name = own_name(config)
    if policy and name not in policy.people:
        words = f"this version removes {name}, so your veto would not count: nothing was signed"
        raise CommandError(f"{words}; ask another officer to veto it")
    if not yes:
        confirm("veto it", change)
    key = own_key(config)
    signed = key.sign(Veto(key=key.public, person=name, change=change))

    def in_custody(custody: CustodyClient) -> Taken:
        end = time.monotonic() + WAIT_SECONDS
        while not custody.create_veto(NAME + change, signed).applied:
            if time.monotonic() > end:
                words = "custody has your veto, but the signer has not answered: ask again, and"
                raise CommandError(f"{words} tell the other officers by another way than custody")
            time.sleep(POLL_SECONDS)
        return Taken(f"vetoed: {change} does not come into force")

    def in_watchtower(watchtower: Watchtower) -> Taken:
        watchtower.create_veto(signed)
        return Taken("vetoed: it never says that the delay is over")

    return 0 if deliver(config, in_custody, in_watchtower) else 1


def proposals(
    version: Annotated[
        str | None, Parameter(help="Print this one's exact file instead; a digest.")
    ] = None,
    /,
) -> None:
    """List the policy versions that were proposed, newest first, or print the file of one.

    For example: custody policy proposals
    """
    config = settings()
    if version is not None:
        change = _change(version)
        with connect(config) as custody:
            shown = custody.get_policy_version(NAME + change)
        policy = _opened(shown, change)
        sys.stdout.write(shown.policy.decode())
        print_record(_summary(policy, shown), beside=True)
        return
    versions, status = ask_both(config, _versions, Watchtower.get_status)
    print_table(HEAD, proposal_rows(versions, status.proposals if status else ()))


def _versions(custody: CustodyClient) -> Versions:
    signers = custody.get_status().signers[:1]
    waiting = [item for signer in signers for item in signer.proposals]
    return Versions(list(custody.list_policy_versions()), waiting)


def _hand_over(file: Path, signatures: Path) -> list[Taken]:
    """Hand a version to custody and the watchtower, and wait for what the signer says."""
    content, changes = file.read_bytes(), read_signatures(signatures)

    def in_custody(custody: CustodyClient) -> Taken:
        shown = _decided(custody, content, changes)
        if shown.state == wire.POLICY_VERSION_STATE_APPLIED:
            return Taken(f"in force: version {shown.version}, {_digest(shown)}")
        words = f"it waits {_until(shown)}, then it comes into force by itself"
        return Taken(words, done=False)

    def in_watchtower(watchtower: Watchtower) -> Taken:
        earliest = watchtower.create_policy_version(content, changes)
        if not earliest:
            return Taken("in force")
        if earliest <= unix_ms():
            return Taken("noted; its delay is over", done=False)
        words = (
            "noted; the signer gets it from there if it only tightens, else its delay is over at"
        )
        return Taken(f"{words} {utc(earliest)}", done=False)

    return deliver(settings(), in_custody, in_watchtower)


def _decided(
    custody: CustodyClient, content: bytes, changes: Sequence[Signed]
) -> wire.PolicyVersion:
    """Return the version once the signer has decided; CustodyRefused when it said no."""
    name, end = NAME + digest(content), time.monotonic() + WAIT_SECONDS
    shown = custody.create_policy_version(content, changes)
    while shown.state == _PENDING and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        shown = custody.get_policy_version(name)
    if shown.name != name:
        raise UntrustedError("policy version", shown.name, name)
    if shown.state == wire.POLICY_VERSION_STATE_REFUSED:
        said = shown.refusal
        code = Code(said.code) if said.code in set(Code) else Code.FAULT
        raise CustodyRefused(Refusal(code, f"the signer refused it: {said.message}"))
    if shown.state not in {
        wire.POLICY_VERSION_STATE_DELAYED,
        wire.POLICY_VERSION_STATE_APPLIED,
    }:
        words = "custody has it, but the signer has not answered: custody policy proposals"
        raise CommandError(f"{words} shows what becomes of it")
    return shown


def _change(version: str) -> str:
    """Return the digest that is meant: written out, with `policyVersions/`, or of a file."""
    try:
        return fields.digest(version.removeprefix(NAME))
    except ValueError:
        if not Path(version).exists():
            words = f"{version} is neither a digest (64 hex digits) nor a file"
            raise CommandError(words) from None
    return digest(Path(version).read_bytes())


def _print_version(custody: CustodyClient, change: str) -> Policy | None:
    """Print what a digest stands for; None when custody has no file of it, or does not answer."""
    try:
        shown = custody.get_policy_version(NAME + change)
    except (CustodyRefused, CustodyUnreachableError) as error:
        if isinstance(error, CustodyRefused) and error.refusal.code is not Code.NOT_FOUND:
            raise
        print_note(str(error), "yellow")
        print_note("only the digest is shown", "yellow")
        print_record((("digest", change), ("in words", spoken(change))))
        return None
    policy = _opened(shown, change)
    print_record(_summary(policy, shown))
    return policy


def _opened(shown: wire.PolicyVersion, change: str) -> Policy:
    if digest(shown.policy) != change:
        raise UntrustedError("policy version", digest(shown.policy), change)
    return parse_policy(shown.policy)


def _summary(policy: Policy, shown: wire.PolicyVersion) -> Iterator[tuple[str, str]]:
    yield "policy", f"version {policy.version}"
    yield "follows", policy.previous or "none: the first"
    yield "custody says", state(shown)
    yield "signed by", clipped(people(shown.signed_by))
    if shown.vetoed_by:
        yield "vetoed by", clipped(people(shown.vetoed_by))
    yield "digest", policy.digest
    yield "in words", spoken(policy.digest)


def _until(shown: wire.PolicyVersion) -> str:
    if not shown.HasField("earliest_time"):
        return f"for a time that nobody knows ({clipped(shown.refusal.message)})"
    return f"until {utc(shown.earliest_time.ToMilliseconds())}"


def _digest(shown: wire.PolicyVersion) -> str:
    return shown.name.removeprefix(NAME)
