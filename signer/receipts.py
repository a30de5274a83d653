"""What is answered to a job, and what its receipt says.

Receipts are made for a whole frame, once the token remembers all that the frame did.
"""

from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from google.protobuf.message import Message

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Refusal
from policies.receipts import make_receipts
from policies.statements import Intent, Receipt, Signed
from signer.chains import solana, solana_address
from signer.clock import Moment
from signer.journal import Journal
from signer.keys import Keys

_WORDS_BYTES_MAX = 1000  # of a refusal: 250 results fit into a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the receipt of one job says, but the journal's state: see `Receipt`."""

    outcome: str = "signed"
    code: str = ""
    requester: str = ""
    request_id: str = ""
    wallet: str = ""
    intent: str = ""
    transaction_id: str = ""
    amount: int = 0
    nonce_account: str = ""
    nonce_value: str = ""


class Answer(NamedTuple):
    """The outcome of a job, and what receipts say of it: one, or one for each of a sweep's."""

    outcome: Message | Refusal
    notes: tuple[Note, ...] = ()


def signed_in(item: wire.SignedStatement) -> Signed:
    """Return a statement out of a job."""
    return Signed(item.statement, item.signature)


def note_of(intent: Intent, digest: str) -> Note:
    """Return what every receipt for a job of this intent says."""
    return Note(
        requester=intent.requester,
        request_id=intent.request_id,
        wallet=intent.wallet,
        intent=digest,
    )


def refused(note: Note, refusal: Refusal) -> Answer:
    """Return the answer, and a receipt for it, to a job that a known requester signed."""
    return Answer(refusal, (replace(note, outcome="refused", code=refusal.code),))


def of_transaction(note: Note, message: bytes, signature: bytes, cost: int) -> Note:
    """Add what was signed: cost in base units, and the nonce that it stands on, if it does."""
    nonce = solana.nonce_of(message) if message else None
    account, value = nonce or (b"", b"")
    return replace(
        note,
        transaction_id=solana_address.transaction_id(signature),
        amount=cost,
        nonce_account=solana_address.encode_address(account) if account else "",
        nonce_value=value.hex(),
    )


def transaction(message: bytes, signature: bytes, *, repeated: bool = False) -> wire.Signed:
    """Return a signed transaction; its name alone where the message is b""."""
    return wire.Signed(
        transaction=solana.transaction(message, signature) if message else b"",
        transaction_id=solana_address.transaction_id(signature),
        repeated=repeated,
    )


def results(answers: list[Answer], keys: Keys, journal: Journal, at: Moment) -> list[wire.Result]:
    """Return the results of one frame, its receipts under one signature of the audit key."""
    notes = [note for answer in answers for note in answer.notes]
    made = make_receipts(
        keys.audit_key,
        [_receipt(note, keys.audit_key, journal, at) for note in notes],
        keys.sign_statement,
    )
    receipts = iter(made)
    return [_result(outcome, [next(receipts) for _ in notes]) for outcome, notes in answers]


def _receipt(note: Note, key: str, journal: Journal, at: Moment) -> Receipt:
    return Receipt(
        key=key,
        **asdict(note),
        journal=journal.name,
        sequence=journal.sequence,
        head=journal.head.hex(),
        log_head="",
        time=at.wall,
    )


def _result(outcome: Message | Refusal, receipts: list[bytes]) -> wire.Result:
    match outcome:
        case Refusal(code, message, rule, field, earliest):
            words = message.encode()[:_WORDS_BYTES_MAX].decode(errors="ignore")
            refusal = wire.Refusal(
                code=code, rule=rule, field=field, message=words, earliest_time=earliest
            )
            result = wire.Result(refusal=refusal)
        case wire.Signed():
            result = wire.Result(signed=outcome)
        case wire.Ended():
            result = wire.Result(ended=outcome)
        case wire.Applied():
            result = wire.Result(applied=outcome)
        case wire.SignedStatement():
            result = wire.Result(hello=outcome)
        case wire.Result():
            return outcome
        case wire.Swept():
            outcome.receipts.extend(receipts)
            return wire.Result(swept=outcome)
        case _:
            raise TypeError(f"{type(outcome).__name__} is no outcome")
    if receipts:
        (result.receipt,) = receipts
    return result
