"""The watchtower's lease: without a fresh one, no hot wallet signs. Kept in memory alone.

A lease is for one start of one journal (`challenge`), one policy and one epoch, and lifts the time
that the signer counts. It is fresh until it expires, whenever it came; an older one than the one
held is none, so that one which expires at once takes that back.
"""

import secrets

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy, Wallet, WalletTier
from policies.statements import Hello, Lease, Signed, digest, encode
from signer.clock import DRIFT_MS, Clock, Moment
from signer.freezes import Freezes
from signer.governance import Governance
from signer.journal import Journal
from signer.keys import Keys
from signer.rejections import Rejections
from signer.requests import Requests

QUESTION_BYTES = 32


class Leases:
    """The lease of one start of a signer."""

    def __init__(self, journal: Journal, keys: Keys, requests: Requests, clock: Clock) -> None:
        self._journal, self._keys = journal, keys
        self._requests, self._clock = requests, clock
        self._governance, self._freezes = Governance(journal), Freezes(journal)
        self._rejections = Rejections(journal)
        self._challenge = secrets.token_hex(32)
        self._lease: Lease | None = None
        self._name = ""  # the lease's digest
        self._fresh_until = 0  # steady ms

    def hello(self, policy: Policy, job: wire.Hello) -> wire.SignedStatement | Refusal:
        """Return what a lease must name, signed by the audit key."""
        if len(job.question) != QUESTION_BYTES:
            return Refusal(Code.JOB_MALFORMED, f"the question has {QUESTION_BYTES} bytes")
        statement = encode(
            Hello(
                key=self._keys.audit_key,
                question=job.question.hex(),
                challenge=self._challenge,
                journal=self._journal.name,
                sequence=self._journal.sequence,
                head=self._journal.head.hex(),
                policy=policy.digest,
                epoch=self._freezes.epoch(),
                freezes=self._freezes.standing_digest(),
                lease=self._name,
            )
        )
        signature = self._keys.sign_statement(statement)
        return wire.SignedStatement(statement=statement, signature=signature)

    def apply(self, policy: Policy, signed: Signed, at: Moment) -> wire.Applied | Refusal:
        """Take a lease and the time that it says; or say why not."""
        lease = self._governance.open_word(Lease, policy, signed, Code.LEASE_INVALID)
        if isinstance(lease, Refusal):
            return lease
        refusal = self._refuse_other(policy, lease, at) or self._refuse_resolved(lease)
        refusal = refusal or self._refuse_unheard(lease)
        if refusal:
            return refusal
        left = lease.expires - max(lease.time, at.tick, at.wall)
        self._lease, self._fresh_until = lease, at.steady + left
        self._name = digest(signed.statement)
        self._journal.confirm(lease.sequence)
        self._clock.lift(at, lease.time)
        return wire.Applied(digest=self._name)

    def refuse(self, policy: Policy, wallet: Wallet, at: Moment) -> Refusal | None:
        """Return why this wallet waits for a lease, or None."""
        if wallet.tier is not WalletTier.HOT or self.until(policy, at):
            return None
        words = "the watchtower has given no lease since this signer started"
        if self._lease and self._fresh_until > at.steady:
            words = "the watchtower's lease was for the policy or epoch before"
        elif self._lease:
            words = "the watchtower's lease has run out"
        return Refusal(Code.LEASE_MISSING, words)

    def refuse_unconfirmed(self, policy: Policy, name: str) -> Refusal | None:
        """Return why this journal cannot swear that it never signed for a wallet, or None.

        Put back with the token it has forgotten; who gives a lease has seen how far it was.
        """
        wallet = policy.wallets.get(name)
        if self._lease or (wallet and wallet.tier is not WalletTier.HOT):
            return None
        words = "the watchtower has not confirmed this journal since the signer started"
        return Refusal(Code.LEASE_MISSING, words)

    def until(self, policy: Policy, at: Moment) -> int:
        """Return the tick at which the lease runs out, 0 when there is none to sign on."""
        lease = self._lease
        if lease is None or (lease.policy, lease.epoch) != (policy.digest, self._freezes.epoch()):
            return 0
        left = self._fresh_until - at.steady
        return at.tick + left if left > 0 else 0

    def unresolved(self, wallet: Wallet) -> int:
        """Return the base units signed from a hot wallet that the lease does not call resolved."""
        if wallet.tier is not WalletTier.HOT:
            return 0
        resolved = self._lease.resolved if self._lease else ()
        place = (wallet.name, wallet.asset)
        done = sum(item.amount for item in resolved if (item.wallet, item.asset) == place)
        return self._requests.committed(*place) - done

    def _refuse_other(self, policy: Policy, lease: Lease, at: Moment) -> Refusal | None:
        """It must be for this signer as it is; `challenge` tells one start from another."""
        own = {
            "audit_key": self._keys.audit_key,
            "journal": self._journal.name,
            "challenge": self._challenge,
            "policy": policy.digest,
            "epoch": self._freezes.epoch(),
        }
        for field, value in own.items():
            if getattr(lease, field) != value:
                words = f"it is for another {field.replace('_', ' ')} than this signer's"
                return Refusal(Code.LEASE_INVALID, words, field=field)
        if self._lease and lease.time < self._lease.time:
            words = "it is older than the lease that this signer has"
            return Refusal(Code.LEASE_INVALID, words, field="time")
        head = self._journal.head_at(lease.sequence)
        if lease.sequence > self._journal.sequence:
            words = f"the watchtower saw entry {lease.sequence} of this journal, which has "
            words += f"{self._journal.sequence}: it is an older copy"
            return Refusal(Code.LEASE_INVALID, words, field="sequence")
        if head is None or head.hex() != lease.head:
            words = f"the watchtower saw another entry {lease.sequence} than this journal has"
            return Refusal(Code.LEASE_INVALID, words, field="head")
        if abs(lease.time - at.wall) > DRIFT_MS:
            off = abs(lease.time - at.wall) // 1000
            words = f"its time is {off} s off this host's clock"
            return Refusal(Code.LEASE_INVALID, words, field="time")
        return None

    def _refuse_resolved(self, lease: Lease) -> Refusal | None:
        for item in lease.resolved:
            if item.amount > self._requests.committed(item.wallet, item.asset):
                words = f"it resolves {item.amount} of {item.wallet}, more than was signed"
                return Refusal(Code.LEASE_INVALID, words, field="resolved")
        return None

    def _refuse_unheard(self, lease: Lease) -> Refusal | None:
        for name in lease.rejections:
            if not self._rejections.has(name):
                words = f"the watchtower knows of the rejection {name}, which did not come here"
                return Refusal(Code.LEASE_INVALID, words, field="rejections")
        return None
