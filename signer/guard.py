"""Every job's story: check, remember, sign, verify, record, answer. What is not allowed is refused.

The order of `transfer` is the checklist. It acts only on what signed bytes decode to, believes
nothing that custody says about them, and fsyncs the reservation before the token signs. What was
done is in the token's record before it is answered.
"""

from collections.abc import Sequence
from dataclasses import replace

from kura.signer.v1 import signer_pb2 as wire
from policies.approvals import open_approvals
from policies.codes import Code, Refusal
from policies.evaluate import (
    Allowed,
    Counted,
    Facts,
    check_windows,
    counters,
    evaluate,
    open_intent,
)
from policies.fields import key_text
from policies.policy import Policy, Wallet
from policies.statements import Intent, Signed, StatementError, decode, digest, verify
from policies.windows import Counter, Scope, Usage
from signer import anchor
from signer.chains import solana, solana_address
from signer.chains.solana_jobs import build_nonce_open, build_transfer, fee_of, refuse_destination
from signer.clock import Clock, Look, Moment, look
from signer.counters import charge, usage
from signer.governance import Governance
from signer.hsm import Token
from signer.journal import Journal
from signer.pkcs11 import KeyRefusedError
from signer.requests import NonceUsed, Past, Requests, Reservation, State
from signer.versions import Versions

AUDIT_LABEL = "audit"
_DROPPED = "dropped "  # tombstones of a key the policy dropped: its thief burns no id of the next
_UPKEEP = Counter(Scope.UPKEEP)
Outcome = wire.Signed | wire.Ended | wire.Applied | Refusal
Opened = tuple[Intent, str, Wallet]


class SignatureFault(Exception):  # noqa: N818 - named for what went wrong
    """The token returned a signature that does not verify: stop and examine the token."""


class Guard:
    """Answers jobs from its own token, journal and clock."""

    def __init__(self, token: Token, journal: Journal, look: Look = look) -> None:
        self._token = token
        self._journal = journal
        self._clock = Clock(journal.last_moment(), look)
        self._requests = Requests(journal)
        self._governance = Governance(journal)
        self._versions = Versions(self._governance)
        self._keys = token.keys()
        if AUDIT_LABEL not in self._keys:
            raise KeyRefusedError("the token holds no audit key: is it the one of signer init?")
        self._audit_key = key_text(self._keys[AUDIT_LABEL])
        self._lock = anchor.find_lock(journal, token.records())
        self._anchored = anchor.Anchored(token, journal)
        if self._lock is None:
            self._anchored.settle()

    def answer(self, jobs: Sequence[wire.Job]) -> list[wire.Result]:
        """Return the results of a frame's jobs; raises only on faults of token or journal."""
        at, results = self._clock.now(), []
        status: wire.Result | None = None  # one for the whole frame: it can be large
        for job in jobs:
            if job.WhichOneof("verb") == "status":
                status = status or wire.Result(status=self._status(at))
                results.append(status)
            else:
                results.append(self._answer(job, at))
        if self._lock is None and self._anchored.settle():
            self._clock.kept(at)
        return results

    def _answer(self, job: wire.Job, at: Moment) -> wire.Result:
        policy = self._versions.policy
        refusal = self._lock or self._clock.refuse(at)
        if refusal:
            return _result(refusal)
        if policy is None:
            return _result(Refusal(Code.POLICY_MISSING, "this signer has no policy yet"))
        outcome: Outcome
        match job.WhichOneof("verb"):
            case "transfer":
                outcome = self._transfer(policy, job.transfer, at)
            case "end":
                outcome = self._end(policy, job.end, at)
            case "nonce_open":
                outcome = self._nonce_open(policy, job.nonce_open, at)
            case "apply":
                outcome = self._versions.apply(policy, job.apply, at)
            case _:
                outcome = Refusal(Code.JOB_MALFORMED, "the job names no verb that this signer has")
        return _result(outcome)

    def _transfer(self, policy: Policy, job: wire.Transfer, at: Moment) -> wire.Signed | Refusal:
        opened = self._open(policy, job.intent)
        if isinstance(opened, Refusal):
            return opened
        intent, intent_digest, wallet = opened
        past = self._past(intent, intent_digest)
        refusal = _refuse_again(intent, intent_digest, past)
        if refusal:
            return refusal
        if past and past.state is State.SIGNED:
            return _transaction(past.message, past.signature, repeated=True)
        if intent.created < self._journal.created:
            return _before_journal()
        allowed = self._allow(policy, opened, job, past, at)
        if isinstance(allowed, Refusal):
            return allowed
        reserved = past or self._reserve(opened, job, allowed, at)
        if isinstance(reserved, Refusal):
            return reserved
        signature = self._sign(wallet, reserved.message)
        self._requests.record(reserved, signature, at)
        return _transaction(reserved.message, signature, repeated=False)

    def _open(self, policy: Policy, item: wire.SignedStatement) -> Opened | Refusal:
        """Return the intent, its digest and its wallet: decoded, its requester's, and held here."""
        signed = _signed(item)
        intent = open_intent(policy, signed)
        if isinstance(intent, Refusal):
            return intent
        wallet = self._held(policy, intent.wallet)
        if isinstance(wallet, Refusal):
            return wallet
        return intent, digest(signed.statement), wallet

    def _allow(
        self, policy: Policy, opened: Opened, job: wire.Transfer, past: Past | None, at: Moment
    ) -> Allowed | Refusal:
        """Return what policy, people and counters say; a reserved request is not counted twice."""
        intent, intent_digest, wallet = opened
        listed = self._governance.listed_at(intent.network, intent.destination)
        sight = self._requests.see(intent, intent_digest, listed, at)
        signed = [_signed(approval) for approval in job.approvals]
        approvals = open_approvals(policy, intent_digest, signed, at.wall)
        if isinstance(approvals, Refusal):
            return approvals
        counted = counters(intent).values()
        facts = Facts(
            now=at.wall,
            tick=at.tick,
            usage=dict.fromkeys(counted, Usage())
            if past
            else usage(self._journal, (wallet.name, wallet.asset), counted),
            in_address_book=listed is not None,
            approvals=approvals,
            fee=fee_of(wallet, job),
            age=sight.age,
            destination_age=sight.destination_age,
            destination_sent=sight.destination_sent - (intent.amount if past else 0),
            unresolved=0,  # until leases say what is final
        )
        verdict = evaluate(policy, intent, facts)
        if isinstance(verdict, Refusal):
            return verdict
        return refuse_destination(wallet, intent) or verdict

    def _reserve(
        self, opened: Opened, job: wire.Transfer, allowed: Allowed, at: Moment
    ) -> Past | Refusal:
        intent, intent_digest, wallet = opened
        built = build_transfer(wallet, intent, job)
        if isinstance(built, Refusal):
            return built
        reservation = Reservation(
            intent=intent,
            digest=intent_digest,
            message=built.message,
            nonce_index=built.nonce_index,
            nonce_value=built.nonce_value,
            counters=allowed.counters,
            cost=allowed.cost,
        )
        try:
            return self._requests.reserve(reservation, at)
        except NonceUsed:
            words = f"this value of nonce {built.nonce_index} stands in another transaction"
            return Refusal(Code.NONCE_USED, words)

    def _end(self, policy: Policy, job: wire.End, at: Moment) -> wire.Ended | wire.Signed | Refusal:
        """Never sign this request from now on; what was signed before is answered with."""
        opened = self._open_to_end(policy, job.intent)
        if isinstance(opened, Refusal):
            return opened
        intent, intent_digest = opened
        past = self._past(intent, intent_digest)
        if past and past.state is State.SIGNED and past.intent == intent_digest:
            return _transaction(past.message, past.signature, repeated=True)
        if intent.created < self._journal.created:
            return _before_journal()
        # Where another intent has the id, this one can never be signed either.
        if past is None or past.intent == intent_digest:
            if intent.key not in policy.requesters.get(intent.requester, ()):
                intent = replace(intent, request_id=_DROPPED + intent_digest)
            self._requests.end(intent, intent_digest, past, at)
        return wire.Ended(intent=intent_digest)

    def _past(self, intent: Intent, intent_digest: str) -> Past | None:
        find, requester = self._requests.find, intent.requester
        return find(requester, intent.request_id) or find(requester, _DROPPED + intent_digest)

    def _open_to_end(
        self, policy: Policy, item: wire.SignedStatement
    ) -> tuple[Intent, str] | Refusal:
        """Return intent and digest, also where the policy has dropped its requester or wallet."""
        signed = _signed(item)
        try:
            intent = decode(Intent, signed.statement)
        except StatementError as error:
            return Refusal(Code.INTENT_MALFORMED, str(error), field=error.field)
        known = self._governance.was_requester(intent.requester, intent.key)
        if not known or not verify(intent.key, signed):
            opened = open_intent(policy, signed)  # for its words
            return opened if isinstance(opened, Refusal) else _unknown(intent)
        if intent.wallet in policy.wallets:
            wallet = self._held(policy, intent.wallet)
            if isinstance(wallet, Refusal):
                return wallet
        return intent, digest(signed.statement)

    def _nonce_open(self, policy: Policy, job: wire.NonceOpen, at: Moment) -> wire.Signed | Refusal:
        wallet = self._held(policy, job.wallet)
        if isinstance(wallet, Refusal):
            return wallet
        if not wallet.enabled:
            return Refusal(Code.WALLET_DISABLED, f"the policy has disabled {wallet.name}")
        built = build_nonce_open(wallet, job)
        if isinstance(built, Refusal):
            return built
        message, cost = built
        place = (wallet.name, wallet.asset)
        known = usage(self._journal, place, [_UPKEEP])
        counted = Counted(now=at.wall, tick=at.tick, usage=known)
        refusal = check_windows(policy, wallet, [_UPKEEP], cost, counted)
        if refusal:
            return refusal
        with self._journal.entry(at, "open", wallet.name, job.index, message):
            charge(self._journal, place, [_UPKEEP], cost, at.tick)
        return _transaction(message, self._sign(wallet, message), repeated=False)

    def _status(self, at: Moment) -> wire.SignerStatus:
        version, book_digest = self._governance.book_version()
        locked = self._lock or self._clock.refuse(at)
        return wire.SignerStatus(
            audit_key=self._audit_key,
            journal=self._journal.name,
            policy=self._governance.policy() or b"",
            book_version=str(version),
            book_digest=book_digest,
            keys=[
                wire.WalletKey(wallet=label, key=key_text(key))
                for label, key in self._keys.items()
                if label != AUDIT_LABEL
            ],
            locked=locked.code if locked else "",
            locked_message=locked.message if locked else "",
            sequence=self._journal.sequence,
            head=self._journal.head.hex(),
            proposals=self._versions.proposals(at),
        )

    def _held(self, policy: Policy, name: str) -> Wallet | Refusal:
        wallet = policy.wallets.get(name)
        if wallet is None:
            return Refusal(Code.WALLET_UNKNOWN, f"no wallet is called {name}", field="wallet")
        key = self._keys.get(name)
        if wallet.signer != self._audit_key or key is None or name == AUDIT_LABEL:
            words = f"the policy names another signer for {name}"
            return Refusal(Code.WALLET_NOT_HELD, words, rule=f"wallets.{name}.signer")
        if solana_address.encode_address(key) != wallet.address:
            words = f"the key called {name} in this token has another address than the policy says"
            return Refusal(Code.WALLET_NOT_HELD, words, rule=f"wallets.{name}.address")
        return wallet

    def _sign(self, wallet: Wallet, message: bytes) -> bytes:
        signature = self._token.sign(wallet.name, message)
        if not verify(key_text(self._keys[wallet.name]), Signed(message, signature)):
            raise SignatureFault(f"the token's signature for {wallet.name} does not verify")
        return signature


def _refuse_again(intent: Intent, intent_digest: str, past: Past | None) -> Refusal | None:
    """One request, one intent, and none once it was ended."""
    if past and past.state is not State.ENDED and past.intent != intent_digest:
        words = f"{intent.requester} used request_id {intent.request_id} for another intent"
        return Refusal(Code.REQUEST_ID_REUSED, words, field="request_id")
    if past and past.state is State.ENDED:
        words = f"request_id {intent.request_id} of {intent.requester} was ended for ever"
        return Refusal(Code.REQUEST_ENDED, words, field="request_id")
    return None


def _before_journal() -> Refusal:
    words = "it is older than this signer's journal, which cannot know if it was paid"
    return Refusal(Code.INTENT_BEFORE_JOURNAL, words, field="created")


def _unknown(intent: Intent) -> Refusal:
    words = f"no policy named {intent.requester} with this key"
    return Refusal(Code.REQUESTER_UNKNOWN, words, field="key")


def _result(outcome: Outcome) -> wire.Result:
    match outcome:
        case Refusal(code, message, rule, field, earliest):
            refusal = wire.Refusal(
                code=code, rule=rule, field=field, message=message, earliest_time=earliest
            )
            return wire.Result(refusal=refusal)
        case wire.Signed():
            return wire.Result(signed=outcome)
        case wire.Ended():
            return wire.Result(ended=outcome)
        case wire.Applied():
            return wire.Result(applied=outcome)


def _transaction(message: bytes, signature: bytes, *, repeated: bool) -> wire.Signed:
    return wire.Signed(
        transaction=solana.transaction(message, signature) if message else b"",
        transaction_id=solana_address.transaction_id(signature),
        repeated=repeated,
    )


def _signed(item: wire.SignedStatement) -> Signed:
    return Signed(item.statement, item.signature)
