"""Custody's API as Python calls: one method per RPC, asked again until it answers or time is over.

Invariant: an answer is a value, a refusal is CustodyRefused, anything else CustodyUnreachableError.
"""

import time
from collections.abc import Collection, Generator, Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from custody import answers, asks
from custody.answers import CustodyRefused, CustodyUnreachableError
from custody.asks import PAGES_MAX, Ask, Pages, Result
from custody.domain.states import State
from custody.retrying import Patience, retrying
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.statements import Signed

__all__ = ["CustodyCalls", "CustodyRefused", "CustodyUnreachableError"]
T = TypeVar("T")


class CustodyCalls:
    """A mutual-TLS connection to custody at `target` (host:port)."""

    def __init__(self, target: str, tls: TlsFiles, patience: timedelta) -> None:
        self._target, self._patience = target, patience
        credentials = tls.channel_credentials()
        self._channel = grpc.secure_channel(target, credentials, options=answers.OPTIONS)
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
        return self._call(asks.submit(intent))

    def submit_batch(self, intents: Sequence[Signed]) -> list[Result]:
        """Hand over up to 1,000 signed intents; each is answered on its own, in order.

        A Refusal is what CustodyRefused would carry. Safe to repeat whole.
        """
        return self._call(asks.submit_batch(intents))

    def get_withdrawal(self, name: str) -> wire.Withdrawal:
        """Return `withdrawals/{digest}`."""
        return self._call(asks.get_withdrawal(name))

    def list_withdrawals(
        self,
        *,
        states: Collection[State] = (),
        wallet: str = "",
        waiting_for: str = "",
        request_id: str = "",
        requester: str = "",
    ) -> Iterator[wire.Withdrawal]:
        """Yield withdrawals, newest first; a requester sees its own.

        Every filter that is given must fit; `waiting_for` as in Withdrawal.waiting_for.
        """
        pages = asks.list_withdrawals(states, wallet, waiting_for, request_id, requester)
        return self._pages(pages)

    def watch_withdrawals(
        self, cursor: str = "", *, skip_past: bool = False
    ) -> Generator[wire.WatchWithdrawalsResponse, None, None]:
        """Yield every change of state after `cursor`, once each, for ever; "" for all there were.

        A broken stream is opened again by itself. Store the response's cursor with what you did
        about it. One without an event came because nothing happened for 15 s: its cursor counts
        too. `skip_past` without a cursor: only what happens from now on. CustodyUnreachableError
        when nothing came for as long as the client's patience.
        """
        patience = Patience(self._patience.total_seconds())
        while True:
            request = asks.watch_withdrawals(cursor, skip_past=skip_past)
            stream, end = self._stub.WatchWithdrawals(request), answers.ended(self._target)
            try:
                for response in stream:
                    cursor = response.cursor
                    yield response
                    patience.begin()
            except grpc.RpcError as error:
                end = answers.failed(self._target, error)
                if not answers.breaks(error):
                    raise end from error
            finally:
                stream.cancel()
            if (pause := patience.pause()) is None:
                raise end
            time.sleep(pause)

    def send_cancel(self, name: str, cancel: Signed) -> wire.Withdrawal:
        """Hand over a signed cancel of `withdrawals/{digest}`."""
        return self._call(asks.send_cancel(name, cancel))

    def kill_withdrawal(self, name: str) -> wire.Withdrawal:
        """Use up the nonce of a signed `withdrawals/{digest}`, so that it never lands."""
        return self._call(asks.kill_withdrawal(name))

    def send_approval(self, name: str, approval: Signed) -> wire.Withdrawal:
        """Hand over an officer's signed decision on `withdrawals/{digest}`."""
        return self._call(asks.send_approval(name, approval))

    def list_pending_approvals(self) -> Iterator[wire.Withdrawal]:
        """Yield withdrawals that wait for officers, oldest first."""
        return self._pages(asks.list_pending_approvals())

    def get_wallet(self, name: str) -> wire.Wallet:
        """Return `wallets/{wallet}`."""
        return self._call(asks.get_wallet(name))

    def list_wallets(self) -> Iterator[wire.Wallet]:
        """Yield the policy's wallets by name."""
        return self._pages(asks.list_wallets())

    def list_balances(self) -> Iterator[wire.Balance]:
        """Yield custody's books by wallet."""
        return self._pages(asks.list_balances())

    def get_policy(self) -> wire.GetPolicyResponse:
        """Return what custody says is in force; compare the digest with one you trust."""
        return self._call(asks.get_policy())

    def create_policy_version(self, policy: bytes, changes: Sequence[Signed]) -> wire.PolicyVersion:
        """Hand over a policy version with its signatures; again, to ask the signer at once."""
        return self._call(asks.create_policy_version(policy, changes))

    def get_policy_version(self, name: str) -> wire.PolicyVersion:
        """Return `policyVersions/{digest}` with its file; check the digest yourself."""
        return self._call(asks.get_policy_version(name))

    def list_policy_versions(self) -> Iterator[wire.PolicyVersion]:
        """Yield the policy versions that came this way, newest first, without their files."""
        return self._pages(asks.list_policy_versions())

    def create_veto(self, name: str, veto: Signed) -> wire.Veto:
        """Hand over an officer's signed veto of `policyVersions/{digest}`."""
        return self._call(asks.create_veto(name, veto))

    def create_freeze(self, freeze: Signed) -> wire.Freeze:
        """Hand over an officer's signed freeze; it is `applied` once the signer has it."""
        return self._call(asks.create_freeze(freeze))

    def lift_freezes(self, orders: Sequence[Signed]) -> wire.LiftFreezesResponse:
        """Hand over the same list of freezes to be lifted, signed by each of a quorum."""
        return self._call(asks.lift_freezes(orders))

    def list_freezes(self) -> wire.ListFreezesResponse:
        """Return the freezes in force and on their way, and the epoch that orders name."""
        return self._call(asks.list_freezes())

    def create_book_version(
        self, book: bytes, changes: Sequence[Signed]
    ) -> wire.CreateBookVersionResponse:
        """Hand over an address-book version; its state is "applied" once the signer has it."""
        return self._call(asks.create_book_version(book, changes))

    def list_book_entries(
        self, network: str = "", look_alike_of: Sequence[str] = ()
    ) -> Iterator[wire.ListBookEntriesResponse]:
        """Yield the address book's entries by the page, oldest first, as custody's copy has them.

        With `look_alike_of`, up to 1,000 addresses of `network`, those that look like one of them.
        The book changed on the way where a page names another version than the first.
        """
        return self._pages(asks.list_book_entries(network, look_alike_of))

    def get_status(self) -> wire.GetStatusResponse:
        """Return how custody is doing; its `next_actions` are for people."""
        return self._call(asks.get_status())

    def list_audit_events(self, after: int = 0) -> Iterator[wire.AuditEvent]:
        """Yield the audit log's events after position `after`, in order."""
        return self._pages(asks.list_audit_events(after))

    def _pages(self, pages: Pages[T]) -> Iterator[T]:
        token, seen = "", set[str]()
        while token not in seen and len(seen) < PAGES_MAX:
            seen.add(token)
            items, token = self._call(pages.page(token))
            yield from items
            if not token:
                return
        raise answers.endless(self._target, pages.method, PAGES_MAX)

    def _call(self, ask: Ask[T]) -> T:
        call = getattr(self._stub, ask.method)
        try:
            response = retrying(
                lambda seconds: call(ask.request, timeout=seconds),
                self._patience.total_seconds(),
                ask.seconds,
            )
        except grpc.RpcError as error:
            raise answers.failed(self._target, error) from error
        return answers.read(self._target, ask.answer, response)
