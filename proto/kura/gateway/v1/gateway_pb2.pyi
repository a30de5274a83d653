from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
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
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: int
    request: bytes
    def __init__(self, id: _Optional[int] = ..., request: _Optional[bytes] = ...) -> None: ...
