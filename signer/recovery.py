"""`signer recover`: a new journal in place of one that is lost, older than the token, or foreign.

The change quorum of the policy that the token remembers signs a statement that names the token's
audit key, the old journal and the new one, and the watchtower's key where that is to be another.
No network: files carried by hand.
Afterwards nothing is left in any window until it has passed once, and intents made earlier are
refused, since nobody knows whether the lost journal signed them. `signer serve` loads none of this.
"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from policies.advice import NEXT
from policies.changes import open_book, open_recover
from policies.codes import Refusal
from policies.evaluate import EARLY_MS
from policies.fields import key_text
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from policies.statements import Book, Recover, Signed, decode, digest, encode
from signer import anchor
from signer.clock import look
from signer.governance import Governance
from signer.hsm import Token
from signer.journal import Journal, JournalError
from signer.keys import AUDIT_LABEL
from signer.pin import read_pin
from signer.settings import Settings
from signer.setup import DIGEST_PROMPT, UsageError, read_status

_NO_POLICY = "none that the token remembers: the one that names this audit key"
_CARRIED = ("book", "book_entry", "requester_key", "wallet")
_KEEP_MS = 7 * 24 * 3_600_000  # as long as an officer's signature lasts, left alone
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class RecoveryError(ValueError):
    """The recovery cannot go on; the message says what to do."""


def prepare(settings: Settings, options: argparse.Namespace) -> None:
    """Make the new journal beside the old one, and the statement for officers to sign.

    Again gives the same bytes, so signatures that were collected still count.
    """
    _refuse_other_user(settings)
    with _disk(), _Host.opened(settings) as host, _making(options.file) as out:
        watchtower = options.watchtower or _named_before(host, settings.journal)
        made = _prepared(_candidate(settings))
        statement = encode(
            Recover(
                audit_key=host.audit_key,
                old_journal=host.anchored_to,
                new_journal=made.name,
                watchtower=watchtower,
                created=made.created,
            )
        )
        made.close()
        out.write(statement)
    print(f"old journal  {host.anchored_to or 'none that the token remembers'}")
    print(f"new journal  {made.name}")
    print(f"policy       {host.policy or _NO_POLICY}")
    print(f"watchtower   {watchtower or 'the key that the policy names'}")
    print(f"next         officers of that policy sign: custody recover sign {options.file}")


def apply(settings: Settings, options: argparse.Namespace) -> None:
    """Put the new journal in place once the change quorum has signed; again does no harm.

    The old journal is out of reach before the new one begins, and it begins when the token is told.
    """
    statement, file = options.file.read_bytes(), options.policy.read_bytes()
    recover, policy = decode(Recover, statement), parse_policy(file)
    _refuse_other_user(settings)
    with _disk(), _Host.opened(settings) as host:
        if host.anchored_to == recover.new_journal:
            _refuse_gone(settings, recover)
            print(f"journal {recover.new_journal} is in place already")
            return
        _refuse_foreign(host, recover, policy)
        now = look().wall
        opened = open_recover(policy, statement, _signatures(options.signatures), now)
        if isinstance(opened, Refusal):
            raise RecoveryError(f"{opened.code}: {opened.message}; next: {NEXT[opened.code]}")
        chain = _chain(host, policy, options, now)
        _refuse_serving(settings)
        if not host.policy:
            _confirm(policy)
        path, candidate = settings.journal.resolve(), _candidate(settings)
        if candidate.exists():  # else it is in place, and only the token has not been told
            _fill(candidate, recover, policy, file)
            _fill_book(candidate, path, chain, book=host.book)
            _put_in_place(candidate, path, recover.new_journal)
        journal = _begun(path, recover, policy, statement)
        os.sync()  # the files are where they belong before the token says so
        anchor.begin(host.token, journal)
        version, _ = Governance(journal).book_version()
        journal.close()
    print(f"journal {recover.new_journal} is in place; policy {policy.digest}")
    book = f"version {version}" if version else "empty: its quorum signs it anew, from version 1"
    print(f"address book  {book}")
    print(
        "next          hand this recovery to the watchtower (custody recover submit), which waits"
    )
    print(
        "              until every nonce is advanced; then signer serve: every window starts full"
    )


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


def _refuse_other_user(settings: Settings) -> None:
    """What root makes here, in the token too, the user of `signer serve` could not open."""
    owner = settings.journal.resolve().parent.stat().st_uid
    if owner != os.geteuid():
        words = f"the journal's folder belongs to user {owner}, this is user {os.geteuid()}"
        raise RecoveryError(f"{words}: run it as the user that signer serve runs as")


def _refuse_foreign(host: _Host, recover: Recover, policy: Policy) -> None:
    if recover.audit_key != host.audit_key:
        raise RecoveryError("the statement names another signer's audit key")
    if recover.old_journal != host.anchored_to:
        raise RecoveryError("the statement names another old journal: prepare and sign again")
    if host.policy and policy.digest != host.policy:
        words = f"the token remembers policy {host.policy}, this file is {policy.digest}"
        raise RecoveryError(f"{words}: bring that version's file")
    if not host.policy and host.audit_key not in {w.signer for w in policy.wallets.values()}:
        words = f"the policy names this signer's audit key for no wallet ({host.audit_key})"
        raise RecoveryError(f"{words}: bring the version that does")
    if recover.created > look().wall + EARLY_MS:
        words = "the statement was made later than this host's clock says"
        raise RecoveryError(f"{words}: set the clock right, then apply again")


def _refuse_serving(settings: Settings) -> None:
    """A signer that goes on signing would sign what the new journal cannot know."""
    with suppress(UsageError):
        serving = read_status(settings.socket).journal
        raise RecoveryError(f"a signer serves journal {serving}: stop it, then apply again")
    journal = _readable(settings.journal)
    if journal:  # else it is lost or damaged: that is why we are here
        journal.close()


def _refuse_gone(settings: Settings, recover: Recover) -> None:
    """The recovery was done once; what became of its journal since takes another one."""
    try:
        journal = Journal(settings.journal)
    except JournalError as error:
        if "another signer" in str(error):  # it is served
            return
        raise RecoveryError(f"this recovery was done before, and now {error}") from error
    journal.close()
    if journal.name != recover.new_journal:
        words = f"this recovery was done before, and now journal {journal.name} is in its place"
        raise RecoveryError(f"{words}: signer doctor says what to do")


def _confirm(policy: Policy) -> None:
    print(DIGEST_PROMPT, end="", flush=True)
    if sys.stdin.readline().strip() != policy.digest:
        raise RecoveryError("the digest typed is not this file's: compare it with the officers")


def _signatures(file: Path) -> list[Signed]:
    try:
        return parse_signatures(file.read_bytes())
    except ValueError as error:
        raise RecoveryError(f"{file}: {error}") from error


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        words = f"the journal's disk: {error}: make room or mend it"
        raise RecoveryError(f"{words}, then do the same again: nothing is lost") from error


@contextmanager
def _making(file: Path) -> Iterator[BinaryIO]:
    """Open a file that is not there yet; nothing is left of it unless all goes well."""
    try:
        out = file.open("xb")
    except FileExistsError:
        words = f"{file} is there already and is never written over: choose another name"
        raise RecoveryError(words) from None
    try:
        with out:
            yield out
    except BaseException:
        file.unlink()
        raise


def _named_before(host: _Host, path: Path) -> str:
    """Return the watchtower's key that a recovery named, and no policy version since; "" for none.

    The policy's own may have been stolen. Only the token's journal under the token's policy knows.
    """
    journal = _readable(path)
    if journal is None:
        return ""
    with closing(journal):
        try:
            own = (journal.name, Governance(journal).policy_digest())
            named = str(journal.db.execute("SELECT watchtower FROM meta").fetchone()[0])
        except sqlite3.Error as error:
            _refuse_unless_damaged(path, error)
            return ""
        return named if own == (host.anchored_to, host.policy) else ""


def _prepared(path: Path) -> Journal:
    """Return the new journal: the one that was prepared before and not filled yet, or one made."""
    if path.exists():
        journal = _readable(path)
        if journal and journal.sequence == 0 and abs(look().wall - journal.created) < _KEEP_MS:
            return journal
        if journal:
            journal.close()
    for file in _files(path):
        file.unlink(missing_ok=True)
    return Journal.create(path, look(), recovered=True)


def _chain(
    host: _Host, policy: Policy, options: argparse.Namespace, now: int
) -> list[tuple[bytes, str]]:
    """Return the address book's versions from files, once nobody can have changed a byte of them.

    The last one's digest covers all before it: it is the one that the token remembers, or, where
    it remembers none, the book's quorum has signed it anew.
    """
    chain: list[tuple[bytes, str]] = []
    in_force = (0, "")
    files = {file: decode(Book, file.read_bytes()).version for file in options.book}
    for file in sorted(files, key=files.__getitem__):
        in_force = (len(chain), chain[-1][1] if chain else "")
        statement = file.read_bytes()
        book = decode(Book, statement)
        if (book.version, book.previous) != (in_force[0] + 1, in_force[1]):
            words = f"{file} is version {book.version} and does not follow version {in_force[0]}"
            raise RecoveryError(f"{words} of these files: bring all versions, from the first")
        chain.append((statement, digest(statement)))
    if chain and host.book and chain[-1][1] != host.book:
        words = f"the token remembers address book {host.book}, the last file is {chain[-1][1]}"
        raise RecoveryError(f"{words}: bring all versions up to that one")
    if chain and not host.book:
        changes = _signatures(options.book_signatures) if options.book_signatures else []
        opened = open_book(policy, chain[-1][0], changes, in_force=in_force, now=now)
        if isinstance(opened, Refusal):
            words = "the token remembers no address book, so the quorum signs its last version anew"
            raise RecoveryError(f"{opened.code}: {words}: {opened.message}")
    return chain


def _fill(new: Path, recover: Recover, policy: Policy, file: bytes) -> None:
    """Install the policy in the journal that was signed, and in no other."""
    with closing(Journal(new)) as journal:
        if journal.name != recover.new_journal:
            words = "the new journal is not the one that was signed"
            raise RecoveryError(f"{words}: bring the newest statement, or prepare again")
        governance = Governance(journal)
        if governance.policy() is None:
            governance.install(policy, file, look())
        elif governance.policy_digest() != policy.digest:
            raise RecoveryError("the new journal was begun with another policy: prepare again")


def _fill_book(new: Path, old: Path, chain: list[tuple[bytes, str]], *, book: str) -> None:
    """Carry over the address book where the old journal has the newest; else take it from files."""
    with closing(Journal(new)) as journal:
        governance = Governance(journal)
        if book and governance.book_version()[1] != book and _book_of(old) == book:
            journal.db.execute("ATTACH DATABASE ? AS old", (str(old),))
            with journal.entry(look(), "carry over", book) as db:
                for table in _CARRIED:
                    db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM old.{table}")  # noqa: S608
            journal.db.execute("DETACH DATABASE old")
        have = governance.book_version()[0]
        for statement, name in chain[have:]:
            governance.apply_book(decode(Book, statement), name, look())
        # It is renamed without its log. Closing merges that too, but hides a full disk.
        journal.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _book_of(old: Path) -> str:
    """Return the digest of the old journal's address book; "" when not all of it can be read."""
    journal = _readable(old)
    if journal is None:
        return ""
    with closing(journal):
        try:
            for table in _CARRIED:
                for _ in journal.db.execute(f"SELECT * FROM {table}"):  # noqa: S608
                    pass
            return Governance(journal).book_version()[1]
        except sqlite3.Error as error:
            _refuse_unless_damaged(old, error)
            return ""


def _readable(path: Path) -> Journal | None:
    """Return that journal; None when it is lost or damaged. What else is in the way raises."""
    try:
        return Journal(path)
    except JournalError as error:
        if "another signer" in str(error):
            raise RecoveryError(f"{error} Stop it, then do the same again") from error
        if isinstance(error.__cause__, sqlite3.Error):
            _refuse_unless_damaged(path, error.__cause__)
        return None


def _refuse_unless_damaged(path: Path, error: sqlite3.Error) -> None:
    if error.sqlite_errorcode & 0xFF not in _DAMAGED:
        words = f"{path}: {error}: make room or mend the disk, then do the same again; or move"
        raise RecoveryError(f"{words} that file elsewhere to go on without it") from error


def _put_in_place(new: Path, path: Path, name: str) -> None:
    """Keep the old files as evidence; a crash in between leaves what `apply` finds again."""
    kept = path.with_name(f"{path.name}.before-{name}")
    for there in _files(path):
        if there.exists():
            kept.mkdir(mode=0o700, exist_ok=True)
            if (kept / there.name).exists():
                raise RecoveryError(f"{kept / there.name} is evidence: move {there} elsewhere")
            there.rename(kept / there.name)
    new.rename(path)


def _begun(path: Path, recover: Recover, policy: Policy, statement: bytes) -> Journal:
    """Return the new journal, its windows full from now on and intents made before now refused."""
    journal = Journal(path)
    if journal.name != recover.new_journal:
        raise RecoveryError("the new journal is not there any more: prepare and sign again")
    if Governance(journal).policy_digest() != policy.digest:
        raise RecoveryError("the new journal was begun with another policy: prepare again")
    at, name = look(), digest(statement)
    with journal.entry(at, "recover", bytes.fromhex(name)) as db:
        # The old journal may have signed what was dated ahead of its clock.
        # As first epoch its own digest: no order of the old journal's epochs is for this one.
        values = (at.wall + EARLY_MS, at.tick, name, recover.watchtower)
        query = "UPDATE meta SET created = ?, recovered = ?, epoch = ?, watchtower = ?"
        db.execute(query, values)
        db.execute("UPDATE book_entry SET tick = ?", (at.tick,))  # new here, so they cool anew
    return journal


def _candidate(settings: Settings) -> Path:
    path = settings.journal.resolve()
    return path.with_name(path.name + ".recovered")


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
