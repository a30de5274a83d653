"""`signer recover`: a new journal in place of one that is lost, older than the token, or foreign.

The change quorum of the policy that the token remembers signs a statement that names the token's
audit key, the old journal and the new one. No watchtower and no network: files carried by hand.
Afterwards nothing is left in any window until it has passed once, and intents made earlier are
refused, since nobody knows whether the lost journal signed them. `signer serve` loads none of this.
"""

import argparse
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from policies.advice import NEXT
from policies.changes import open_recover
from policies.codes import Refusal
from policies.fields import key_text
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from policies.statements import Recover, decode, encode
from signer import anchor
from signer.clock import look
from signer.governance import Governance
from signer.guard import AUDIT_LABEL
from signer.hsm import Token
from signer.journal import Journal, JournalError
from signer.pin import read_pin
from signer.settings import Settings

DIGEST_PROMPT = "Type the policy's digest as its officers told you: "
_CARRIED = ("book", "book_entry", "requester_key")


class RecoveryError(ValueError):
    """The recovery cannot go on; the message says what to do."""


def prepare(settings: Settings, options: argparse.Namespace) -> None:
    """Make the new journal beside the old one, and the statement for officers to sign."""
    with _Host.opened(settings) as host:
        path = _candidate(settings)
        path.unlink(missing_ok=True)
        made = Journal.create(path, look(), recovered=True)
        statement = encode(
            Recover(
                audit_key=host.audit_key,
                old_journal=host.anchored_to,
                new_journal=made.name,
                watchtower="",
                created=made.created,
            )
        )
        made.close()
    with options.file.open("xb") as out:
        out.write(statement)
    print(f"old journal  {host.anchored_to or 'none that the token remembers'}")
    print(f"new journal  {made.name}")
    print(f"policy       {host.policy or 'none that the token remembers'}")
    print(f"next         officers of that policy sign: custody recover sign {options.file}")


def apply(settings: Settings, options: argparse.Namespace) -> None:
    """Put the new journal in place once the change quorum has signed; again does no harm."""
    statement, file = options.file.read_bytes(), options.policy.read_bytes()
    recover, policy = decode(Recover, statement), parse_policy(file)
    with _Host.opened(settings) as host:
        if host.anchored_to == recover.new_journal:
            print(f"journal {recover.new_journal} is in place already")
            return
        _refuse_foreign(host, recover, policy)
        changes = parse_signatures(options.signatures.read_bytes())
        opened = open_recover(policy, statement, changes, look().wall)
        if isinstance(opened, Refusal):
            raise RecoveryError(f"{opened.code}: {opened.message}; next: {NEXT[opened.code]}")
        if not host.policy:
            _confirm(policy)
        path = _candidate(settings)
        if path.exists():  # else it is in place, and only the token has not been told
            _fill(path, settings.journal, policy, file, book=host.book)
            _put_in_place(path, settings.journal, recover.old_journal)
        journal = Journal(settings.journal)
        if journal.name != recover.new_journal:
            raise RecoveryError("the new journal is not the one that was signed: prepare again")
        anchor.begin(host.token, journal)
        version, _ = Governance(journal).book_version()
        journal.close()
    print(f"journal {recover.new_journal} is in place; policy {policy.digest}")
    book = f"version {version}" if version else "empty: its quorum signs it anew, from version 1"
    print(f"address book  {book}")
    print("next          signer serve; every window starts full and opens again as it passes")


@dataclass(frozen=True, slots=True)
class _Host:
    """An opened token and what it remembers of its journal, "" for what it does not."""

    token: Token
    audit_key: str
    anchored_to: str
    policy: str
    book: str

    @classmethod
    def opened(cls, settings: Settings) -> "closing[_Host]":
        """Return the host, to be closed at the end."""
        token = Token.open(settings.module, settings.token, read_pin(settings.pin_file))
        key = token.keys().get(AUDIT_LABEL)
        if key is None:
            token.close()
            raise RecoveryError("the token holds no audit key: make it with signer init")
        found = anchor.newest(token.records())
        names = (found.journal, found.policy, found.book) if found else ("", "", "")
        return closing(cls(token, key_text(key), *names))

    def close(self) -> None:
        """Log out."""
        self.token.close()


def _refuse_foreign(host: _Host, recover: Recover, policy: Policy) -> None:
    if recover.audit_key != host.audit_key:
        raise RecoveryError("the statement names another signer's audit key")
    if recover.old_journal != host.anchored_to:
        raise RecoveryError("the statement names another old journal: prepare and sign again")
    if host.policy and policy.digest != host.policy:
        words = f"the token remembers policy {host.policy}, this file is {policy.digest}"
        raise RecoveryError(f"{words}: bring that version's file")


def _confirm(policy: Policy) -> None:
    print(DIGEST_PROMPT, end="", flush=True)
    if sys.stdin.readline().strip() != policy.digest:
        raise RecoveryError("the digest typed is not this file's: compare it with the officers")


def _fill(new: Path, old: Path, policy: Policy, file: bytes, *, book: str) -> None:
    """Install the policy, and carry over the address book where the old journal has the newest."""
    journal = Journal(new)
    if Governance(journal).policy() is None:
        Governance(journal).install(policy, file, look())
    if book and Governance(journal).book_version()[1] != book and _book_of(old) == book:
        journal.db.execute("ATTACH DATABASE ? AS old", (str(old),))
        with journal.entry(look(), "carry over", book) as db:
            for table in _CARRIED:
                db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM old.{table}")  # noqa: S608
            db.execute("UPDATE book_entry SET tick = 0")  # new to this journal, so they cool anew
        journal.db.execute("DETACH DATABASE old")
    journal.close()


def _book_of(old: Path) -> str:
    try:
        journal = Journal(old)
    except JournalError:
        return ""
    found = Governance(journal).book_version()[1]
    journal.close()
    return found


def _put_in_place(new: Path, path: Path, old: str) -> None:
    """Keep the old file as evidence; a crash in between leaves what `apply` finds again."""
    for suffix in ("", "-wal", "-shm"):
        there = path.with_name(path.name + suffix)
        if there.exists():
            there.rename(path.with_name(f"{path.name}.before-{old or 'recovery'}{suffix}"))
    new.rename(path)


def _candidate(settings: Settings) -> Path:
    return settings.journal.with_name(settings.journal.name + ".recovered")
