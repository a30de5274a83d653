"""Custody's API in memory, behind gRPC's own channel interface: no socket, the real messages.

It answers as custody does, `lie` changes what it shows, and `outages` are what it answers first.
"""

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.cli import session
from custody.dev.pki import Authority
from custody.domain.audit import AuditEvent
from custody.domain.look_alikes import ends
from custody.errors import ReusedRefusal, abort
from custody.identity import Identity, Role
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from policies.freezes import epoch_after
from policies.statements import (
    Approval,
    Book,
    Cancel,
    Change,
    Freeze,
    Intent,
    Signed,
    Unfreeze,
    Veto,
    decode,
    digest,
)
from tests.factories import key, make_receipt, policy_file, public, travelling

Lie = Callable[[wire.Withdrawal], object]
_PENDING = wire.WITHDRAWAL_STATE_PENDING_APPROVAL


class CallError(grpc.RpcError):  # type: ignore[misc]
    """What a failed call raises."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Any = ()) -> None:
        super().__init__(details)
        self._said = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._said[0]

    def details(self) -> str:
        return self._said[1]

    def trailing_metadata(self) -> Any:
        return self._said[2]


class _Context:
    async def abort(self, code: grpc.StatusCode, details: str, metadata: Any) -> NoReturn:
        raise CallError(code, details, metadata)


def refuse(refusal: Refusal) -> NoReturn:
    """Fail the call as custody does."""
    asyncio.run(abort(_Context(), refusal))
    raise AssertionError


def shown(signed: Signed, *approvals: Signed, state: Any = _PENDING) -> wire.Withdrawal:
    """Return a withdrawal as an honest custody shows it."""
    intent = decode(Intent, signed.statement)
    withdrawal = wire.Withdrawal(
        name=f"withdrawals/{digest(signed.statement)}",
        requester=intent.requester,
        request_id=intent.request_id,
        wallet=f"wallets/{intent.wallet}",
        network=intent.network,
        asset=intent.asset,
        destination=wire.Destination(
            address=intent.destination.address, memo=intent.destination.memo
        ),
        amount=str(intent.amount),
        state=state,
        intent=wire.SignedStatement(statement=signed.statement, signature=signed.signature),
    )
    withdrawal.expire_time.FromMilliseconds(intent.expires)
    for item in approvals:
        withdrawal.approvals.add(statement=item.statement, signature=item.signature)
    return withdrawal


def ended(shown: wire.Withdrawal, state: Any = wire.WITHDRAWAL_STATE_CANCELLED) -> None:
    """Bring a withdrawal to an end, with the receipt of key("audit")."""
    intent = decode(Intent, shown.intent.statement)
    paid = state == wire.WITHDRAWAL_STATE_COMPLETED
    shown.state, shown.transaction_id = state, "1" * 64 if paid else ""
    receipt = make_receipt(
        intent, outcome="signed" if paid else "ended", transaction_id=shown.transaction_id
    )
    (shown.receipt,) = travelling(receipt)


class MemoryService:
    """What was asked of it, and what it answers first instead."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.outages: list[grpc.RpcError] = []

    def sent(self, method: str) -> list[Any]:
        """Return the requests of one method, in order."""
        return [request for name, request in self.calls if name == method]


class MemoryCustody(MemoryService):
    """The API's methods over dictionaries."""

    def __init__(self, policy: bytes | None = None) -> None:
        super().__init__()
        self.policy = policy or policy_file()
        self.withdrawals: dict[str, wire.Withdrawal] = {}
        self.lie: Lie = lambda _: None
        self.status = wire.GetStatusResponse()
        self.log = list[AuditEvent]()
        self.versions: dict[str, wire.PolicyVersion] = {}
        self.fates: list[dict[str, Any]] = []  # what the signer says of each version, one a look
        self.vetoes_taken = 1  # so many looks until the signer has a veto
        self.freezes: dict[str, wire.Freeze] = {}
        self.orders_taken = 1  # so many looks until the signer has a freeze, or what lifts some
        self.epoch = ""
        self.page = 2
        self.book_version, self.book_digest = 6, "ab" * 32
        self.entries: list[wire.BookEntry] = []

    def create_withdrawal(self, request: Any) -> wire.CreateWithdrawalResponse:
        signed = Signed(request.intent.statement, request.intent.signature)
        made = shown(signed)
        for past in self.withdrawals.values():
            same_id = (past.requester, past.request_id) == (made.requester, made.request_id)
            if same_id and past.name != made.name:
                refuse(ReusedRefusal(Code.REQUEST_ID_REUSED, "it was used", name=past.name))
        self.withdrawals.setdefault(made.name, made)
        return wire.CreateWithdrawalResponse(withdrawal=self._shown(made.name))

    def get_withdrawal(self, request: Any) -> wire.GetWithdrawalResponse:
        if request.name not in self.withdrawals:
            refuse(Refusal(Code.NOT_FOUND, f"there is no {request.name}", field="name"))
        return wire.GetWithdrawalResponse(withdrawal=self._shown(request.name))

    def list_withdrawals(self, request: Any) -> wire.ListWithdrawalsResponse:
        first = int(request.page_token or 0)
        names = list(self.withdrawals)[first : first + self.page]
        token = str(first + self.page) if len(names) == self.page else ""
        found = [self._shown(name) for name in names]
        return wire.ListWithdrawalsResponse(withdrawals=found, next_page_token=token)

    def list_pending_approvals(self, request: Any) -> wire.ListPendingApprovalsResponse:
        found = [self._shown(name) for name in self.withdrawals]
        return wire.ListPendingApprovalsResponse(withdrawals=found)

    def cancel_withdrawal(self, request: Any) -> wire.CancelWithdrawalResponse:
        decode(Cancel, request.cancel.statement)
        ended(self.withdrawals[request.name])
        return wire.CancelWithdrawalResponse(withdrawal=self._shown(request.name))

    def kill_withdrawal(self, request: Any) -> wire.KillWithdrawalResponse:
        killed = self.withdrawals[request.name]
        killed.state, killed.ending = wire.WITHDRAWAL_STATE_ENDING, wire.WITHDRAWAL_STATE_FAILED
        return wire.KillWithdrawalResponse(withdrawal=self._shown(request.name))

    def create_approval(self, request: Any) -> wire.CreateApprovalResponse:
        decode(Approval, request.approval.statement)
        if request.parent not in self.withdrawals:
            refuse(Refusal(Code.NOT_FOUND, f"there is no {request.parent}", field="name"))
        self.withdrawals[request.parent].approvals.append(request.approval)
        return wire.CreateApprovalResponse(withdrawal=self._shown(request.parent))

    def list_balances(self, request: Any) -> wire.ListBalancesResponse:
        balance = wire.Balance(
            wallet="wallets/hot-sol",
            asset="SOL",
            total="2500000000",
            in_use="500000000",
            available="2000000000",
        )
        return wire.ListBalancesResponse(balances=[balance])

    def get_policy(self, request: Any) -> wire.GetPolicyResponse:
        return wire.GetPolicyResponse(
            policy=self.policy,
            digest=digest(self.policy),
            book_version=str(self.book_version),
            book_digest=self.book_digest,
        )

    def create_policy_version(self, request: Any) -> wire.CreatePolicyVersionResponse:
        made = wire.PolicyVersion(
            name=f"policyVersions/{digest(request.policy)}",
            version="2",
            state=wire.POLICY_VERSION_STATE_PENDING,
            signed_by=[decode(Change, item.statement).person for item in request.changes],
            policy=request.policy,
        )
        self.versions[made.name] = made
        return wire.CreatePolicyVersionResponse(policy_version=made)

    def get_policy_version(self, request: Any) -> wire.GetPolicyVersionResponse:
        if request.name not in self.versions:
            refuse(Refusal(Code.NOT_FOUND, f"there is no {request.name}", field="name"))
        found = self.versions[request.name]
        if self.fates:
            fate = self.fates.pop(0)
            found.MergeFrom(wire.PolicyVersion(**fate))
        return wire.GetPolicyVersionResponse(policy_version=found)

    def list_policy_versions(self, request: Any) -> wire.ListPolicyVersionsResponse:
        return wire.ListPolicyVersionsResponse(policy_versions=self.versions.values())

    def create_veto(self, request: Any) -> wire.CreateVetoResponse:
        veto = decode(Veto, request.veto.statement)
        self.vetoes_taken -= 1
        name = f"{request.parent}/vetoes/{veto.person}"
        applied = self.vetoes_taken < 0
        return wire.CreateVetoResponse(veto=wire.Veto(name=name, applied=applied))

    def create_freeze(self, request: Any) -> wire.CreateFreezeResponse:
        freeze = decode(Freeze, request.freeze.statement)
        if freeze.epoch != self.epoch:
            refuse(Refusal(Code.EPOCH_PASSED, "freezes were lifted", field="freeze.epoch"))
        name = f"freezes/{digest(request.freeze.statement)}"
        wallet = freeze.wallet if freeze.wallet == "*" else f"wallets/{freeze.wallet}"
        made = self.freezes.setdefault(
            name, wire.Freeze(name=name, wallet=wallet, person=freeze.person)
        )
        self.orders_taken -= 1
        made.applied = self.orders_taken < 0
        return wire.CreateFreezeResponse(freeze=made)

    def lift_freezes(self, request: Any) -> wire.LiftFreezesResponse:
        order = decode(Unfreeze, request.orders[0].statement)
        after = epoch_after(order.epoch, order.freezes)
        self.orders_taken -= 1
        if self.orders_taken < 0:
            self.epoch = after
            for named in order.freezes:
                self.freezes.pop(f"freezes/{named}", None)
        return wire.LiftFreezesResponse(applied=self.orders_taken < 0, epoch=after)

    def list_freezes(self, request: Any) -> wire.ListFreezesResponse:
        return wire.ListFreezesResponse(freezes=self.freezes.values(), epoch=self.epoch)

    def create_book_version(self, request: Any) -> wire.CreateBookVersionResponse:
        book = decode(Book, request.book)
        if book.version > self.book_version:
            self.book_version, self.book_digest = book.version, digest(request.book)
        return wire.CreateBookVersionResponse(state="applied", digest=digest(request.book))

    def get_status(self, request: Any) -> wire.GetStatusResponse:
        return self.status

    def list_audit_events(self, request: Any) -> wire.ListAuditEventsResponse:
        first = int(request.page_token or request.after)
        events = self.log[first : first + self.page]
        return wire.ListAuditEventsResponse(
            events=[wire.AuditEvent(event=event.encode(), hash=event.hash) for event in events],
            next_page_token=str(first + self.page) if len(events) == self.page else "",
        )

    def list_book_entries(self, request: Any) -> wire.ListBookEntriesResponse:
        first, asked = int(request.page_token or 0), {*map(ends, request.look_alike_of)}
        found = [
            entry
            for entry in self.entries
            if not asked or (entry.network == request.network and ends(entry.address) in asked)
        ][first : first + self.page]
        return wire.ListBookEntriesResponse(
            entries=found,
            next_page_token=str(first + self.page) if len(found) == self.page else "",
            book_version=str(self.book_version),
            book_digest=self.book_digest,
        )

    def _shown(self, name: str) -> wire.Withdrawal:
        copy = wire.Withdrawal()
        copy.CopyFrom(self.withdrawals[name])
        self.lie(copy)
        return copy


class _Channel(grpc.Channel):  # type: ignore[misc]
    def __init__(self, service: MemoryService) -> None:
        self._service = service

    def unary_unary(self, method: str, *serializers: Any, **options: Any) -> Any:
        name = method.rsplit("/", 1)[1]
        encode, parse = options["request_serializer"], options["response_deserializer"]

        def call(request: Any, timeout: float) -> Any:
            assert timeout > 0
            received = type(request).FromString(encode(request))
            self._service.calls.append((name, received))
            if self._service.outages:
                raise self._service.outages.pop(0)
            return parse(getattr(self._service, _snake(name))(received).SerializeToString())

        return call

    def close(self) -> None:
        """Nothing is open."""

    def _absent(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("custody's API has only unary methods")

    def unary_stream(self, *_: Any, **__: Any) -> Any:
        """Calling it is what fails: the stub asks for every method at once."""
        return self._absent

    stream_unary = stream_stream = subscribe = unsubscribe = _absent


def _snake(name: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", "_", name).lower()


def serve(monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody) -> MemoryCustody:
    """Let every channel that is opened lead to `custody`, which nobody says that he waits for."""
    monkeypatch.setattr(session, "SILENCE_SECONDS", 60.0)
    monkeypatch.setattr(grpc, "secure_channel", lambda *_, **__: connected(custody))
    return custody


def connected(service: MemoryService) -> grpc.Channel:
    """Return a channel that leads to `service`."""
    return _Channel(service)


def tls_files(folder: Path) -> TlsFiles:
    """Return a certificate's files, under the names that `config_file` writes."""
    issued = Authority(folder).issue(Identity(Role.OFFICER, "somebody"))
    named = TlsFiles(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    shutil.copy(issued.certificate, named.certificate)
    shutil.copy(issued.key, named.key)
    return named


def key_file(folder: Path, name: str) -> Path:
    """Write the private key that tests know as `name`, as its owner keeps it."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(key(name)))
    file = folder / f"{name}.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def config_file(folder: Path, name: str, pinned: str = "", watchtower: str = "") -> Path:
    """Write the settings of a person or requester, their key beside them."""
    tls_files(folder)
    key_file(folder, name)
    lines = [
        'target = "custody.test:443"',
        'ca = "ca.pem"',
        'certificate = "certificate.pem"',
        'key = "key.pem"',
        f'signing_key = "{name}.pem"',
        f'name = "{name}"',
        f'audit_keys.hot-sol = ["{public("audit")}"]',
    ]
    if pinned:
        lines.append(f'policy_digest = "{pinned}"')
    if watchtower:
        lines.append(f'watchtower = "{watchtower}"')
    file = folder / f"{name}.toml"
    file.write_text("\n".join(lines) + "\n")
    return file
