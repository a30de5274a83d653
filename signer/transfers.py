"""TRANSFER and END: one request, one transaction at most. What is not allowed is refused.

The order of `_transfer` is the checklist. It acts only on what signed bytes decode to, believes
nothing that custody says about them, and fsyncs the reservation before the token signs.
"""

from dataclasses import replace
from typing import NamedTuple

from kura.signer.v1 import signer_pb2 as wire
from policies.approvals import open_approvals
from policies.codes import Code, Refusal
from policies.evaluate import Allowed, Facts, check_time, counters, evaluate, open_intent
from policies.policy import Policy, Wallet
from policies.statements import Dead, Intent, Signed, StatementError, decode, digest, verify
from policies.windows import Usage
from signer.chains import solana_address
from signer.chains.solana_jobs import build_transfer, fee_of, refuse_payment
from signer.clock import Moment
from signer.counters import usage
from signer.freezes import Freezes
from signer.governance import Governance
from signer.journal import Journal
from signer.keys import Keys
from signer.leases import Leases
from signer.receipts import Answer, note_of, of_transaction, refused, signed_in, transaction
from signer.rejections import Rejections
from signer.requests import NonceUsed, Past, Requests, Reservation, Sight, State

_DROPPED = "dropped "  # tombstones of a key the policy dropped: its thief burns no id of the next


class _Asked(NamedTuple):
    """One job's intent, its digest, and what the journal holds of its request.

    `alone`: its end is of these bytes, since the policy dropped their key, not of the request.
    """

    intent: Intent
    digest: str
    past: Past | None
    alone: bool


class _Done(NamedTuple):
    """A transaction that may leave; `bare`: only its name may."""

    past: Past
    repeated: bool
    bare: bool = False


class Transfers:
    """Requests and what becomes of them."""

    def __init__(self, journal: Journal, keys: Keys, requests: Requests, leases: Leases) -> None:
        self._journal, self._keys = journal, keys
        self._requests, self._leases = requests, leases
        self._governance, self._freezes = Governance(journal), Freezes(journal)
        self._rejections = Rejections(journal)

    def transfer(self, policy: Policy, job: wire.Transfer, at: Moment) -> Answer:
        """Sign the transfer that this intent asks for, if policy and people allow it."""
        signed = signed_in(job.intent)
        intent = open_intent(policy, signed)
        if isinstance(intent, Refusal):
            return Answer(intent)
        asked = self._asked(policy, intent, signed)
        return _answer(asked, self._transfer(policy, asked, job, at))

    def end(self, policy: Policy, job: wire.End, at: Moment) -> Answer:
        """Never sign this request from now on; what was signed before is answered with."""
        signed = signed_in(job.intent)
        intent = self._open_to_end(policy, signed)
        if isinstance(intent, Refusal):
            return Answer(intent)
        asked = self._asked(policy, intent, signed)
        return _answer(asked, self._end(policy, asked, job, at))

    def _transfer(
        self, policy: Policy, asked: _Asked, job: wire.Transfer, at: Moment
    ) -> _Done | Refusal:
        intent, _, past, _ = asked
        wallet = self._keys.held(policy, intent.wallet)
        if isinstance(wallet, Refusal):
            return wallet
        refusal = _refuse_again(asked)
        if refusal:
            return refusal
        frozen = self._freezes.refuse(wallet.name)
        if past and past.state is State.SIGNED:
            return frozen or _Done(past, repeated=True)
        refusal = self._refuse_creation(intent, at) or check_time(intent, at.wall)
        if refusal:
            return refusal
        listed = self._governance.listed_at(intent.network, intent.destination)
        sight = self._requests.see(intent, asked.digest, listed, at)
        refusal = frozen or self._leases.refuse(policy, wallet, at)
        if refusal:
            return refusal
        facts = self._facts(policy, wallet, asked, job, sight, listed=listed is not None, at=at)
        allowed = facts if isinstance(facts, Refusal) else evaluate(policy, intent, facts)
        if isinstance(allowed, Refusal):
            return allowed
        refusal = refuse_payment(wallet, intent, allowed.cost)
        if refusal:
            return refusal
        reserved = past or self._reserve(wallet, asked, job, allowed, at)
        if isinstance(reserved, Refusal):
            return reserved
        signature = self._keys.sign(wallet, reserved.message)
        return _Done(self._requests.record(reserved, signature, at), repeated=False)

    def _facts(  # noqa: PLR0913 - what is known of one request
        self,
        policy: Policy,
        wallet: Wallet,
        asked: _Asked,
        job: wire.Transfer,
        sight: Sight,
        *,
        listed: bool,
        at: Moment,
    ) -> Facts | Refusal:
        """Return what people and counters say; a reserved request is not counted twice."""
        intent, intent_digest, past, _ = asked
        signed = [signed_in(approval) for approval in job.approvals]
        approvals = open_approvals(policy, intent_digest, signed, at.wall)
        if isinstance(approvals, Refusal):
            return approvals
        counted = counters(intent).values()
        return Facts(
            now=at.wall,
            tick=at.tick,
            usage=dict.fromkeys(counted, Usage())
            if past
            else usage(self._journal, (wallet.name, wallet.asset), counted),
            in_address_book=listed,
            approvals=(*approvals, *self._rejections.of(intent_digest, at)),
            fee=past.cost - intent.amount if past else fee_of(wallet, job),
            age=sight.age,
            destination_age=sight.destination_age,
            destination_sent=sight.destination_sent - (intent.amount if past else 0),
            unresolved=self._leases.unresolved(wallet) - (past.cost if past else 0),
        )

    def _reserve(
        self, wallet: Wallet, asked: _Asked, job: wire.Transfer, allowed: Allowed, at: Moment
    ) -> Past | Refusal:
        built = build_transfer(wallet, asked.intent, job)
        if isinstance(built, Refusal):
            return built
        reservation = Reservation(
            intent=asked.intent,
            digest=asked.digest,
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

    def _end(
        self, policy: Policy, asked: _Asked, job: wire.End, at: Moment
    ) -> _Done | wire.Ended | Refusal:
        intent, intent_digest, past, alone = asked
        own = past is None or past.intent == intent_digest
        if refusal := self._refuse_anothers(policy, intent.wallet):
            return refusal
        if past and own and past.state is State.SIGNED:
            if not job.HasField("dead"):
                return _Done(past, repeated=True, bare=bool(self._freezes.refuse(intent.wallet)))
            name = solana_address.transaction_id(past.signature)
            refusal = self._refuse_dead(policy, intent_digest, name, signed_in(job.dead))
        elif not past or not own or past.state is not State.ENDED:
            refusal = self._refuse_creation(intent, at)
            refusal = refusal or self._leases.refuse_unconfirmed(policy, intent.wallet)
            if refusal and job.HasField("dead"):
                # A lost journal signed one transaction for it at most, which never pays.
                refusal = self._refuse_dead(policy, intent_digest, "", signed_in(job.dead))
        if refusal:
            return refusal
        # Where another intent has the id, this one can never be signed either.
        if own:
            if alone:
                intent = replace(intent, request_id=_DROPPED + intent_digest)
            self._requests.end(intent, intent_digest, past, at)
        return wire.Ended(intent=intent_digest)

    def _refuse_anothers(self, policy: Policy, name: str) -> Refusal | None:
        last = self._governance.signers().get(name)
        if name not in policy.wallets and last in {None, self._keys.audit_key}:
            return None
        wallet = self._keys.held(policy, name)
        return wallet if isinstance(wallet, Refusal) else None

    def _refuse_dead(
        self, policy: Policy, intent_digest: str, name: str, signed: Signed
    ) -> Refusal | None:
        """Believe the watchtower alone that what was signed has not paid and never will.

        `name`: the transaction that it must be about, "" for whatever a lost journal signed.
        """
        dead = self._governance.open_word(Dead, policy, signed, Code.DEAD_INVALID)
        if isinstance(dead, Refusal):
            return dead
        if dead.intent != intent_digest or name not in {"", dead.transaction_id}:
            words = "it is about another transaction than this intent's"
            return Refusal(Code.DEAD_INVALID, words, field="transaction_id")
        return None

    def _asked(self, policy: Policy, intent: Intent, signed: Signed) -> _Asked:
        find, intent_digest = self._requests.find, digest(signed.statement)
        if past := find(intent.requester, intent.request_id):
            return _Asked(intent, intent_digest, past, alone=False)
        past = find(intent.requester, _DROPPED + intent_digest)
        dropped = intent.key not in policy.requesters.get(intent.requester, ())
        return _Asked(intent, intent_digest, past, alone=dropped or past is not None)

    def _open_to_end(self, policy: Policy, signed: Signed) -> Intent | Refusal:
        """Return the intent, also where the policy has dropped its requester or wallet."""
        try:
            intent = decode(Intent, signed.statement)
        except StatementError as error:
            return Refusal(Code.INTENT_MALFORMED, str(error), field=error.field)
        known = self._governance.was_requester(intent.requester, intent.key)
        if known and verify(intent.key, signed):
            return intent
        opened = open_intent(policy, signed)  # for its words
        if isinstance(opened, Refusal):
            return opened
        words = f"no policy named {intent.requester} with this key"
        return Refusal(Code.REQUESTER_UNKNOWN, words, field="key")

    def _refuse_creation(self, intent: Intent, at: Moment) -> Refusal | None:
        if intent.created >= self._journal.created:  # nor ahead, where a recovered one may begin
            return check_time(intent, min(at.wall, intent.expires - 1))  # it may have expired
        words = "it is older than this signer's journal, which cannot know if it was paid"
        return Refusal(Code.INTENT_BEFORE_JOURNAL, words, field="created")


def _answer(asked: _Asked, done: _Done | wire.Ended | Refusal) -> Answer:
    note = note_of(asked.intent, asked.digest)
    match done:
        case Refusal():
            return refused(note, done)
        case _Done(past, repeated, bare):
            made = of_transaction(note, past.message, past.signature, past.cost)
            message = b"" if bare else past.message
            return Answer(transaction(message, past.signature, repeated=repeated), (made,))
    held, code, name = asked.past, "", ""
    if held and held.intent != asked.digest and held.state is not State.ENDED:
        code = Code.REQUEST_ID_REUSED  # the request may be paid, though never by this intent
    elif asked.alone:
        code = Code.REQUESTER_UNKNOWN  # other bytes can still be paid under its request_id
    elif held and held.intent == asked.digest and held.signature:
        name = solana_address.transaction_id(held.signature)
    return Answer(done, (replace(note, outcome="ended", code=code, transaction_id=name),))


def _refuse_again(asked: _Asked) -> Refusal | None:
    """One request, one intent, and none once it was ended."""
    intent, intent_digest, past, _ = asked
    if past and past.state is not State.ENDED and past.intent != intent_digest:
        words = f"{intent.requester} used request_id {intent.request_id} for another intent"
        return Refusal(Code.REQUEST_ID_REUSED, words, field="request_id")
    if past and past.state is State.ENDED:
        words = f"request_id {intent.request_id} of {intent.requester} was ended for ever"
        return Refusal(Code.REQUEST_ENDED, words, field="request_id")
    return None
