"""Custody's API as coroutines: the methods of custody.calls, awaited.

Invariant: an answer is a value, a refusal is CustodyRefused, anything else CustodyUnreachableError.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from custody import answers, asks
from custody.asks import PAGES_MAX, Ask, Pages, Result
from custody.domain.states import State
from custody.retrying import Patience, retrying_async
from custody.tls import TlsFiles
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.statements import Signed

T = TypeVar("T")


class AsyncCustodyCalls:
    """A mutual-TLS connection to custody at `target` (host:port), of the running event loop."""

    def __init__(self, target: str, tls: TlsFiles, patience: timedelta) -> None:
        self._target, self._patience = target, patience
        credentials = tls.channel_credentials()
        self._channel = grpc.aio.secure_channel(target, credentials, options=answers.OPTIONS)
        self._stub: Any = custody_pb2_grpc.CustodyStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def submit(self, intent: Signed) -> wire.Withdrawal:
        """Hand over a signed intent, as often as it takes: the same bytes are one withdrawal."""
        return await self._call(asks.submit(intent))

    async def submit_batch(self, intents: Sequence[Signed]) -> list[Result]:
        """Hand over up to 1,000 signed intents; each is answered on its own, in order.

        A Refusal is what CustodyRefused would carry. Safe to repeat whole.
        """
        return await self._call(asks.submit_batch(intents))

    async def get_withdrawal(self, name: str) -> wire.Withdrawal:
        """Return `withdrawals/{digest}`."""
        return await self._call(asks.get_withdrawal(name))

    def list_withdrawals(
        self,
        *,
        states: Collection[State] = (),
        wallet: str = "",
        waiting_for: str = "",
        request_id: str = "",
        requester: str = "",
    ) -> AsyncIterator[wire.Withdrawal]:
        """Yield withdrawals, newest first; a requester sees its own.

        Every filter that is given must fit; `waiting_for` as in Withdrawal.waiting_for.
        """
        pages = asks.list_withdrawals(states, wallet, waiting_for, request_id, requester)
        return self._pages(pages)

    async def watch_withdrawals(
        self, cursor: str = "", *, skip_past: bool = False
    ) -> AsyncGenerator[wire.WatchWithdrawalsResponse, None]:
        """Yield every change of state after `cursor`, once each, for ever; "" for all there were.

        See custody.calls.CustodyCalls.watch_withdrawals.
        """
        patience = Patience(self._patience.total_seconds())
        while True:
            request = asks.watch_withdrawals(cursor, skip_past=skip_past)
            stream, end = self._stub.WatchWithdrawals(request), answers.ended(self._target)
            try:
                async for response in stream:
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
            await asyncio.sleep(pause)

    async def send_cancel(self, name: str, cancel: Signed) -> wire.Withdrawal:
        """Hand over a signed cancel of `withdrawals/{digest}`."""
        return await self._call(asks.send_cancel(name, cancel))

    async def kill_withdrawal(self, name: str) -> wire.Withdrawal:
        """Use up the nonce of a signed `withdrawals/{digest}`, so that it never lands."""
        return await self._call(asks.kill_withdrawal(name))

    async def send_approval(self, name: str, approval: Signed) -> wire.Withdrawal:
        """Hand over an officer's signed decision on `withdrawals/{digest}`."""
        return await self._call(asks.send_approval(name, approval))

    def list_pending_approvals(self) -> AsyncIterator[wire.Withdrawal]:
        """Yield withdrawals that wait for officers, oldest first."""
        return self._pages(asks.list_pending_approvals())

    async def get_wallet(self, name: str) -> wire.Wallet:
        """Return `wallets/{wallet}`."""
        return await self._call(asks.get_wallet(name))

    def list_wallets(self) -> AsyncIterator[wire.Wallet]:
        """Yield the policy's wallets by name."""
        return self._pages(asks.list_wallets())

    def list_balances(self) -> AsyncIterator[wire.Balance]:
        """Yield custody's books by wallet."""
        return self._pages(asks.list_balances())

    async def get_policy(self) -> wire.GetPolicyResponse:
        """Return what custody says is in force; compare the digest with one you trust."""
        return await self._call(asks.get_policy())

    async def create_policy_version(
        self, policy: bytes, changes: Sequence[Signed]
    ) -> wire.PolicyVersion:
        """Hand over a policy version with its signatures; again, to ask the signer at once."""
        return await self._call(asks.create_policy_version(policy, changes))

    async def get_policy_version(self, name: str) -> wire.PolicyVersion:
        """Return `policyVersions/{digest}` with its file; check the digest yourself."""
        return await self._call(asks.get_policy_version(name))

    def list_policy_versions(self) -> AsyncIterator[wire.PolicyVersion]:
        """Yield the policy versions that came this way, newest first, without their files."""
        return self._pages(asks.list_policy_versions())

    async def create_veto(self, name: str, veto: Signed) -> wire.Veto:
        """Hand over an officer's signed veto of `policyVersions/{digest}`."""
        return await self._call(asks.create_veto(name, veto))

    async def create_freeze(self, freeze: Signed) -> wire.Freeze:
        """Hand over an officer's signed freeze; it is `applied` once the signer has it."""
        return await self._call(asks.create_freeze(freeze))

    async def lift_freezes(self, orders: Sequence[Signed]) -> wire.LiftFreezesResponse:
        """Hand over the same list of freezes to be lifted, signed by each of a quorum."""
        return await self._call(asks.lift_freezes(orders))

    async def list_freezes(self) -> wire.ListFreezesResponse:
        """Return the freezes in force and on their way, and the epoch that orders name."""
        return await self._call(asks.list_freezes())

    async def create_book_version(
        self, book: bytes, changes: Sequence[Signed]
    ) -> wire.CreateBookVersionResponse:
        """Hand over an address-book version; its state is "applied" once the signer has it."""
        return await self._call(asks.create_book_version(book, changes))

    def list_book_entries(
        self, network: str = "", look_alike_of: Sequence[str] = ()
    ) -> AsyncIterator[wire.ListBookEntriesResponse]:
        """Yield the address book's entries by the page, as custody.calls.CustodyCalls does."""
        return self._pages(asks.list_book_entries(network, look_alike_of))

    async def get_status(self) -> wire.GetStatusResponse:
        """Return how custody is doing; its `next_actions` are for people."""
        return await self._call(asks.get_status())

    def list_audit_events(self, after: int = 0) -> AsyncIterator[wire.AuditEvent]:
        """Yield the audit log's events after position `after`, in order."""
        return self._pages(asks.list_audit_events(after))

    async def _pages(self, pages: Pages[T]) -> AsyncIterator[T]:
        token, seen = "", set[str]()
        while token not in seen and len(seen) < PAGES_MAX:
            seen.add(token)
            items, token = await self._call(pages.page(token))
            for item in items:
                yield item
            if not token:
                return
        raise answers.endless(self._target, pages.method, PAGES_MAX)

    async def _call(self, ask: Ask[T]) -> T:
        call = getattr(self._stub, ask.method)
        try:
            response: Any = await retrying_async(
                lambda seconds: call(ask.request, timeout=seconds),
                self._patience.total_seconds(),
                ask.seconds,
            )
        except grpc.RpcError as error:
            raise answers.failed(self._target, error) from error
        return answers.read(self._target, ask.answer, response)
