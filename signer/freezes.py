"""What is frozen in this journal, in which epoch, and what clears it."""

from collections.abc import Sequence

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.freezes import (
    ALL_WALLETS,
    WATCHTOWER,
    digest_of,
    epoch_after,
    open_freeze,
    open_unfreeze,
)
from policies.policy import Policy
from policies.statements import FREEZES_MAX, Signed, digest
from signer.clock import Moment
from signer.journal import Journal


class Freezes:
    """The freezes of one journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._db = journal.db

    def epoch(self) -> str:
        """Return the digest that names the time since the last unfreeze, "" before the first."""
        return str(self._db.execute("SELECT epoch FROM meta").fetchone()[0])

    def standing(self) -> list[wire.Freeze]:
        """Return every freeze in force, in the order of their digests."""
        rows = self._db.execute("SELECT digest, wallet, person FROM freeze ORDER BY digest")
        return [wire.Freeze(digest=name, wallet=of, person=who) for name, of, who in rows]

    def standing_digest(self) -> str:
        """Return the digest of all of them."""
        return digest_of((item.digest, item.wallet, item.person) for item in self.standing())

    def refuse(self, wallet: str) -> Refusal | None:
        """Return why this wallet signs nothing that leaves, or None."""
        query = "SELECT person, digest, wallet FROM freeze WHERE wallet IN (?, ?) ORDER BY digest"
        row = self._db.execute(query, (wallet, ALL_WALLETS)).fetchone()
        if row is None:
            return None
        person, name, of = row
        what = "all wallets" if of == ALL_WALLETS else of
        words = f"{person} froze {what} with {name}"
        if person == WATCHTOWER:
            words = (
                f"a theft was proven: all wallets are frozen, the transaction's digest is {name}"
            )
        return Refusal(Code.FROZEN, words, field="wallet")

    def freeze(self, policy: Policy, signed: Signed, at: Moment) -> wire.Applied | Refusal:
        """Freeze by one officer's order; again does no harm."""
        opened = open_freeze(policy, signed, self.epoch())
        if isinstance(opened, Refusal):
            return opened
        name, standing = digest(signed.statement), self._digests()
        if name not in standing and len(standing) >= FREEZES_MAX - 1:  # a theft's has its place
            words = f"{len(standing)} freezes stand already"
            return Refusal(Code.FREEZE_INVALID, words)
        self._add(name, opened.wallet, opened.person, at)
        return wire.Applied(digest=name)

    def freeze_all(self, transaction: bytes, at: Moment) -> None:
        """Freeze all wallets for a proven theft; one for each epoch is enough."""
        query = "SELECT 1 FROM freeze WHERE person = ?"
        if self._db.execute(query, (WATCHTOWER,)).fetchone() is None:
            self._add(digest(transaction), ALL_WALLETS, WATCHTOWER, at)

    def unfreeze(
        self, policy: Policy, signed: Sequence[Signed], at: Moment
    ) -> wire.Applied | Refusal:
        """Clear the freezes that a quorum named, and begin the next epoch; answer with its name."""
        epoch = self.epoch()
        named = open_unfreeze(policy, signed, epoch, at.wall)
        if isinstance(named, Refusal):
            return named
        if unknown := sorted({*named} - self._digests()):
            words = f"no freeze {unknown[0]} stands"
            return Refusal(Code.UNFREEZE_INVALID, words, field="freezes")
        following = epoch_after(epoch, named)
        with self._journal.entry(at, "unfreeze", following) as db:
            db.executemany("DELETE FROM freeze WHERE digest = ?", [(name,) for name in named])
            db.execute("DELETE FROM swept")
            db.execute("UPDATE meta SET epoch = ?", (following,))
        return wire.Applied(digest=following)

    def _digests(self) -> set[str]:
        return {name for (name,) in self._db.execute("SELECT digest FROM freeze")}

    def _add(self, name: str, wallet: str, person: str, at: Moment) -> None:
        if name in self._digests():
            return
        with self._journal.entry(at, "freeze", name, wallet, person) as db:
            db.execute("INSERT INTO freeze VALUES (?, ?, ?)", (name, wallet, person))
