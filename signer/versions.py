"""APPLY: the versions in force, and what puts the next one in force. Decided here alone.

A policy version that only tightens acts at once. Another needs the watchtower's word that the delay
of the version in force has passed; any officer may veto it meanwhile, except one whom it removes.
When the signer first saw it tells only when that may be. An address-book version acts at once.
"""

from collections.abc import Sequence

from kura.signer.v1 import signer_pb2 as wire
from policies.changes import open_book, open_policy, open_veto
from policies.codes import Code, Refusal
from policies.differences import only_tightens
from policies.durations import format_duration
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Elapsed, Signed, digest
from signer.chains.solana_sweep import refuse_sweeps
from signer.clock import Moment
from signer.governance import Governance

VETOES_MAX = 64


class Versions:
    """The policy in force, parsed, and the changes that lead to the next."""

    def __init__(self, governance: Governance, audit_key: str) -> None:
        self._governance, self._audit_key = governance, audit_key
        file = governance.policy()
        self.policy = parse_policy(file) if file else None

    def proposals(self, at: Moment) -> list[wire.Proposal]:
        """Return the policy versions that wait, with when their delay is over."""
        if self.policy is None:
            return []
        return [
            wire.Proposal(
                digest=change,
                earliest_time=self._earliest(self.policy, tick, at),
                vetoed_by=self._governance.vetoes(change),
            )
            for change, tick in self._governance.proposals().items()
        ]

    def policy_version(
        self, in_force: Policy, job: wire.PolicyVersion, at: Moment
    ) -> wire.Applied | Refusal:
        """Put it in force when it tightens, or when the watchtower says that its delay is over."""
        if digest(job.file) == in_force.digest:
            return wire.Applied(digest=in_force.digest)
        policy = open_policy(in_force, job.file, _signed(job.changes), at.wall)
        if isinstance(policy, Refusal):
            return policy
        refusal = refuse_sweeps(policy) or self._refuse_moved(policy)
        if not refusal and not only_tightens(in_force, policy):
            refusal = self._refuse_loosening(in_force, policy, job, at)
        if refusal:
            return refusal
        self._governance.put_in_force(policy, job.file, at)
        self.policy = policy
        return wire.Applied(digest=policy.digest)

    def _refuse_moved(self, policy: Policy) -> Refusal | None:
        """A signer that was there before cannot know what another one signed for a wallet."""
        before = self._governance.signers()
        for name, wallet in policy.wallets.items():
            known = wallet.signer == self._audit_key or wallet.signer in before.values()
            if known and wallet.signer != before.get(name, wallet.signer):
                words = f"wallets.{name}.signer: another one signed for it before, and with two "
                words += "journals one request could be paid twice: give the wallet another name"
                return Refusal(Code.POLICY_MALFORMED, words, field=f"wallets.{name}.signer")
        return None

    def _refuse_loosening(
        self, in_force: Policy, policy: Policy, job: wire.PolicyVersion, at: Moment
    ) -> Refusal | None:
        for person in self._governance.vetoes(policy.digest):
            if person in policy.people:
                return Refusal(Code.POLICY_VETOED, f"{person} vetoed this version")
        if job.HasField("elapsed"):
            return self._refuse_elapsed(in_force, policy.digest, _signed([job.elapsed])[0], at)
        seen = self._governance.propose(policy.digest, at)
        if seen is None:
            return Refusal(Code.POLICY_DELAYED, "too many wait: activate one, or one that tightens")
        earliest = self._earliest(in_force, seen, at)
        words = "it does more than tighten, so it waits until the watchtower says that "
        words += f"{format_duration(in_force.change_delay)} have passed"
        return Refusal(Code.POLICY_DELAYED, words, rule="change_quorum.delay", earliest=earliest)

    def _refuse_elapsed(
        self, in_force: Policy, change: str, signed: Signed, at: Moment
    ) -> Refusal | None:
        elapsed = self._governance.open_word(Elapsed, in_force, signed, Code.ELAPSED_INVALID)
        if isinstance(elapsed, Refusal):
            return elapsed
        if elapsed.change != change:
            words = "it is about another version"
            return Refusal(Code.ELAPSED_INVALID, words, field="change")
        if abs(elapsed.time - at.wall) > LEASE_MS:
            words = "it is not of now: the watchtower may know of a veto since; ask it again"
            return Refusal(Code.ELAPSED_INVALID, words, field="time")
        return None

    def _earliest(self, in_force: Policy, seen: int, at: Moment) -> int:
        return at.wall + max(0, in_force.change_delay - (at.tick - seen))

    def veto(self, policy: Policy, signed: Signed, at: Moment) -> wire.Applied | Refusal:
        """Note one officer's veto of a version that waits, or may come."""
        veto = open_veto(policy, signed)
        if isinstance(veto, Refusal):
            return veto
        known = veto.person in self._governance.vetoes(veto.change)
        if not known and self._governance.count_vetoes(veto.person) >= VETOES_MAX:
            words = f"{veto.person} has vetoed {VETOES_MAX} versions since the last one"
            return Refusal(Code.VETO_INVALID, words)
        self._governance.veto(veto.change, veto.person, at)
        return wire.Applied(digest=veto.change)

    def book(self, policy: Policy, job: wire.BookVersion, at: Moment) -> wire.Applied | Refusal:
        """Put the next version of the address book in force."""
        in_force = self._governance.book_version()
        name = digest(job.statement)
        if in_force[1] == name:
            return wire.Applied(digest=name)
        changes = _signed(job.changes)
        book = open_book(policy, job.statement, changes, in_force=in_force, now=at.wall)
        if isinstance(book, Refusal):
            return book
        self._governance.apply_book(book, name, at)
        return wire.Applied(digest=name)


def _signed(items: Sequence[wire.SignedStatement]) -> list[Signed]:
    return [Signed(item.statement, item.signature) for item in items]
