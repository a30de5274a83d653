"""Signed changes: who signed a version of policy or address book, or a recovery, and whether it
follows what is in force; and vetoes.
"""

from collections.abc import Sequence

from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.quorum import Seats, missing
from policies.reader import FileError
from policies.statements import (
    Book,
    Change,
    Recover,
    Signed,
    StatementError,
    Veto,
    decode,
    digest,
    verify,
)

CHANGES_MAX = 64


def open_book(
    policy: Policy,
    statement: bytes,
    changes: Sequence[Signed],
    *,
    in_force: tuple[int, str],
    now: int,
) -> Book | Refusal:
    """Return the version, when it follows `in_force` (version, digest) and its quorum signed it."""
    try:
        book = decode(Book, statement)
    except StatementError as error:
        return Refusal(Code.BOOK_MALFORMED, str(error), field=error.field)
    version, previous = in_force
    if (book.version, book.previous) != (version + 1, previous):
        words = f"version {book.version} does not follow version {version} in force"
        return Refusal(Code.BOOK_OUT_OF_ORDER, words, field="version")
    networks = {asset.network for asset in policy.assets.values()}
    for entry in book.add:
        if entry.network not in networks:
            words = f"{entry.network} is no network of this policy"
            return Refusal(Code.BOOK_MALFORMED, words, field="add")
    subject = ("book", digest(statement), previous)
    return _refuse_unsigned(policy, policy.book_quorum, subject, changes, now) or book


def open_policy(
    in_force: Policy, file: bytes, changes: Sequence[Signed], now: int
) -> Policy | Refusal:
    """Return the version, when it follows `in_force` and that version's quorum signed it."""
    # Signatures first: a stranger's file can take half a minute to read.
    refusal = refuse_unsigned_version(in_force, digest(file), changes, now)
    if refusal:
        return refusal
    try:
        policy = parse_policy(file)
    except FileError as error:
        return Refusal(Code.POLICY_MALFORMED, str(error), field=error.entry)
    if (policy.version, policy.previous) != (in_force.version + 1, in_force.digest):
        words = f"version {policy.version} does not follow version {in_force.version} in force"
        return Refusal(Code.POLICY_OUT_OF_ORDER, words, field="previous")
    subject = ("policy", policy.digest, policy.previous)
    return _refuse_unsigned(in_force, in_force.policy_quorum, subject, changes, now) or policy


def open_veto(policy: Policy, signed: Signed) -> Veto | Refusal:
    """Return the veto, when one of the people in force signed it."""
    try:
        veto = decode(Veto, signed.statement)
    except StatementError as error:
        return Refusal(Code.VETO_INVALID, str(error), field=error.field)
    if veto.key not in policy.people.get(veto.person, ()) or not verify(veto.key, signed):
        return Refusal(Code.VETO_INVALID, f"the signature is not {veto.person}'s", field="key")
    return veto


def open_recover(
    policy: Policy, statement: bytes, changes: Sequence[Signed], now: int
) -> Recover | Refusal:
    """Return the recovery, when the change quorum of `policy` signed it."""
    try:
        recover = decode(Recover, statement)
    except StatementError as error:
        return Refusal(Code.QUORUM_MISSING, f"the recovery is malformed: {error}")
    subject = ("recover", digest(statement), policy.digest)
    return _refuse_unsigned(policy, policy.policy_quorum, subject, changes, now) or recover


def refuse_unsigned_version(
    in_force: Policy, name: str, changes: Sequence[Signed], now: int
) -> Refusal | None:
    """Return None when the quorum of `in_force` signed the version of this digest, unread.

    Whether it follows what is in force is told by `open_policy`.
    """
    try:
        previous = decode(Change, changes[0].statement).previous if changes else in_force.digest
    except StatementError as error:
        return Refusal(Code.QUORUM_MISSING, f"a change is malformed: {error}")
    subject = ("policy", name, previous)
    return _refuse_unsigned(in_force, in_force.policy_quorum, subject, changes, now)


def refuse_unsigned_policy(policy: Policy, changes: Sequence[Signed], now: int) -> Refusal | None:
    """Return None when `policy` is signed by the change quorum that it names itself (genesis)."""
    subject = ("policy", policy.digest, policy.previous)
    return _refuse_unsigned(policy, policy.policy_quorum, subject, changes, now)


def _refuse_unsigned(
    policy: Policy,
    quorum: Sequence[Seats],
    subject: tuple[str, str, str],
    changes: Sequence[Signed],
    now: int,
) -> Refusal | None:
    if len(changes) > CHANGES_MAX:
        return Refusal(Code.QUORUM_MISSING, f"more than {CHANGES_MAX} signatures came along")
    people: dict[str, None] = {}
    for signed in changes:
        try:
            change = decode(Change, signed.statement)
        except StatementError as error:
            return Refusal(Code.QUORUM_MISSING, f"a change is malformed: {error}")
        if (change.subject, change.digest, change.previous) != subject:
            return Refusal(Code.QUORUM_MISSING, f"{change.person} signed something else")
        if change.key not in policy.people.get(change.person, ()) or not verify(change.key, signed):
            return Refusal(Code.QUORUM_MISSING, f"the signature is not {change.person}'s")
        if change.expires <= now:
            return Refusal(Code.QUORUM_MISSING, f"the signature of {change.person} has expired")
        people[change.person] = None
    if empty := missing(quorum, policy.groups, list(people)):
        words = "still needs " + " and ".join(str(seats) for seats in empty)
        return Refusal(Code.QUORUM_MISSING, words)
    return None
