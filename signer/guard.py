"""Every job's story: check, remember, sign, verify, record, answer. What is not allowed is refused.

The order of `transfer` is the checklist. It acts only on what signed bytes decode to, believes
nothing that custody says about them, and fsyncs the reservation before the token signs.
"""

from collections.abc import Callable, Iterable

from kura.signer.v1 import signer_pb2 as wire
from policies.approvals import open_approvals
from policies.changes import open_book
from policies.codes import Code, Refusal
from policies.evaluate import Facts, evaluate, open_intent
from policies.fields import key_text
from policies.policy import Policy, Wallet
from policies.policy_file import parse_policy
from policies.statements import Intent, Signed, digest, verify
from signer.chains import solana, solana_address
from signer.chains.solana_jobs import build_nonce_open, build_transfer, refuse_destination
from signer.hsm import Token
from signer.journal import Journal, NonceUsed, Reservation
from signer.pkcs11 import KeyRefusedError

AUDIT_LABEL = "audit"
NONCE_OPENS_MAX = 16
_BEFORE_JOURNAL = Refusal(
    Code.INTENT_BEFORE_JOURNAL,
    "it is older than this signer's journal, which cannot know if it was paid",
    field="created",
)
Outcome = wire.Signed | wire.Ended | wire.Applied | Refusal


class SignatureFault(Exception):  # noqa: N818 - named for what went wrong
    """The token returned a signature that does not verify: stop and examine the token."""


class Guard:
    """Answers jobs from its own token, journal and clock (`now`: Unix ms)."""

    def __init__(self, token: Token, journal: Journal, now: Callable[[], int]) -> None:
        self._token = token
        self._journal = journal
        self._now = now
        self._keys = token.keys()
        if AUDIT_LABEL not in self._keys:
            raise KeyRefusedError("the token holds no audit key: is it the one of signer init?")
        self._audit_key = key_text(self._keys[AUDIT_LABEL])
        file = journal.policy()
        self._policy = parse_policy(file) if file else None

    def answer(self, job: wire.Job) -> wire.Result:
        """Return the result of one job; raises only on faults of token or journal."""
        verb = job.WhichOneof("verb")
        if verb == "status":
            return wire.Result(status=self._status())
        if self._policy is None:
            return _result(Refusal(Code.POLICY_MISSING, "this signer has no policy yet"))
        match verb:
            case "transfer":
                return _result(self._transfer(self._policy, job.transfer))
            case "end":
                return _result(self._end(self._policy, job.end))
            case "nonce_open":
                return _result(self._nonce_open(self._policy, job.nonce_open))
            case "apply":
                return _result(self._apply(self._policy, job.apply))
            case _:
                words = "the job names no verb that this signer has"
                return _result(Refusal(Code.JOB_MALFORMED, words))

    def _transfer(self, policy: Policy, job: wire.Transfer) -> wire.Signed | Refusal:
        opened = self._open(policy, job.intent)
        if isinstance(opened, Refusal):
            return opened
        intent, intent_digest, wallet = opened
        past = self._journal.find(intent.requester, intent.request_id)
        if past and past.intent != intent_digest:
            words = f"{intent.requester} used request_id {intent.request_id} for another intent"
            return Refusal(Code.REQUEST_ID_REUSED, words, field="request_id")
        if past and past.signature:
            return _transaction(past.message, past.signature, repeated=True)
        if self._journal.has_ended(intent.requester, intent.request_id):
            words = f"request_id {intent.request_id} of {intent.requester} was ended for ever"
            return Refusal(Code.REQUEST_ENDED, words, field="request_id")
        refusal = self._refuse(policy, wallet, intent, intent_digest, job.approvals)
        if refusal:
            return refusal
        reserved = past or self._reserve(wallet, intent, intent_digest, job)
        if isinstance(reserved, Refusal):
            return reserved
        signature = self._sign(wallet, reserved.message)
        self._journal.record(intent_digest, signature)
        return _transaction(reserved.message, signature, repeated=False)

    def _open(
        self, policy: Policy, item: wire.SignedStatement
    ) -> tuple[Intent, str, Wallet] | Refusal:
        """Return the intent, its digest and its wallet: decoded, its requester's, and held here."""
        signed = _signed(item)
        intent = open_intent(policy, signed)
        if isinstance(intent, Refusal):
            return intent
        wallet = self._held(policy, intent.wallet)
        if isinstance(wallet, Refusal):
            return wallet
        return intent, digest(signed.statement), wallet

    def _refuse(
        self,
        policy: Policy,
        wallet: Wallet,
        intent: Intent,
        intent_digest: str,
        signed_approvals: Iterable[wire.SignedStatement],
    ) -> Refusal | None:
        if intent.created < self._journal.created:
            return _BEFORE_JOURNAL
        now = self._now()
        signed = [_signed(approval) for approval in signed_approvals]
        approvals = open_approvals(policy, intent_digest, signed, now)
        if isinstance(approvals, Refusal):
            return approvals
        listed = self._journal.in_address_book(intent.network, intent.destination)
        facts = Facts(now=now, in_address_book=listed, approvals=approvals)
        verdict = evaluate(policy, intent, facts)
        if isinstance(verdict, Refusal):
            return verdict
        return refuse_destination(wallet, intent)

    def _reserve(
        self, wallet: Wallet, intent: Intent, intent_digest: str, job: wire.Transfer
    ) -> Reservation | Refusal:
        built = build_transfer(wallet, intent, job)
        if isinstance(built, Refusal):
            return built
        reservation = Reservation(
            requester=intent.requester,
            request_id=intent.request_id,
            intent=intent_digest,
            wallet=wallet.name,
            nonce_index=built.nonce_index,
            nonce_value=built.nonce_value,
            message=built.message,
            signature=None,
            reserved=self._now(),
        )
        try:
            self._journal.reserve(reservation)
        except NonceUsed:
            words = f"this value of nonce {built.nonce_index} stands in another transaction"
            return Refusal(Code.NONCE_USED, words)
        return reservation

    def _end(self, policy: Policy, job: wire.End) -> wire.Ended | wire.Signed | Refusal:
        """Never sign this request from now on; what was signed before is answered with."""
        opened = self._open(policy, job.intent)
        if isinstance(opened, Refusal):
            return opened
        intent, intent_digest, _ = opened
        past = self._journal.find(intent.requester, intent.request_id)
        if past and past.signature and past.intent == intent_digest:
            return _transaction(past.message, past.signature, repeated=True)
        if intent.created < self._journal.created:
            return _BEFORE_JOURNAL
        # Where another intent has the id, this one can never be signed either.
        if past is None or past.intent == intent_digest:
            self._journal.end(intent.requester, intent.request_id, intent_digest, self._now())
        return wire.Ended(intent=intent_digest)

    def _nonce_open(self, policy: Policy, job: wire.NonceOpen) -> wire.Signed | Refusal:
        wallet = self._held(policy, job.wallet)
        if isinstance(wallet, Refusal):
            return wallet
        message = build_nonce_open(wallet, job)
        if isinstance(message, Refusal):
            return message
        now, most = self._now(), NONCE_OPENS_MAX
        if not self._journal.open_nonce(wallet.name, job.index, message, now=now, most=most):
            words = f"nonce {job.index} of {wallet.name} was tried {most} times in 24 hours"
            return Refusal(Code.NONCE_OPENS_EXCEEDED, words)
        return _transaction(message, self._sign(wallet, message), repeated=False)

    def _apply(self, policy: Policy, job: wire.Apply) -> wire.Applied | Refusal:
        if job.WhichOneof("subject") != "book":
            return Refusal(Code.JOB_MALFORMED, "the change is of no kind that this signer has")
        statement, changes = job.book.statement, [_signed(item) for item in job.book.changes]
        in_force = self._journal.book_version()
        if in_force[1] == digest(statement):
            return wire.Applied(digest=in_force[1])
        book = open_book(policy, statement, changes, in_force=in_force, now=self._now())
        if isinstance(book, Refusal):
            return book
        self._journal.apply_book(book, digest(statement))
        return wire.Applied(digest=digest(statement))

    def _status(self) -> wire.SignerStatus:
        version, book_digest = self._journal.book_version()
        return wire.SignerStatus(
            audit_key=self._audit_key,
            journal=self._journal.name,
            policy=self._journal.policy() or b"",
            book_version=str(version),
            book_digest=book_digest,
            keys=[
                wire.WalletKey(wallet=label, key=key_text(key))
                for label, key in self._keys.items()
                if label != AUDIT_LABEL
            ],
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


def _result(outcome: Outcome) -> wire.Result:
    match outcome:
        case Refusal(code, message, rule, field):
            refusal = wire.Refusal(code=code, rule=rule, field=field, message=message)
            return wire.Result(refusal=refusal)
        case wire.Signed():
            return wire.Result(signed=outcome)
        case wire.Ended():
            return wire.Result(ended=outcome)
        case wire.Applied():
            return wire.Result(applied=outcome)


def _transaction(message: bytes, signature: bytes, *, repeated: bool) -> wire.Signed:
    return wire.Signed(
        transaction=solana.transaction(message, signature),
        transaction_id=solana_address.transaction_id(signature),
        repeated=repeated,
    )


def _signed(item: wire.SignedStatement) -> Signed:
    return Signed(item.statement, item.signature)
