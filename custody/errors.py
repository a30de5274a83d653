"""One table from refusal codes to gRPC statuses, and the rich error that carries a refusal.

google.rpc.ErrorInfo: domain "kura", reason = code, metadata rule, by, next, and for a request_id
that is taken the withdrawal's name; google.rpc.BadRequest names the field.
"""

from dataclasses import dataclass
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from policies.advice import NEXT
from policies.codes import Code, Refusal

DOMAIN = "kura"
DETAILS_KEY = "grpc-status-details-bin"

_STATUS: dict[Code, grpc.StatusCode] = {
    **dict.fromkeys(
        (
            Code.INTENT_MALFORMED,
            Code.WALLET_UNKNOWN,
            Code.NETWORK_MISMATCH,
            Code.ASSET_MISMATCH,
            Code.DESTINATION_INVALID,
            Code.AMOUNT_TOO_SMALL,
            Code.ARGUMENT_INVALID,
            Code.APPROVAL_INVALID,
            Code.BOOK_MALFORMED,
            Code.POLICY_MALFORMED,
            Code.VETO_INVALID,
            Code.FREEZE_INVALID,
            Code.UNFREEZE_INVALID,
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    **dict.fromkeys(
        (Code.SIGNATURE_INVALID, Code.REQUESTER_UNKNOWN, Code.ROLE_DENIED),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    **dict.fromkeys(
        (Code.SIGNER_UNSEEN, Code.NODE_UNREACHABLE, Code.DATABASE_UNREACHABLE),
        grpc.StatusCode.UNAVAILABLE,
    ),
    Code.REQUEST_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Code.RATE_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Code.FAULT: grpc.StatusCode.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class ReusedRefusal(Refusal):
    """The request_id is taken; `name` is the withdrawal that has it."""

    name: str = ""


def status_of(code: Code) -> grpc.StatusCode:
    """Return the status that a call refused with this code ends with."""
    return _STATUS.get(code, grpc.StatusCode.FAILED_PRECONDITION)


async def abort(context: grpc.aio.ServicerContext, refusal: Refusal) -> NoReturn:
    """End the call with the status, words and details of a refusal."""
    code = status_of(refusal.code)
    words = f"{refusal.code}: {refusal.message}; next: {NEXT[refusal.code]}"
    status = status_pb2.Status(code=code.value[0], message=words, details=_details(refusal))
    metadata = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code, words, metadata)
    raise AssertionError("abort returned")


def refusal_of(error: grpc.RpcError) -> Refusal | None:
    """Return the refusal that a call's error carries, None for any other error."""
    metadata = dict(error.trailing_metadata() or ())
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    try:
        for detail in status_pb2.Status.FromString(metadata.get(DETAILS_KEY, b"")).details:
            detail.Unpack(info) or detail.Unpack(bad)
    except DecodeError:  # whoever answered is not custody
        return None
    if info.domain != DOMAIN or info.reason not in set(Code):
        return None
    field = bad.field_violations[0].field if bad.field_violations else ""
    parts = (Code(info.reason), info.metadata["message"], info.metadata["rule"], field)
    name = info.metadata["name"]
    return ReusedRefusal(*parts, name=name) if name else Refusal(*parts)


def _details(refusal: Refusal) -> list[any_pb2.Any]:
    metadata = {
        "by": "custody",
        "message": refusal.message,
        "rule": refusal.rule,
        "next": NEXT[refusal.code],
    }
    if isinstance(refusal, ReusedRefusal):
        metadata["name"] = refusal.name
    info = error_details_pb2.ErrorInfo(reason=refusal.code, domain=DOMAIN, metadata=metadata)
    details = [_packed(info)]
    if refusal.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=refusal.field, description=refusal.message
        )
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    return details


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
