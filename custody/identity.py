"""Who is calling: the one SPIFFE URI of a mutual-TLS certificate, and what its role may call.

`spiffe://<trust domain>/<role>/<name>`. A method that is not in the table is open to nobody.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc

from custody.errors import abort
from policies.codes import Code, Refusal

TRUST_DOMAIN = "kura"
_URI = re.compile(rf"spiffe://{TRUST_DOMAIN}/([a-z]+)/([a-z0-9-]{{1,32}})", re.ASCII)


class Role(StrEnum):
    """What a certificate's holder is."""

    REQUESTER = "requester"
    OFFICER = "officer"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    RELAY = "relay"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, as the development or production CA certified it."""

    role: Role
    name: str

    @property
    def uri(self) -> str:
        """The SPIFFE URI of this identity."""
        return f"spiffe://{TRUST_DOMAIN}/{self.role}/{self.name}"


_READERS = frozenset({Role.REQUESTER, Role.OFFICER, Role.AUDITOR, Role.OPERATOR})
_ANYBODY = frozenset(Role)
_CUSTODY = "/kura.custody.v1.Custody/"
_WATCHTOWER = "/kura.watchtower.v1.Watchtower/"

ROLES: dict[str, frozenset[Role]] = {
    _CUSTODY + "CreateWithdrawal": frozenset({Role.REQUESTER}),
    _CUSTODY + "BatchCreateWithdrawals": frozenset({Role.REQUESTER}),
    _CUSTODY + "GetWithdrawal": _READERS,
    _CUSTODY + "ListWithdrawals": _READERS,
    _CUSTODY + "WatchWithdrawals": _READERS,
    _CUSTODY + "CancelWithdrawal": frozenset({Role.REQUESTER}),
    _CUSTODY + "KillWithdrawal": frozenset({Role.OFFICER, Role.OPERATOR}),
    _CUSTODY + "CreateApproval": frozenset({Role.OFFICER}),
    _CUSTODY + "ListPendingApprovals": frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
    _CUSTODY + "GetWallet": _READERS,
    _CUSTODY + "ListWallets": _READERS,
    _CUSTODY + "ListBalances": _READERS,
    _CUSTODY + "GetPolicy": _READERS,
    _CUSTODY + "CreatePolicyVersion": frozenset({Role.OFFICER}),
    _CUSTODY + "GetPolicyVersion": frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
    _CUSTODY + "ListPolicyVersions": frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
    _CUSTODY + "CreateVeto": frozenset({Role.OFFICER}),
    _CUSTODY + "CreateFreeze": frozenset({Role.OFFICER}),
    _CUSTODY + "LiftFreezes": frozenset({Role.OFFICER}),
    _CUSTODY + "ListFreezes": frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
    _CUSTODY + "CreateBookVersion": frozenset({Role.OFFICER, Role.OPERATOR}),
    _CUSTODY + "ListBookEntries": frozenset({Role.OFFICER, Role.AUDITOR}),
    _CUSTODY + "ListAuditEvents": frozenset({Role.AUDITOR, Role.OPERATOR}),
    _CUSTODY + "GetStatus": frozenset({Role.OPERATOR, Role.AUDITOR, Role.OFFICER}),
    _WATCHTOWER + "SubmitReceipts": frozenset({Role.SERVER}),
    _WATCHTOWER + "GetDeadTransactions": frozenset({Role.SERVER}),
    _WATCHTOWER + "CreateFreeze": frozenset({Role.OFFICER}),
    _WATCHTOWER + "LiftFreezes": frozenset({Role.OFFICER}),
    _WATCHTOWER + "CreatePolicyVersion": frozenset({Role.OFFICER, Role.SERVER}),
    _WATCHTOWER + "CreateVeto": frozenset({Role.OFFICER, Role.SERVER}),
    _WATCHTOWER + "CreateRejection": frozenset({Role.OFFICER}),
    _WATCHTOWER + "CreateRecovery": frozenset({Role.OFFICER}),
    _WATCHTOWER + "GetStatus": frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR, Role.SERVER}),
    "/kura.gateway.v1.SignerGateway/Connect": frozenset({Role.RELAY}),
    "/grpc.health.v1.Health/Check": _ANYBODY,
    "/grpc.health.v1.Health/Watch": _ANYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANYBODY,
}


def caller(context: grpc.aio.ServicerContext) -> Identity | None:
    """Return who calls, or None when the certificate names no single known identity."""
    uris = context.auth_context().get("peer_spiffe_id", [])
    match = _URI.fullmatch(uris[0].decode()) if len(uris) == 1 else None
    if match is None or match[1] not in set(Role):
        return None
    return Identity(Role(match[1]), match[2])


Denied = Callable[[Identity | None, str, Code, str], Awaitable[None]]


class RoleInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses a call before its handler runs, unless the caller's role is listed for it.

    `denied` hears of it: who (None for a certificate without an identity), the method, code, rule.
    """

    def __init__(self, denied: Denied) -> None:
        self._denied = denied

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the method's handler behind the check of its roles."""
        handler = await continuation(details)
        if handler is None:
            return None
        allowed = ROLES.get(details.method, frozenset())
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behaviour = getattr(handler, kind)
            if behaviour:
                method = details.method.rpartition("/")[2]
                return handler._replace(**{kind: self._guarded(behaviour, method, allowed, kind)})
        return None

    def _guarded(self, behaviour: Any, method: str, allowed: frozenset[Role], kind: str) -> Any:
        async def check(context: grpc.aio.ServicerContext) -> None:
            identity = caller(context)
            if identity is None or identity.role not in allowed:
                who = identity.uri if identity else "a certificate without a known identity"
                roles = ", ".join(sorted(allowed)) or "nobody"
                words = f"{who} may not call {method}: it is for {roles}"
                await self._denied(identity, method, Code.ROLE_DENIED, "")
                await abort(context, Refusal(Code.ROLE_DENIED, words))

        async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
            await check(context)
            return await behaviour(request, context)

        async def stream(request: Any, context: grpc.aio.ServicerContext) -> Any:
            await check(context)
            async for response in behaviour(request, context):
                yield response

        return stream if kind.endswith("_stream") else unary
