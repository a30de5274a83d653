"""Custody's API as Python calls: one method per RPC, asked again until it answers or time is over.

Invariant: an answer is a value, a refusal is CustodyRefused, anything else CustodyUnreachableError.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc

from custody.errors import refusal_of
from custody.retrying import retrying
from custody.tls import CHANNEL_OPTIONS, TlsFiles
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.advice import NEXT
from policies.codes import Refusal
from policies.statements import Signed

PAGE_SIZE, PAGES_MAX = 200, 10_000


class CustodyRefused(Exception):  # noqa: N818 - a no is an answer, not an error
    """Custody said no. Match on `refusal.code`; policies.advice says what to do."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}; next: {NEXT[refusal.code]}")
        self.refusal = refusal


class CustodyUnreachableError(Exception):
    """No usable answer: not running, another CA, too slow, no end. `status` is gRPC's."""

    def __init__(self, target: str, status: grpc.StatusCode, details: str | None) -> None:
        self.status = status
        super().__init__(f"custody at {target}: {status.name}: {details}")


class CustodyCalls:
    """A mutual-TLS connection to custody at `target` (host:port)."""

    def __init__(self, target: str, tls: TlsFiles, patience: timedelta) -> None:
        self._target, self._patience = target, patience
        credentials = tls.channel_credentials()
        self._channel = grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._stub: Any = custody_pb2_grpc.CustodyStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def submit(self, intent: Signed) -> wire.Withdrawal:
        """Hand over a signed intent, as often as it takes: the same bytes are one withdrawal."""
        request = wire.CreateWithdrawalRequest(intent=_statement(intent))
        response: wire.CreateWithdrawalResponse = self._call("CreateWithdrawal", request)
        return response.withdrawal

    def get_withdrawal(self, name: str) -> wire.Withdrawal:
        """Return `withdrawals/{digest}`."""
        request = wire.GetWithdrawalRequest(name=name)
        response: wire.GetWithdrawalResponse = self._call("GetWithdrawal", request)
        return response.withdrawal

    def list_withdrawals(self) -> Iterator[wire.Withdrawal]:
        """Yield withdrawals, newest first; a requester sees its own."""
        return self._pages("ListWithdrawals", wire.ListWithdrawalsRequest, "withdrawals")

    def send_cancel(self, name: str, cancel: Signed) -> wire.Withdrawal:
        """Hand over a signed cancel of `withdrawals/{digest}`."""
        request = wire.CancelWithdrawalRequest(name=name, cancel=_statement(cancel))
        response: wire.CancelWithdrawalResponse = self._call("CancelWithdrawal", request)
        return response.withdrawal

    def send_approval(self, name: str, approval: Signed) -> wire.Withdrawal:
        """Hand over an officer's signed decision on `withdrawals/{digest}`."""
        request = wire.CreateApprovalRequest(parent=name, approval=_statement(approval))
        response: wire.CreateApprovalResponse = self._call("CreateApproval", request)
        return response.withdrawal

    def list_pending_approvals(self) -> Iterator[wire.Withdrawal]:
        """Yield withdrawals that wait for officers, oldest first."""
        request = wire.ListPendingApprovalsRequest
        return self._pages("ListPendingApprovals", request, "withdrawals")

    def get_wallet(self, name: str) -> wire.Wallet:
        """Return `wallets/{wallet}`."""
        request = wire.GetWalletRequest(name=name)
        response: wire.GetWalletResponse = self._call("GetWallet", request)
        return response.wallet

    def list_wallets(self) -> Iterator[wire.Wallet]:
        """Yield the policy's wallets by name."""
        return self._pages("ListWallets", wire.ListWalletsRequest, "wallets")

    def list_balances(self) -> Iterator[wire.Balance]:
        """Yield custody's books by wallet."""
        return self._pages("ListBalances", wire.ListBalancesRequest, "balances")

    def get_policy(self) -> wire.GetPolicyResponse:
        """Return what custody says is in force; compare the digest with one you trust."""
        response: wire.GetPolicyResponse = self._call("GetPolicy", wire.GetPolicyRequest())
        return response

    def create_book_version(
        self, book: bytes, changes: Sequence[Signed]
    ) -> wire.CreateBookVersionResponse:
        """Hand over an address-book version; its state is "applied" once the signer has it."""
        signed = [_statement(change) for change in changes]
        request = wire.CreateBookVersionRequest(book=book, changes=signed)
        response: wire.CreateBookVersionResponse = self._call("CreateBookVersion", request)
        return response

    def get_status(self) -> wire.GetStatusResponse:
        """Return how custody is doing; its `next_actions` are for people."""
        response: wire.GetStatusResponse = self._call("GetStatus", wire.GetStatusRequest())
        return response

    def list_audit_events(self, after: int = 0) -> Iterator[wire.AuditEvent]:
        """Yield the audit log's events after position `after`, in order."""
        request = partial(wire.ListAuditEventsRequest, after=after)
        return self._pages("ListAuditEvents", request, "events")

    def _pages(self, method: str, request: Callable[..., Any], items: str) -> Iterator[Any]:
        token, seen = "", set[str]()
        while token not in seen and len(seen) < PAGES_MAX:
            seen.add(token)
            response = self._call(method, request(page_size=PAGE_SIZE, page_token=token))
            yield from getattr(response, items)
            token = response.next_page_token
            if not token:
                return
        words = f"{method} never ends: a page came again, or there are more than {PAGES_MAX}"
        raise CustodyUnreachableError(self._target, grpc.StatusCode.INTERNAL, words)

    def _call(self, method: str, request: Any) -> Any:
        call = getattr(self._stub, method)
        try:
            return retrying(
                lambda seconds: call(request, timeout=seconds), self._patience.total_seconds()
            )
        except grpc.RpcError as error:
            if refusal := refusal_of(error):
                raise CustodyRefused(refusal) from error
            raise CustodyUnreachableError(self._target, error.code(), error.details()) from error


def _statement(signed: Signed) -> wire.SignedStatement:
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)
