import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WithdrawalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WITHDRAWAL_STATE_UNSPECIFIED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_PENDING_APPROVAL: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_QUEUED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_SIGNING: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_SIGNED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_BROADCASTING: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_CONFIRMING: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_COMPLETED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_BLOCKED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_REJECTED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_CANCELLED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_EXPIRED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_FAILED: _ClassVar[WithdrawalState]
    WITHDRAWAL_STATE_ENDING: _ClassVar[WithdrawalState]

class PolicyVersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_VERSION_STATE_UNSPECIFIED: _ClassVar[PolicyVersionState]
    POLICY_VERSION_STATE_PENDING: _ClassVar[PolicyVersionState]
    POLICY_VERSION_STATE_DELAYED: _ClassVar[PolicyVersionState]
    POLICY_VERSION_STATE_APPLIED: _ClassVar[PolicyVersionState]
    POLICY_VERSION_STATE_REFUSED: _ClassVar[PolicyVersionState]
WITHDRAWAL_STATE_UNSPECIFIED: WithdrawalState
WITHDRAWAL_STATE_PENDING_APPROVAL: WithdrawalState
WITHDRAWAL_STATE_QUEUED: WithdrawalState
WITHDRAWAL_STATE_SIGNING: WithdrawalState
WITHDRAWAL_STATE_SIGNED: WithdrawalState
WITHDRAWAL_STATE_BROADCASTING: WithdrawalState
WITHDRAWAL_STATE_CONFIRMING: WithdrawalState
WITHDRAWAL_STATE_COMPLETED: WithdrawalState
WITHDRAWAL_STATE_BLOCKED: WithdrawalState
WITHDRAWAL_STATE_REJECTED: WithdrawalState
WITHDRAWAL_STATE_CANCELLED: WithdrawalState
WITHDRAWAL_STATE_EXPIRED: WithdrawalState
WITHDRAWAL_STATE_FAILED: WithdrawalState
WITHDRAWAL_STATE_ENDING: WithdrawalState
POLICY_VERSION_STATE_UNSPECIFIED: PolicyVersionState
POLICY_VERSION_STATE_PENDING: PolicyVersionState
POLICY_VERSION_STATE_DELAYED: PolicyVersionState
POLICY_VERSION_STATE_APPLIED: PolicyVersionState
POLICY_VERSION_STATE_REFUSED: PolicyVersionState

class SignedStatement(_message.Message):
    __slots__ = ("statement", "signature")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    signature: bytes
    def __init__(self, statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("address", "memo")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEMO_FIELD_NUMBER: _ClassVar[int]
    address: str
    memo: str
    def __init__(self, address: _Optional[str] = ..., memo: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("by", "code", "rule", "message", "next", "field")
    BY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    by: str
    code: str
    rule: str
    message: str
    next: str
    field: str
    def __init__(self, by: _Optional[str] = ..., code: _Optional[str] = ..., rule: _Optional[str] = ..., message: _Optional[str] = ..., next: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class Withdrawal(_message.Message):
    __slots__ = ("name", "requester", "request_id", "wallet", "network", "asset", "destination", "amount", "state", "waiting_for", "create_time", "update_time", "expire_time", "transaction_id", "fee", "intent", "approvals", "approvals_missing", "refusal", "earliest_time", "ending", "receipt")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    FEE_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_MISSING_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    name: str
    requester: str
    request_id: str
    wallet: str
    network: str
    asset: str
    destination: Destination
    amount: str
    state: WithdrawalState
    waiting_for: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    transaction_id: str
    fee: str
    intent: SignedStatement
    approvals: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    approvals_missing: _containers.RepeatedScalarFieldContainer[str]
    refusal: Refusal
    earliest_time: _timestamp_pb2.Timestamp
    ending: WithdrawalState
    receipt: bytes
    def __init__(self, name: _Optional[str] = ..., requester: _Optional[str] = ..., request_id: _Optional[str] = ..., wallet: _Optional[str] = ..., network: _Optional[str] = ..., asset: _Optional[str] = ..., destination: _Optional[_Union[Destination, _Mapping]] = ..., amount: _Optional[str] = ..., state: _Optional[_Union[WithdrawalState, str]] = ..., waiting_for: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., transaction_id: _Optional[str] = ..., fee: _Optional[str] = ..., intent: _Optional[_Union[SignedStatement, _Mapping]] = ..., approvals: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ..., approvals_missing: _Optional[_Iterable[str]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., earliest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ending: _Optional[_Union[WithdrawalState, str]] = ..., receipt: _Optional[bytes] = ...) -> None: ...

class CreateWithdrawalRequest(_message.Message):
    __slots__ = ("intent",)
    INTENT_FIELD_NUMBER: _ClassVar[int]
    intent: SignedStatement
    def __init__(self, intent: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateWithdrawalResponse(_message.Message):
    __slots__ = ("withdrawal",)
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ...) -> None: ...

class BatchCreateWithdrawalsRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[CreateWithdrawalRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[CreateWithdrawalRequest, _Mapping]]] = ...) -> None: ...

class BatchCreateWithdrawalsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateWithdrawalResult]
    def __init__(self, results: _Optional[_Iterable[_Union[CreateWithdrawalResult, _Mapping]]] = ...) -> None: ...

class CreateWithdrawalResult(_message.Message):
    __slots__ = ("withdrawal", "refusal")
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    refusal: Refusal
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class GetWithdrawalRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetWithdrawalResponse(_message.Message):
    __slots__ = ("withdrawal",)
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ...) -> None: ...

class ListWithdrawalsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states", "wallet", "waiting_for", "request_id", "requester")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[WithdrawalState]
    wallet: str
    waiting_for: str
    request_id: str
    requester: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[WithdrawalState, str]]] = ..., wallet: _Optional[str] = ..., waiting_for: _Optional[str] = ..., request_id: _Optional[str] = ..., requester: _Optional[str] = ...) -> None: ...

class ListWithdrawalsResponse(_message.Message):
    __slots__ = ("withdrawals", "next_page_token")
    WITHDRAWALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    withdrawals: _containers.RepeatedCompositeFieldContainer[Withdrawal]
    next_page_token: str
    def __init__(self, withdrawals: _Optional[_Iterable[_Union[Withdrawal, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchWithdrawalsRequest(_message.Message):
    __slots__ = ("cursor", "skip_past")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SKIP_PAST_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    skip_past: bool
    def __init__(self, cursor: _Optional[str] = ..., skip_past: _Optional[bool] = ...) -> None: ...

class WatchWithdrawalsResponse(_message.Message):
    __slots__ = ("cursor", "event", "state", "event_time", "withdrawal")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    event: str
    state: WithdrawalState
    event_time: _timestamp_pb2.Timestamp
    withdrawal: Withdrawal
    def __init__(self, cursor: _Optional[str] = ..., event: _Optional[str] = ..., state: _Optional[_Union[WithdrawalState, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ...) -> None: ...

class CancelWithdrawalRequest(_message.Message):
    __slots__ = ("name", "cancel")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    cancel: SignedStatement
    def __init__(self, name: _Optional[str] = ..., cancel: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CancelWithdrawalResponse(_message.Message):
    __slots__ = ("withdrawal",)
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ...) -> None: ...

class KillWithdrawalRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class KillWithdrawalResponse(_message.Message):
    __slots__ = ("withdrawal",)
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ...) -> None: ...

class CreateApprovalRequest(_message.Message):
    __slots__ = ("parent", "approval")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    parent: str
    approval: SignedStatement
    def __init__(self, parent: _Optional[str] = ..., approval: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateApprovalResponse(_message.Message):
    __slots__ = ("withdrawal",)
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    withdrawal: Withdrawal
    def __init__(self, withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ...) -> None: ...

class ListPendingApprovalsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPendingApprovalsResponse(_message.Message):
    __slots__ = ("withdrawals", "next_page_token")
    WITHDRAWALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    withdrawals: _containers.RepeatedCompositeFieldContainer[Withdrawal]
    next_page_token: str
    def __init__(self, withdrawals: _Optional[_Iterable[_Union[Withdrawal, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Wallet(_message.Message):
    __slots__ = ("name", "tier", "network", "asset", "address", "signer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    name: str
    tier: str
    network: str
    asset: str
    address: str
    signer: str
    def __init__(self, name: _Optional[str] = ..., tier: _Optional[str] = ..., network: _Optional[str] = ..., asset: _Optional[str] = ..., address: _Optional[str] = ..., signer: _Optional[str] = ...) -> None: ...

class GetWalletRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetWalletResponse(_message.Message):
    __slots__ = ("wallet",)
    WALLET_FIELD_NUMBER: _ClassVar[int]
    wallet: Wallet
    def __init__(self, wallet: _Optional[_Union[Wallet, _Mapping]] = ...) -> None: ...

class ListWalletsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListWalletsResponse(_message.Message):
    __slots__ = ("wallets", "next_page_token")
    WALLETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    wallets: _containers.RepeatedCompositeFieldContainer[Wallet]
    next_page_token: str
    def __init__(self, wallets: _Optional[_Iterable[_Union[Wallet, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("wallet", "asset", "total", "in_use", "available")
    WALLET_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    wallet: str
    asset: str
    total: str
    in_use: str
    available: str
    def __init__(self, wallet: _Optional[str] = ..., asset: _Optional[str] = ..., total: _Optional[str] = ..., in_use: _Optional[str] = ..., available: _Optional[str] = ...) -> None: ...

class ListBalancesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBalancesResponse(_message.Message):
    __slots__ = ("balances", "next_page_token")
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.RepeatedCompositeFieldContainer[Balance]
    next_page_token: str
    def __init__(self, balances: _Optional[_Iterable[_Union[Balance, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy", "digest", "book_version", "book_digest")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BOOK_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOOK_DIGEST_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    digest: str
    book_version: str
    book_digest: str
    def __init__(self, policy: _Optional[bytes] = ..., digest: _Optional[str] = ..., book_version: _Optional[str] = ..., book_digest: _Optional[str] = ...) -> None: ...

class PolicyVersion(_message.Message):
    __slots__ = ("name", "version", "state", "earliest_time", "signed_by", "vetoed_by", "refusal", "create_time", "policy", "changes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    VETOED_BY_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    state: PolicyVersionState
    earliest_time: _timestamp_pb2.Timestamp
    signed_by: _containers.RepeatedScalarFieldContainer[str]
    vetoed_by: _containers.RepeatedScalarFieldContainer[str]
    refusal: Refusal
    create_time: _timestamp_pb2.Timestamp
    policy: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[_Union[PolicyVersionState, str]] = ..., earliest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signed_by: _Optional[_Iterable[str]] = ..., vetoed_by: _Optional[_Iterable[str]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., policy: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class CreatePolicyVersionRequest(_message.Message):
    __slots__ = ("policy", "changes")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, policy: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class CreatePolicyVersionResponse(_message.Message):
    __slots__ = ("policy_version",)
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    policy_version: PolicyVersion
    def __init__(self, policy_version: _Optional[_Union[PolicyVersion, _Mapping]] = ...) -> None: ...

class GetPolicyVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPolicyVersionResponse(_message.Message):
    __slots__ = ("policy_version",)
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    policy_version: PolicyVersion
    def __init__(self, policy_version: _Optional[_Union[PolicyVersion, _Mapping]] = ...) -> None: ...

class ListPolicyVersionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPolicyVersionsResponse(_message.Message):
    __slots__ = ("policy_versions", "next_page_token")
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    policy_versions: _containers.RepeatedCompositeFieldContainer[PolicyVersion]
    next_page_token: str
    def __init__(self, policy_versions: _Optional[_Iterable[_Union[PolicyVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateVetoRequest(_message.Message):
    __slots__ = ("parent", "veto")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VETO_FIELD_NUMBER: _ClassVar[int]
    parent: str
    veto: SignedStatement
    def __init__(self, parent: _Optional[str] = ..., veto: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateVetoResponse(_message.Message):
    __slots__ = ("veto",)
    VETO_FIELD_NUMBER: _ClassVar[int]
    veto: Veto
    def __init__(self, veto: _Optional[_Union[Veto, _Mapping]] = ...) -> None: ...

class Veto(_message.Message):
    __slots__ = ("name", "applied")
    NAME_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    name: str
    applied: bool
    def __init__(self, name: _Optional[str] = ..., applied: _Optional[bool] = ...) -> None: ...

class CreateFreezeRequest(_message.Message):
    __slots__ = ("freeze",)
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    freeze: SignedStatement
    def __init__(self, freeze: _Optional[_Union[SignedStatement, _Mapping]] = ...) -> None: ...

class CreateFreezeResponse(_message.Message):
    __slots__ = ("freeze",)
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    freeze: Freeze
    def __init__(self, freeze: _Optional[_Union[Freeze, _Mapping]] = ...) -> None: ...

class Freeze(_message.Message):
    __slots__ = ("name", "wallet", "person", "create_time", "applied")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    name: str
    wallet: str
    person: str
    create_time: _timestamp_pb2.Timestamp
    applied: bool
    def __init__(self, name: _Optional[str] = ..., wallet: _Optional[str] = ..., person: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., applied: _Optional[bool] = ...) -> None: ...

class LiftFreezesRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, orders: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class LiftFreezesResponse(_message.Message):
    __slots__ = ("applied", "epoch")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    epoch: str
    def __init__(self, applied: _Optional[bool] = ..., epoch: _Optional[str] = ...) -> None: ...

class ListFreezesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFreezesResponse(_message.Message):
    __slots__ = ("freezes", "epoch")
    FREEZES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    freezes: _containers.RepeatedCompositeFieldContainer[Freeze]
    epoch: str
    def __init__(self, freezes: _Optional[_Iterable[_Union[Freeze, _Mapping]]] = ..., epoch: _Optional[str] = ...) -> None: ...

class CreateBookVersionRequest(_message.Message):
    __slots__ = ("book", "changes")
    BOOK_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    book: bytes
    changes: _containers.RepeatedCompositeFieldContainer[SignedStatement]
    def __init__(self, book: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[SignedStatement, _Mapping]]] = ...) -> None: ...

class CreateBookVersionResponse(_message.Message):
    __slots__ = ("state", "digest")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    state: str
    digest: str
    def __init__(self, state: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class ListBookEntriesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "network", "look_alike_of")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    LOOK_ALIKE_OF_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    network: str
    look_alike_of: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., network: _Optional[str] = ..., look_alike_of: _Optional[_Iterable[str]] = ...) -> None: ...

class BookEntry(_message.Message):
    __slots__ = ("network", "address", "memo", "label")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEMO_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    network: str
    address: str
    memo: str
    label: str
    def __init__(self, network: _Optional[str] = ..., address: _Optional[str] = ..., memo: _Optional[str] = ..., label: _Optional[str] = ...) -> None: ...

class ListBookEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "book_version", "book_digest")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    BOOK_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOOK_DIGEST_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[BookEntry]
    next_page_token: str
    book_version: str
    book_digest: str
    def __init__(self, entries: _Optional[_Iterable[_Union[BookEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., book_version: _Optional[str] = ..., book_digest: _Optional[str] = ...) -> None: ...

class ListAuditEventsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "after")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    after: int
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class AuditEvent(_message.Message):
    __slots__ = ("event", "hash")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    event: bytes
    hash: str
    def __init__(self, event: _Optional[bytes] = ..., hash: _Optional[str] = ...) -> None: ...

class ListAuditEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[AuditEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[AuditEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueueStatus(_message.Message):
    __slots__ = ("state", "waiting_for", "count", "oldest_create_time", "earliest_time", "next")
    STATE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    state: WithdrawalState
    waiting_for: str
    count: int
    oldest_create_time: _timestamp_pb2.Timestamp
    earliest_time: _timestamp_pb2.Timestamp
    next: str
    def __init__(self, state: _Optional[_Union[WithdrawalState, str]] = ..., waiting_for: _Optional[str] = ..., count: _Optional[int] = ..., oldest_create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., earliest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next: _Optional[str] = ...) -> None: ...

class SignerStatus(_message.Message):
    __slots__ = ("audit_key", "seen_time", "policy_version", "policy_digest", "book_version", "locked", "locked_message", "proposals", "lease_expire_time", "watchtower", "freezes")
    AUDIT_KEY_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BOOK_VERSION_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    LOCKED_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    WATCHTOWER_FIELD_NUMBER: _ClassVar[int]
    FREEZES_FIELD_NUMBER: _ClassVar[int]
    audit_key: str
    seen_time: _timestamp_pb2.Timestamp
    policy_version: str
    policy_digest: str
    book_version: str
    locked: str
    locked_message: str
    proposals: _containers.RepeatedCompositeFieldContainer[PolicyProposal]
    lease_expire_time: _timestamp_pb2.Timestamp
    watchtower: str
    freezes: _containers.RepeatedCompositeFieldContainer[Freeze]
    def __init__(self, audit_key: _Optional[str] = ..., seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., policy_version: _Optional[str] = ..., policy_digest: _Optional[str] = ..., book_version: _Optional[str] = ..., locked: _Optional[str] = ..., locked_message: _Optional[str] = ..., proposals: _Optional[_Iterable[_Union[PolicyProposal, _Mapping]]] = ..., lease_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., watchtower: _Optional[str] = ..., freezes: _Optional[_Iterable[_Union[Freeze, _Mapping]]] = ...) -> None: ...

class PolicyProposal(_message.Message):
    __slots__ = ("name", "earliest_time", "vetoed_by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_TIME_FIELD_NUMBER: _ClassVar[int]
    VETOED_BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    earliest_time: _timestamp_pb2.Timestamp
    vetoed_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., earliest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., vetoed_by: _Optional[_Iterable[str]] = ...) -> None: ...

class WalletStatus(_message.Message):
    __slots__ = ("balance", "nonces", "nonces_free")
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    NONCES_FIELD_NUMBER: _ClassVar[int]
    NONCES_FREE_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    nonces: int
    nonces_free: int
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ..., nonces: _Optional[int] = ..., nonces_free: _Optional[int] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("network", "block_time", "problem")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    network: str
    block_time: _timestamp_pb2.Timestamp
    problem: str
    def __init__(self, network: _Optional[str] = ..., block_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[str] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("queue", "signers", "wallets", "nodes", "next_actions", "now")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    WALLETS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    queue: _containers.RepeatedCompositeFieldContainer[QueueStatus]
    signers: _containers.RepeatedCompositeFieldContainer[SignerStatus]
    wallets: _containers.RepeatedCompositeFieldContainer[WalletStatus]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    next_actions: _containers.RepeatedScalarFieldContainer[str]
    now: _timestamp_pb2.Timestamp
    def __init__(self, queue: _Optional[_Iterable[_Union[QueueStatus, _Mapping]]] = ..., signers: _Optional[_Iterable[_Union[SignerStatus, _Mapping]]] = ..., wallets: _Optional[_Iterable[_Union[WalletStatus, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., next_actions: _Optional[_Iterable[str]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
