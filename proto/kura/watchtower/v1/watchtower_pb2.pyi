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

class SubmitReceiptsRequest(_message.Message):
    __slots__ = ("receipts",)
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, receipts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubmitReceiptsResponse(_message.Message):
    __slots__ = ("acks",)
    ACKS_FIELD_NUMBER: _ClassVar[int]
    acks: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, acks: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class GetDeadTransactionsRequest(_message.Message):
    __slots__ = ("transaction_ids",)
    TRANSACTION_IDS_FIELD_NUMBER: _ClassVar[int]
    transaction_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, transaction_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetDeadTransactionsResponse(_message.Message):
    __slots__ = ("dead",)
    DEAD_FIELD_NUMBER: _ClassVar[int]
    dead: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, dead: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class CreateFreezeRequest(_message.Message):
    __slots__ = ("freeze",)
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    freeze: SignedStatement
    def __init__(self, freeze: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateFreezeResponse(_message.Message):
    __slots__ = ("applied",)
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    def __init__(self, applied: _Optional[bool] = ...) -> None: ...

class LiftFreezesRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, orders: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class LiftFreezesResponse(_message.Message):
    __slots__ = ("applied",)
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    def __init__(self, applied: _Optional[bool] = ...) -> None: ...

class CreatePolicyVersionRequest(_message.Message):
    __slots__ = ("file", "changes")
    FILE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, file: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class CreatePolicyVersionResponse(_message.Message):
    __slots__ = ("earliest_time", "elapsed")
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    earliest_time: int
    elapsed: SignedStatement
    def __init__(self, earliest_time: _Optional[int] = ..., elapsed: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateVetoRequest(_message.Message):
    __slots__ = ("veto",)
    VETO_FIELD_NUMBER: _ClassVar[int]
    veto: SignedStatement
    def __init__(self, veto: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateVetoResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateRejectionRequest(_message.Message):
    __slots__ = ("rejection",)
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    rejection: SignedStatement
    def __init__(self, rejection: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateRejectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateRecoveryRequest(_message.Message):
    __slots__ = ("recover", "changes")
    RECOVER_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    recover: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, recover: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class CreateRecoveryResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("state", "reason", "signers", "nodes", "wallets", "freezes", "alarms", "proposals")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    WALLETS_FIELD_NUMBER: _ClassVar[int]
    FREEZES_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    state: str
    reason: str
    signers: _containers.RepeatedCompositeFieldContainer[Signer]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    wallets: _containers.RepeatedCompositeFieldContainer[Wallet]
    freezes: _containers.RepeatedCompositeFieldContainer[Freeze]
    alarms: _containers.RepeatedCompositeFieldContainer[Alarm]
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    def __init__(self, state: _Optional[str] = ..., reason: _Optional[str] = ..., signers: _Optional[_Iterable[_Union[Signer, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., wallets: _Optional[_Iterable[_Union[Wallet, _Mapping]]] = ..., freezes: _Optional[_Iterable[_Union[Freeze, _Mapping]]] = ..., alarms: _Optional[_Iterable[_Union[Alarm, _Mapping]]] = ..., proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ...) -> None: ...

class Signer(_message.Message):
    __slots__ = ("audit_key", "journal", "sequence", "policy", "epoch", "lease_until", "problem")
    AUDIT_KEY_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    audit_key: str
    journal: str
    sequence: int
    policy: str
    epoch: str
    lease_until: int
    problem: str
    def __init__(self, audit_key: _Optional[str] = ..., journal: _Optional[str] = ..., sequence: _Optional[int] = ..., policy: _Optional[str] = ..., epoch: _Optional[str] = ..., lease_until: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("address", "slot", "problem")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    address: str
    slot: int
    problem: str
    def __init__(self, address: _Optional[str] = ..., slot: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class Wallet(_message.Message):
    __slots__ = ("name", "address", "balance", "signed", "resolved", "seen_until")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    SEEN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    balance: str
    signed: str
    resolved: str
    seen_until: int
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., balance: _Optional[str] = ..., signed: _Optional[str] = ..., resolved: _Optional[str] = ..., seen_until: _Optional[int] = ...) -> None: ...

class Freeze(_message.Message):
    __slots__ = ("digest", "wallet", "person", "applied", "audit_keys")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    AUDIT_KEYS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    wallet: str
    person: str
    applied: bool
    audit_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digest: _Optional[str] = ..., wallet: _Optional[str] = ..., person: _Optional[str] = ..., applied: _Optional[bool] = ..., audit_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("time", "kind", "wallet", "transaction_id", "amount", "message", "next")
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    time: int
    kind: str
    wallet: str
    transaction_id: str
    amount: str
    message: str
    next: str
    def __init__(self, time: _Optional[int] = ..., kind: _Optional[str] = ..., wallet: _Optional[str] = ..., transaction_id: _Optional[str] = ..., amount: _Optional[str] = ..., message: _Optional[str] = ..., next: _Optional[str] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("digest", "earliest_time", "vetoed_by")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    VETOED_BY_FIELD_NUMBER: _ClassVar[int]
    digest: str
    earliest_time: int
    vetoed_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digest: _Optional[str] = ..., earliest_time: _Optional[int] = ..., vetoed_by: _Optional[_Iterable[str]] = ...) -> None: ...
