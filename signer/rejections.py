"""What approvers rejected, told by the watchtower, since custody's jobs can leave it out.

One counts until it expires, or until a new policy version voids it with all approvals.
"""

from kura.signer.v1 import signer_pb2 as wire
from policies.approvals import REJECTIONS_MAX, open_rejection
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import Approval, Signed, decode, digest
from signer.clock import Moment
from signer.journal import Journal


class Rejections:
    """The rejections in one journal, all under the policy in force."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._db = journal.db

    def reject(self, policy: Policy, signed: Signed, at: Moment) -> wire.Applied | Refusal:
        """Note one; again does no harm. What is signed already stays signed."""
        opened = open_rejection(policy, signed, at.wall)
        if isinstance(opened, Refusal):
            return opened
        name = digest(signed.statement)
        if self.has(name):
            return wire.Applied(digest=name)
        query = "SELECT count(*) FROM rejection WHERE approver = ? AND expires > ?"
        (held,) = self._db.execute(query, (opened.approver, at.wall)).fetchone()
        if held >= REJECTIONS_MAX:
            words = f"{held} rejections of {opened.approver} are kept already"
            return Refusal(Code.RATE_EXCEEDED, words)
        with self._journal.entry(at, "reject", name) as db:
            db.execute("DELETE FROM rejection WHERE expires <= ?", (at.wall,))
            values = (name, opened.intent, opened.approver, opened.expires, signed.statement)
            db.execute("INSERT INTO rejection VALUES (?, ?, ?, ?, ?)", values)
        return wire.Applied(digest=name)

    def has(self, name: str) -> bool:
        """Tell whether the rejection of this digest was noted."""
        query = "SELECT 1 FROM rejection WHERE digest = ?"
        return self._db.execute(query, (name,)).fetchone() is not None

    def of(self, intent: str, at: Moment) -> list[Approval]:
        """Return the rejections of an intent that hold now."""
        query = "SELECT statement FROM rejection WHERE intent = ? AND expires > ?"
        rows = self._db.execute(query, (intent, at.wall))
        return [decode(Approval, statement) for (statement,) in rows]
