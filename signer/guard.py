"""Every frame's story: what each job is answered, and what the token remembers before that.

What was done is in the token's record before it is answered, receipts included.
"""

from collections.abc import Sequence

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.fields import key_text
from policies.policy import Policy
from signer import anchor
from signer.alarm import Alarm
from signer.clock import Clock, Look, Moment, look
from signer.freezes import Freezes
from signer.governance import Governance
from signer.hsm import Token
from signer.journal import Journal
from signer.keys import Keys
from signer.leases import Leases
from signer.receipts import Answer, results, signed_in
from signer.rejections import Rejections
from signer.requests import Requests
from signer.transfers import Transfers
from signer.upkeep import Upkeep
from signer.versions import Versions

# A theft must not wait until somebody sets a clock; nor what leads to a lease, which confirms it.
_TIMELESS = frozenset({"alarm_sweep", "hello"})


class Guard:
    """Answers jobs from its own token, journal and clock."""

    def __init__(self, token: Token, journal: Journal, look: Look = look) -> None:
        self._journal = journal
        self._keys = Keys(token)
        self._clock = Clock(journal.last_moment(), look)
        self._governance, self._freezes = Governance(journal), Freezes(journal)
        requests, self._rejections = Requests(journal), Rejections(journal)
        self._leases = Leases(journal, self._keys, requests, self._clock)
        self._versions = Versions(self._governance, self._keys.audit_key)
        self._transfers = Transfers(journal, self._keys, requests, self._leases)
        self._alarm = Alarm(journal, self._keys, requests)
        self._upkeep = Upkeep(journal, self._keys, requests, self._leases)
        self._lock = anchor.find_lock(journal, token.records())
        self._anchored = anchor.Anchored(token, journal)
        if self._lock is None:
            self._anchored.settle()

    def answer(self, jobs: Sequence[wire.Job]) -> list[wire.Result]:
        """Return the results of a frame's jobs; raises only on faults of token or journal."""
        status: Answer | None = None  # one for the whole frame: it can be large
        answers = []
        for job in jobs:
            if job.WhichOneof("verb") == "status":
                status = status or Answer(wire.Result(status=self._status()))
                answers.append(status)
            else:
                answers.append(self._answer(job, self._clock.now()))
        at = self._clock.now()
        if self._lock is None and self._anchored.settle():
            self._clock.kept(at)
        return results(answers, self._keys, self._journal, at)

    def _answer(self, job: wire.Job, at: Moment) -> Answer:
        policy = self._versions.policy
        verb = job.WhichOneof("verb")
        refusal = self._lock or self._refuse_time(job, at)
        if refusal:
            return Answer(refusal)
        if policy is None:
            return Answer(Refusal(Code.POLICY_MISSING, "this signer has no policy yet"))
        match verb:
            case "transfer":
                return self._transfers.transfer(policy, job.transfer, at)
            case "end":
                return self._transfers.end(policy, job.end, at)
            case "nonce_open":
                return self._upkeep.open(policy, job.nonce_open, at)
            case "nonce_advance":
                return self._upkeep.advance(policy, job.nonce_advance, at)
            case "alarm_sweep":
                return self._alarm.sweep(policy, job.alarm_sweep, self._clock.trusted(at))
            case "apply":
                return Answer(self._apply(policy, job.apply, at))
            case "hello":
                return Answer(self._leases.hello(policy, job.hello))
        return Answer(Refusal(Code.JOB_MALFORMED, "the job names no verb that this signer has"))

    def _refuse_time(self, job: wire.Job, at: Moment) -> Refusal | None:
        if job.WhichOneof("verb") in _TIMELESS:
            return None
        if job.apply.WhichOneof("subject") == "lease":
            return self._clock.refuse_lease(at)
        return self._clock.refuse(at)

    def _apply(self, policy: Policy, job: wire.Apply, at: Moment) -> wire.Applied | Refusal:
        match job.WhichOneof("subject"):
            case "book":
                return self._versions.book(policy, job.book, at)
            case "policy":
                return self._versions.policy_version(policy, job.policy, at)
            case "veto":
                return self._versions.veto(policy, signed_in(job.veto), at)
            case "rejection":
                return self._rejections.reject(policy, signed_in(job.rejection), at)
            case "freeze":
                return self._freezes.freeze(policy, signed_in(job.freeze), at)
            case "unfreeze":
                orders = [signed_in(order) for order in job.unfreeze.orders]
                return self._freezes.unfreeze(policy, orders, at)
            case "lease":
                return self._leases.apply(policy, signed_in(job.lease), at)
        return Refusal(Code.JOB_MALFORMED, "the change is of no kind that this signer has")

    def _status(self) -> wire.SignerStatus:
        at, policy = self._clock.now(), self._versions.policy
        version, book_digest = self._governance.book_version()
        locked = self._lock or self._clock.refuse(at)
        return wire.SignerStatus(
            audit_key=self._keys.audit_key,
            journal=self._journal.name,
            policy=self._governance.policy() or b"",
            book_version=str(version),
            book_digest=book_digest,
            keys=[
                wire.WalletKey(wallet=label, key=key_text(key))
                for label, key in self._keys.wallets.items()
            ],
            locked=locked.code if locked else "",
            locked_message=locked.message if locked else "",
            sequence=self._journal.sequence,
            head=self._journal.head.hex(),
            proposals=self._versions.proposals(at),
            epoch=self._freezes.epoch(),
            freezes=self._freezes.standing(),
            lease_until=self._leases.until(policy, at) if policy else 0,
            watchtower=self._governance.watchtower(policy) if policy else "",
        )
