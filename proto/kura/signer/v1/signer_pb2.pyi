from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SignedStatement(_message.Message):
    __slots__ = ("statement", "signature")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    signature: bytes
    def __init__(self, statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("id", "jobs")
    ID_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    id: int
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, id: _Optional[int] = ..., jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "results", "fault")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    id: int
    results: _containers.RepeatedCompositeFieldContainer[Result]
    fault: str
    def __init__(self, id: _Optional[int] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., fault: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("transfer", "nonce_open", "apply", "status", "end", "nonce_advance", "alarm_sweep", "hello")
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    NONCE_OPEN_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    NONCE_ADVANCE_FIELD_NUMBER: _ClassVar[int]
    ALARM_SWEEP_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    transfer: Transfer
    nonce_open: NonceOpen
    apply: Apply
    status: Status
    end: End
    nonce_advance: NonceAdvance
    alarm_sweep: AlarmSweep
    hello: Hello
    def __init__(self, transfer: _Optional[_Union[Transfer, _Mapping]] = ..., nonce_open: _Optional[_Union[NonceOpen, _Mapping]] = ..., apply: _Optional[_Union[Apply, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ..., nonce_advance: _Optional[_Union[NonceAdvance, _Mapping]] = ..., alarm_sweep: _Optional[_Union[AlarmSweep, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ...) -> None: ...

class Transfer(_message.Message):
    __slots__ = ("intent", "approvals", "solana")
    INTENT_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    SOLANA_FIELD_NUMBER: _ClassVar[int]
    intent: SignedStatement
    approvals: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    solana: SolanaParameters
    def __init__(self, intent: _Optional[_Union[SignedStatement, _Mapping]] = ..., approvals: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ..., solana: _Optional[_Union[SolanaParameters, _Mapping]] = ...) -> None: ...

class SolanaParameters(_message.Message):
    __slots__ = ("nonce_index", "nonce_value", "budget")
    NONCE_INDEX_FIELD_NUMBER: _ClassVar[int]
    NONCE_VALUE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    nonce_index: int
    nonce_value: bytes
    budget: ComputeBudget
    def __init__(self, nonce_index: _Optional[int] = ..., nonce_value: _Optional[bytes] = ..., budget: _Optional[_Union[ComputeBudget, _Mapping]] = ...) -> None: ...

class ComputeBudget(_message.Message):
    __slots__ = ("unit_limit", "unit_price")
    UNIT_LIMIT_FIELD_NUMBER: _ClassVar[int]
    UNIT_PRICE_FIELD_NUMBER: _ClassVar[int]
    unit_limit: int
    unit_price: int
    def __init__(self, unit_limit: _Optional[int] = ..., unit_price: _Optional[int] = ...) -> None: ...

class NonceOpen(_message.Message):
    __slots__ = ("wallet", "index", "blockhash", "rent", "budget")
    WALLET_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    BLOCKHASH_FIELD_NUMBER: _ClassVar[int]
    RENT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    wallet: str
    index: int
    blockhash: bytes
    rent: int
    budget: ComputeBudget
    def __init__(self, wallet: _Optional[str] = ..., index: _Optional[int] = ..., blockhash: _Optional[bytes] = ..., rent: _Optional[int] = ..., budget: _Optional[_Union[ComputeBudget, _Mapping]] = ...) -> None: ...

class NonceAdvance(_message.Message):
    __slots__ = ("wallet", "index", "nonce_value", "budget")
    WALLET_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NONCE_VALUE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    wallet: str
    index: int
    nonce_value: bytes
    budget: ComputeBudget
    def __init__(self, wallet: _Optional[str] = ..., index: _Optional[int] = ..., nonce_value: _Optional[bytes] = ..., budget: _Optional[_Union[ComputeBudget, _Mapping]] = ...) -> None: ...

class AlarmSweep(_message.Message):
    __slots__ = ("theft",)
    THEFT_FIELD_NUMBER: _ClassVar[int]
    theft: SignedStatement
    def __init__(self, theft: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: bytes
    def __init__(self, question: _Optional[bytes] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ("intent", "dead")
    INTENT_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    intent: SignedStatement
    dead: SignedStatement
    def __init__(self, intent: _Optional[_Union[SignedStatement, _Mapping]] = ..., dead: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class Apply(_message.Message):
    __slots__ = ("book", "policy", "veto", "freeze", "unfreeze", "lease", "rejection")
    BOOK_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VETO_FIELD_NUMBER: _ClassVar[int]
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    UNFREEZE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    book: BookVersion
    policy: PolicyVersion
    veto: SignedStatement
    freeze: SignedStatement
    unfreeze: Unfreeze
    lease: SignedStatement
    rejection: SignedStatement
    def __init__(self, book: _Optional[_Union[BookVersion, _Mapping]] = ..., policy: _Optional[_Union[PolicyVersion, _Mapping]] = ..., veto: _Optional[_Union[SignedStatement, _Mapping]] = ..., freeze: _Optional[_Union[SignedStatement, _Mapping]] = ..., unfreeze: _Optional[_Union[Unfreeze, _Mapping]] = ..., lease: _Optional[_Union[SignedStatement, _Mapping]] = ..., rejection: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class Unfreeze(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, orders: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class PolicyVersion(_message.Message):
    __slots__ = ("file", "changes", "elapsed")
    FILE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    elapsed: SignedStatement
    def __init__(self, file: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ..., elapsed: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class BookVersion(_message.Message):
    __slots__ = ("statement", "changes")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, statement: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Result(_message.Message):
    __slots__ = ("signed", "refusal", "applied", "status", "swept", "ended", "hello", "receipt")
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SWEPT_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    signed: Signed
    refusal: Refusal
    applied: Applied
    status: SignerStatus
    swept: Swept
    ended: Ended
    hello: SignedStatement
    receipt: bytes
    def __init__(self, signed: _Optional[_Union[Signed, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., applied: _Optional[_Union[Applied, _Mapping]] = ..., status: _Optional[_Union[SignerStatus, _Mapping]] = ..., swept: _Optional[_Union[Swept, _Mapping]] = ..., ended: _Optional[_Union[Ended, _Mapping]] = ..., hello: _Optional[_Union[SignedStatement, _Mapping]] = ..., receipt: _Optional[bytes] = ...) -> None: ...

class Signed(_message.Message):
    __slots__ = ("transaction", "transaction_id", "repeated")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    transaction_id: str
    repeated: bool
    def __init__(self, transaction: _Optional[bytes] = ..., transaction_id: _Optional[str] = ..., repeated: _Optional[bool] = ...) -> None: ...

class Swept(_message.Message):
    __slots__ = ("transactions", "receipts")
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    transactions: _containers.RepeatedCompositeFieldContainer[Signed]
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, transactions: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., receipts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "rule", "field", "message", "earliest_time")
    CODE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    code: str
    rule: str
    field: str
    message: str
    earliest_time: int
    def __init__(self, code: _Optional[str] = ..., rule: _Optional[str] = ..., field: _Optional[str] = ..., message: _Optional[str] = ..., earliest_time: _Optional[int] = ...) -> None: ...

class Ended(_message.Message):
    __slots__ = ("intent",)
    INTENT_FIELD_NUMBER: _ClassVar[int]
    intent: str
    def __init__(self, intent: _Optional[str] = ...) -> None: ...

class Applied(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class SignerStatus(_message.Message):
    __slots__ = ("audit_key", "journal", "policy", "book_version", "book_digest", "keys", "locked", "locked_message", "sequence", "head", "proposals", "epoch", "freezes", "lease_until", "watchtower")
    AUDIT_KEY_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    BOOK_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOOK_DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    LOCKED_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FREEZES_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    WATCHTOWER_FIELD_NUMBER: _ClassVar[int]
    audit_key: str
    journal: str
    policy: bytes
    book_version: str
    book_digest: str
    keys: _containers.RepeatedCompositeFieldContainer[WalletKey]
    locked: str
    locked_message: str
    sequence: int
    head: str
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    epoch: str
    freezes: _containers.RepeatedCompositeFieldContainer[Freeze]
    lease_until: int
    watchtower: str
    def __init__(self, audit_key: _Optional[str] = ..., journal: _Optional[str] = ..., policy: _Optional[bytes] = ..., book_version: _Optional[str] = ..., book_digest: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[WalletKey, _Mapping]]] = ..., locked: _Optional[str] = ..., locked_message: _Optional[str] = ..., sequence: _Optional[int] = ..., head: _Optional[str] = ..., proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ..., epoch: _Optional[str] = ..., freezes: _Optional[_Iterable[_Union[Freeze, _Mapping]]] = ..., lease_until: _Optional[int] = ..., watchtower: _Optional[str] = ...) -> None: ...

class Freeze(_message.Message):
    __slots__ = ("digest", "wallet", "person")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    digest: str
    wallet: str
    person: str
    def __init__(self, digest: _Optional[str] = ..., wallet: _Optional[str] = ..., person: _Optional[str] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("digest", "earliest_time", "vetoed_by")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    VETOED_BY_FIELD_NUMBER: _ClassVar[int]
    digest: str
    earliest_time: int
    vetoed_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digest: _Optional[str] = ..., earliest_time: _Optional[int] = ..., vetoed_by: _Optional[_Iterable[str]] = ...) -> None: ...

class WalletKey(_message.Message):
    __slots__ = ("wallet", "key")
    WALLET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    wallet: str
    key: str
    def __init__(self, wallet: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...
