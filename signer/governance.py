"""The versions in force: policy and address book, the policy versions that wait, and vetoes.

They only move forward. A version is one entry of the journal: in force whole, or not at all.
"""

from typing import TypeVar

from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import Book, Destination, Signed, StatementError, Word, decode, verify
from signer.clock import Moment
from signer.journal import Journal, JournalError

PROPOSALS_MAX = 16
W = TypeVar("W", bound=Word)


class Governance:
    """The versions in one journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._db = journal.db

    def policy(self) -> bytes | None:
        """Return the exact bytes of the policy in force, or None before genesis."""
        row = self._db.execute("SELECT file FROM policy ORDER BY version DESC LIMIT 1").fetchone()
        return row[0] if row else None

    def policy_digest(self) -> str:
        """Return the digest of the policy in force, "" before genesis."""
        query = "SELECT digest FROM policy ORDER BY version DESC LIMIT 1"
        row = self._db.execute(query).fetchone()
        return row[0] if row else ""

    def install(self, policy: Policy, file: bytes, at: Moment) -> None:
        """Put the first policy of this journal in force; JournalError when there is one."""
        if self.policy() is not None:
            raise JournalError("a policy is installed already: genesis happens once")
        self.put_in_force(policy, file, at)

    def put_in_force(self, policy: Policy, file: bytes, at: Moment) -> None:
        """Put the next version in force; what was proposed, vetoed or rejected before is void."""
        before = self.policy()
        with self._journal.entry(at, "policy", policy.digest) as db:
            if before and parse_policy(before).watchtower != policy.watchtower:
                db.execute("UPDATE meta SET watchtower = ''")
            db.execute("INSERT INTO policy VALUES (?, ?, ?)", (policy.version, policy.digest, file))
            keys = [(name, key) for name, keys in policy.requesters.items() for key in keys]
            db.executemany("INSERT OR IGNORE INTO requester_key VALUES (?, ?)", keys)
            signers = [(name, wallet.signer) for name, wallet in policy.wallets.items()]
            db.executemany("INSERT OR REPLACE INTO wallet VALUES (?, ?)", signers)
            db.execute("DELETE FROM proposal")
            db.execute("DELETE FROM veto")
            db.execute("DELETE FROM rejection")

    def watchtower(self, policy: Policy) -> str:
        """Return the key of the watchtower: the policy's, or what a recovery named since."""
        return self._db.execute("SELECT watchtower FROM meta").fetchone()[0] or policy.watchtower

    def open_word(self, kind: type[W], policy: Policy, signed: Signed, code: Code) -> W | Refusal:
        """Return the watchtower's word, or the refusal with `code` where it is not its own."""
        try:
            word = decode(kind, signed.statement)
        except StatementError as error:
            return Refusal(code, str(error), field=error.field)
        if word.key != self.watchtower(policy) or not verify(word.key, signed):
            return Refusal(code, "the signature is not the watchtower's", field="key")
        return word

    def was_requester(self, requester: str, key: str) -> bool:
        """Tell whether any version named this key for this requester."""
        query = "SELECT 1 FROM requester_key WHERE (requester, key) = (?, ?)"
        return self._db.execute(query, (requester, key)).fetchone() is not None

    def signers(self) -> dict[str, str]:
        """Return each wallet's signer by the last version that named the wallet."""
        return dict(self._db.execute("SELECT name, signer FROM wallet"))

    def propose(self, digest: str, at: Moment) -> int | None:
        """Return the tick at which this version was first seen; None when too many wait."""
        proposals = self.proposals()
        if digest in proposals:
            return proposals[digest]
        if len(proposals) >= PROPOSALS_MAX:
            return None
        with self._journal.entry(at, "propose", digest) as db:
            db.execute("INSERT INTO proposal VALUES (?, ?)", (digest, at.tick))
        return at.tick

    def proposals(self) -> dict[str, int]:
        """Return the versions that wait for their delay, each with the tick of its first sight."""
        return dict(self._db.execute("SELECT digest, tick FROM proposal ORDER BY tick, digest"))

    def veto(self, change: str, person: str, at: Moment) -> None:
        """Remember one person's veto of one version; one that is there stays."""
        if person in self.vetoes(change):
            return
        with self._journal.entry(at, "veto", change, person) as db:
            db.execute("INSERT INTO veto VALUES (?, ?)", (change, person))

    def vetoes(self, change: str) -> list[str]:
        """Return the people who vetoed this version."""
        query = "SELECT person FROM veto WHERE change = ? ORDER BY person"
        return [person for (person,) in self._db.execute(query, (change,))]

    def count_vetoes(self, person: str) -> int:
        """Return how many versions this person vetoed since the last one came into force."""
        query = "SELECT count(*) FROM veto WHERE person = ?"
        return int(self._db.execute(query, (person,)).fetchone()[0])

    def book_version(self) -> tuple[int, str]:
        """Return (version, digest) of the address book in force; (0, "") before the first."""
        row = self._db.execute("SELECT version, digest FROM book ORDER BY version DESC LIMIT 1")
        return row.fetchone() or (0, "")

    def apply_book(self, book: Book, digest: str, at: Moment) -> None:
        """Put one version in force: removals, then additions, which are new from `at` on."""
        with self._journal.entry(at, "book", digest) as db:
            db.execute("INSERT INTO book VALUES (?, ?)", (book.version, digest))
            db.executemany(
                "DELETE FROM book_entry WHERE (network, address, memo) = (?, ?, ?)",
                [(entry.network, entry.address, entry.memo) for entry in book.remove],
            )
            db.executemany(
                "INSERT OR IGNORE INTO book_entry VALUES (?, ?, ?, ?)",
                [(entry.network, entry.address, entry.memo, at.tick) for entry in book.add],
            )

    def listed_at(self, network: str, destination: Destination) -> int | None:
        """Return the tick at which the address book took the whole destination, None if not."""
        where = (network, destination.address, destination.memo)
        query = "SELECT tick FROM book_entry WHERE (network, address, memo) = (?, ?, ?)"
        row = self._db.execute(query, where).fetchone()
        return row[0] if row else None
