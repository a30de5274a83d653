from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectRequest(_message.Message):
    __slots__ = ("id", "reply", "unreachable")
    ID_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    id: int
    reply: bytes
    unreachable: str
    def __init__(self, id: _Optional[int] = ..., reply: _Optional[bytes] = ..., unreachable: _Optional[str] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("id", "request", "traceparents")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENTS_FIELD_NUMBER: _ClassVar[int]
    id: int
    request: bytes
    traceparents: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., request: _Optional[bytes] = ..., traceparents: _Optional[_Iterable[str]] = ...) -> None: ...
