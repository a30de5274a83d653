"""The custody API: each method opens a request, runs one flow, and shows what came of it.

A method returns its response or a Refusal; `answering` turns refusals and faults into rich errors.
"""

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import structlog
from psycopg import OperationalError
from psycopg.errors import DiskFull, QueryCanceled
from psycopg_pool import PoolTimeout

from custody import filters, tracing, views
from custody.call_log import CallLog
from custody.errors import abort
from custody.flows import checks, create, decide
from custody.flows import policy_versions as versions
from custody.flows.book import create_book_version
from custody.flows.parts import Parts, unix_ms
from custody.flows.status import gather
from custody.identity import Identity, Role, caller
from custody.metrics import CALLS
from custody.paging import (
    filtered_position,
    open_filtered_page,
    open_numbered_page,
    open_page,
    token_after,
)
from custody.store import audit, balances, signers, withdrawals
from custody.store.database import Connection, what_to_do
from custody.store.withdrawals import Row
from custody.watching import WatchRefusedError, watch
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import Signed, digest

NEWEST = 2**63 - 1
BATCH_MAX = 1_000
ROWS_AT_ONCE = 20
DATABASE_AWAY = Refusal(Code.DATABASE_UNREACHABLE, "custody's database does not answer")
DATABASE_SLOW = Refusal(
    Code.DATABASE_UNREACHABLE, "custody's database took too long over this: it was given up"
)
DATABASE_FULL = Refusal(Code.DATABASE_UNREACHABLE, "custody's database takes nothing: disk full")
FAULT = Refusal(Code.FAULT, "custody met a fault and wrote it to its log")
_NAME = re.compile(r"withdrawals/([0-9a-f]{64})")
_VERSION = re.compile(r"policyVersions/([0-9a-f]{64})")
log = structlog.get_logger()

Method = Callable[["CustodyServicer", Any, Identity], Awaitable[Any]]


def answering(method: Method) -> Callable[..., Awaitable[Any]]:
    """Serve a method that takes (request, caller) and returns its response or a Refusal."""

    @functools.wraps(method)
    async def serve(
        self: "CustodyServicer", request: Any, context: grpc.aio.ServicerContext
    ) -> Any:
        identity = caller(context)
        if identity is None:
            raise AssertionError("the role was checked before")
        await self.calls.signed_in(identity)
        parent = dict(context.invocation_metadata() or ()).get("traceparent", "")
        with structlog.contextvars.bound_contextvars(**_about(request)):
            answer = await _answer(self, method, request, identity, str(parent))
            if isinstance(answer, Refusal):
                if answer.code is not Code.DATABASE_UNREACHABLE:
                    await self.calls.refused(identity, method.__name__, answer.code, answer.rule)
                await abort(context, answer)
        return answer

    return serve


async def _answer(
    servicer: "CustodyServicer", method: Method, request: Any, identity: Identity, parent: str
) -> Any:
    name = method.__name__
    try:
        with tracing.span(name, parent):
            answer = await method(servicer, request, identity)
    except (OperationalError, PoolTimeout) as error:
        answer = _away(error)
    except Exception:
        log.exception("fault", method=name, caller=identity.uri)
        answer = FAULT
    CALLS.labels(name, answer.code if isinstance(answer, Refusal) else "OK").inc()
    if isinstance(answer, Refusal):
        log.info("refused", method=name, caller=identity.uri, code=answer.code)
    return answer


def _away(error: Exception) -> Refusal:
    log.warning("database not reached", reason=str(error), next=what_to_do(error))
    if isinstance(error, QueryCanceled):
        return DATABASE_SLOW
    return DATABASE_FULL if isinstance(error, DiskFull) else DATABASE_AWAY


def _about(request: Any) -> dict[str, str]:
    """Return the withdrawal that a request is about, which every line of the call then carries."""
    if isinstance(request, wire.CreateWithdrawalRequest):
        return {"withdrawal": digest(request.intent.statement)}
    name = getattr(request, "name", "") or getattr(request, "parent", "")
    match = _NAME.fullmatch(name)
    return {"withdrawal": match[1]} if match else {}


class CustodyServicer(custody_pb2_grpc.CustodyServicer):
    """Serves kura.custody.v1.Custody. Roles are checked before any method runs."""

    def __init__(self, parts: Parts, calls: CallLog) -> None:
        self._parts, self.calls = parts, calls

    @answering
    async def CreateWithdrawal(  # noqa: N802 - gRPC's name
        self, request: wire.CreateWithdrawalRequest, who: Identity
    ) -> wire.CreateWithdrawalResponse | Refusal:
        """Queue a withdrawal."""
        signed = _signed(request.intent)
        made = await create.create_withdrawal(self._parts, who.name, signed)
        if isinstance(made, Refusal):
            return made
        return wire.CreateWithdrawalResponse(withdrawal=await self._shown(made))

    @answering
    async def BatchCreateWithdrawals(  # noqa: N802
        self, request: wire.BatchCreateWithdrawalsRequest, who: Identity
    ) -> wire.BatchCreateWithdrawalsResponse | Refusal:
        """Queue many withdrawals, each answered on its own."""
        if not 0 < len(request.requests) <= BATCH_MAX:
            words = f"a batch has 1 to {BATCH_MAX} requests"
            return Refusal(Code.ARGUMENT_INVALID, words, field="requests")
        signed = [_signed(item.intent) for item in request.requests]
        made = await create.create_withdrawals(self._parts, who.name, signed)
        for item, of in zip(made, signed, strict=True):
            if isinstance(item, Refusal):
                name = digest(of.statement)
                log.info("refused", caller=who.uri, code=item.code, withdrawal=name)
                method = "BatchCreateWithdrawals"
                await self.calls.refused(who, method, item.code, item.rule)
        rows = [item for item in made if isinstance(item, Row)]
        async with self._parts.database.transaction() as connection:
            shown = iter(await _shown(connection, rows))
        return wire.BatchCreateWithdrawalsResponse(
            results=[
                wire.CreateWithdrawalResult(refusal=views.refusal("custody", item))
                if isinstance(item, Refusal)
                else wire.CreateWithdrawalResult(withdrawal=next(shown))
                for item in made
            ]
        )

    @answering
    async def GetWithdrawal(  # noqa: N802
        self, request: wire.GetWithdrawalRequest, who: Identity
    ) -> wire.GetWithdrawalResponse | Refusal:
        """Show one withdrawal."""
        name = _digest(request.name, "name")
        if isinstance(name, Refusal):
            return name
        async with self._parts.database.transaction() as connection:
            row = await withdrawals.get(connection, name)
        if row is None or (who.role is Role.REQUESTER and row.requester != who.name):
            return Refusal(Code.NOT_FOUND, f"there is no {request.name}", field="name")
        return wire.GetWithdrawalResponse(withdrawal=await self._shown(row))

    @answering
    async def ListWithdrawals(  # noqa: N802
        self, request: wire.ListWithdrawalsRequest, who: Identity
    ) -> wire.ListWithdrawalsResponse | Refusal:
        """Show withdrawals, newest first."""
        chosen = filters.chosen(request, who.name if who.role is Role.REQUESTER else "")
        if isinstance(chosen, Refusal):
            return chosen
        page = open_filtered_page(request.page_size, request.page_token, NEWEST, chosen.tag)
        if isinstance(page, Refusal):
            return page
        size, before = page
        async with self._parts.database.transaction() as connection:
            states, equal = chosen.states, chosen.equal
            rows = await withdrawals.page(connection, before, size, states, **equal)
            shown = await _shown(connection, rows)
        position = filtered_position(rows[-1].sequence if rows else 0, chosen.tag)
        token = token_after(len(rows), size, position)
        return wire.ListWithdrawalsResponse(withdrawals=shown, next_page_token=token)

    async def WatchWithdrawals(  # noqa: N802
        self, request: wire.WatchWithdrawalsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[wire.WatchWithdrawalsResponse]:
        """Send every change of state after the cursor, then each as it happens."""
        who = caller(context)
        if who is None:
            raise AssertionError("the role was checked before")
        requester = who.name if who.role is Role.REQUESTER else ""
        await self.calls.signed_in(who)
        try:
            async for response in watch(self._parts, requester, request, _shown):
                yield response
        except WatchRefusedError as error:
            refusal = error.refusal
            await self.calls.refused(who, "WatchWithdrawals", refusal.code, refusal.rule)
            await abort(context, error.refusal)
        except (OperationalError, PoolTimeout) as error:
            await abort(context, _away(error))
        except Exception:
            log.exception("fault", method="WatchWithdrawals", caller=who.uri)
            await abort(context, FAULT)

    @answering
    async def CancelWithdrawal(  # noqa: N802
        self, request: wire.CancelWithdrawalRequest, who: Identity
    ) -> wire.CancelWithdrawalResponse | Refusal:
        """End a withdrawal that is not being signed yet."""
        name = _digest(request.name, "name")
        if isinstance(name, Refusal):
            return name
        signed = _signed(request.cancel)
        row = await decide.cancel_withdrawal(self._parts, who.name, name, signed)
        if isinstance(row, Refusal):
            return row
        return wire.CancelWithdrawalResponse(withdrawal=await self._shown(row))

    @answering
    async def CreateApproval(  # noqa: N802
        self, request: wire.CreateApprovalRequest, who: Identity
    ) -> wire.CreateApprovalResponse | Refusal:
        """Keep one officer's decision."""
        name = _digest(request.parent, "parent")
        if isinstance(name, Refusal):
            return name
        signed = _signed(request.approval)
        row = await decide.create_approval(self._parts, who.name, name, signed)
        if isinstance(row, Refusal):
            return row
        return wire.CreateApprovalResponse(withdrawal=await self._shown(row))

    @answering
    async def ListPendingApprovals(  # noqa: N802
        self, request: wire.ListPendingApprovalsRequest, _: Identity
    ) -> wire.ListPendingApprovalsResponse | Refusal:
        """Show withdrawals that wait for approvals, oldest first."""
        page = open_numbered_page(request.page_size, request.page_token, 0)
        if isinstance(page, Refusal):
            return page
        size, after = page
        async with self._parts.database.transaction() as connection:
            rows = await withdrawals.pending_page(connection, after, size)
            shown = await _shown(connection, rows)
        token = token_after(len(rows), size, rows[-1].sequence if rows else 0)
        return wire.ListPendingApprovalsResponse(withdrawals=shown, next_page_token=token)

    @answering
    async def GetWallet(  # noqa: N802
        self, request: wire.GetWalletRequest, _: Identity
    ) -> wire.GetWalletResponse | Refusal:
        """Show one wallet of the policy."""
        policy = await self._policy()
        if isinstance(policy, Refusal):
            return policy
        wallet = policy.wallets.get(request.name.removeprefix("wallets/"))
        if wallet is None or request.name != f"wallets/{wallet.name}":
            return Refusal(Code.NOT_FOUND, f"there is no {request.name!r}", field="name")
        return wire.GetWalletResponse(wallet=views.wallet(policy, wallet))

    @answering
    async def ListWallets(  # noqa: N802
        self, request: wire.ListWalletsRequest, _: Identity
    ) -> wire.ListWalletsResponse | Refusal:
        """Show the policy's wallets by name."""
        page = open_page(request.page_size, request.page_token, "")
        policy = await self._policy()
        if isinstance(page, Refusal):
            return page
        if isinstance(policy, Refusal):
            return policy
        size, after = page
        names = sorted(name for name in policy.wallets if name > after)[:size]
        shown = [views.wallet(policy, policy.wallets[name]) for name in names]
        token = token_after(len(names), size, names[-1] if names else "")
        return wire.ListWalletsResponse(wallets=shown, next_page_token=token)

    @answering
    async def ListBalances(  # noqa: N802
        self, request: wire.ListBalancesRequest, _: Identity
    ) -> wire.ListBalancesResponse | Refusal:
        """Show our books by wallet."""
        page = open_page(request.page_size, request.page_token, "")
        if isinstance(page, Refusal):
            return page
        size, after = page
        async with self._parts.database.transaction() as connection:
            rows = await balances.page(connection, after, size)
        token = token_after(len(rows), size, rows[-1].wallet if rows else "")
        shown = [views.balance(row) for row in rows]
        return wire.ListBalancesResponse(balances=shown, next_page_token=token)

    @answering
    async def GetPolicy(  # noqa: N802
        self, _request: wire.GetPolicyRequest, _: Identity
    ) -> wire.GetPolicyResponse | Refusal:
        """Show what the signer says is in force."""
        async with self._parts.database.transaction() as connection:
            row = await signers.latest(connection)
        if row is None or not row.policy:
            return checks.SIGNER_UNSEEN
        return wire.GetPolicyResponse(
            policy=row.policy,
            digest=row.policy_digest,
            book_version=str(row.book_version),
            book_digest=row.book_digest,
        )

    @answering
    async def CreatePolicyVersion(  # noqa: N802
        self, request: wire.CreatePolicyVersionRequest, _: Identity
    ) -> wire.CreatePolicyVersionResponse | Refusal:
        """Hand a signed policy version to the signer."""
        changes = [_signed(item) for item in request.changes]
        made = await versions.create_policy_version(self._parts, request.policy, changes)
        if isinstance(made, Refusal):
            return made
        shown = views.policy_version(made, whole=False)
        return wire.CreatePolicyVersionResponse(policy_version=shown)

    @answering
    async def GetPolicyVersion(  # noqa: N802
        self, request: wire.GetPolicyVersionRequest, _: Identity
    ) -> wire.GetPolicyVersionResponse | Refusal:
        """Show one policy version with its file and signatures."""
        name = _version_digest(request.name, "name")
        if isinstance(name, Refusal):
            return name
        found = await versions.get_policy_version(self._parts, name)
        if isinstance(found, Refusal):
            return found
        shown = views.policy_version(found, whole=True)
        return wire.GetPolicyVersionResponse(policy_version=shown)

    @answering
    async def ListPolicyVersions(  # noqa: N802
        self, request: wire.ListPolicyVersionsRequest, _: Identity
    ) -> wire.ListPolicyVersionsResponse | Refusal:
        """Show policy versions, newest first."""
        page = open_numbered_page(request.page_size, request.page_token, NEWEST)
        if isinstance(page, Refusal):
            return page
        size, before = page
        found = await versions.list_policy_versions(self._parts, before, size)
        shown = [views.policy_version(item, whole=False) for item in found]
        token = token_after(len(found), size, found[-1].row.sequence if found else 0)
        return wire.ListPolicyVersionsResponse(policy_versions=shown, next_page_token=token)

    @answering
    async def CreateVeto(  # noqa: N802
        self, request: wire.CreateVetoRequest, who: Identity
    ) -> wire.CreateVetoResponse | Refusal:
        """Hand one officer's veto to the signer."""
        change = _version_digest(request.parent, "parent")
        if isinstance(change, Refusal):
            return change
        signed = _signed(request.veto)
        applied = await versions.create_veto(self._parts, who.name, change, signed)
        if isinstance(applied, Refusal):
            return applied
        name = f"{request.parent}/vetoes/{who.name}"
        return wire.CreateVetoResponse(veto=wire.Veto(name=name, applied=applied))

    @answering
    async def CreateBookVersion(  # noqa: N802
        self, request: wire.CreateBookVersionRequest, _: Identity
    ) -> wire.CreateBookVersionResponse | Refusal:
        """Hand a signed address-book version to the signer."""
        changes = [_signed(item) for item in request.changes]
        book = await create_book_version(self._parts, request.book, changes)
        if isinstance(book, Refusal):
            return book
        return wire.CreateBookVersionResponse(state=book.state, digest=book.digest)

    @answering
    async def ListBookEntries(  # noqa: N802
        self, request: wire.ListBookEntriesRequest, _: Identity
    ) -> wire.ListBookEntriesResponse | Refusal:
        """Show custody's copy of the address book, oldest entry first."""
        chosen = filters.look_alikes(request)
        if isinstance(chosen, Refusal):
            return chosen
        page = open_filtered_page(request.page_size, request.page_token, 0, chosen.tag)
        if isinstance(page, Refusal):
            return page
        size, after = page
        async with self._parts.database.transaction() as connection:
            await signers.hold_still(connection)
            version, digest = await signers.copied_version(connection)
            rows = await signers.entries(connection, after, size, chosen.network, chosen.ends)
        position = filtered_position(rows[-1].sequence if rows else 0, chosen.tag)
        return wire.ListBookEntriesResponse(
            entries=[views.book_entry(row) for row in rows],
            next_page_token=token_after(len(rows), size, position),
            book_version=str(version),
            book_digest=digest,
        )

    @answering
    async def ListAuditEvents(  # noqa: N802
        self, request: wire.ListAuditEventsRequest, _: Identity
    ) -> wire.ListAuditEventsResponse | Refusal:
        """Show the audit log, oldest first."""
        page = open_numbered_page(request.page_size, request.page_token, max(request.after, 0))
        if isinstance(page, Refusal):
            return page
        size, after = page
        async with self._parts.database.transaction() as connection:
            await audit.seal(connection)
            events = await audit.page(connection, after, size)
        shown = [wire.AuditEvent(event=event.encode(), hash=event.hash) for event in events]
        token = token_after(len(events), size, events[-1].position if events else 0)
        return wire.ListAuditEventsResponse(events=shown, next_page_token=token)

    @answering
    async def GetStatus(  # noqa: N802
        self, _request: wire.GetStatusRequest, _: Identity
    ) -> wire.GetStatusResponse | Refusal:
        """Show how custody is doing."""
        return views.status(await gather(self._parts))

    async def _policy(self) -> Policy | Refusal:
        async with self._parts.database.transaction() as connection:
            return await checks.policy_in_force(connection)

    async def _shown(self, row: Row) -> wire.Withdrawal:
        async with self._parts.database.transaction() as connection:
            (shown,) = await _shown(connection, [row])
        return shown


async def _shown(connection: Connection, rows: Sequence[Row]) -> list[wire.Withdrawal]:
    """Return withdrawals as the API shows them, with one question each for all of them."""
    policy = await checks.policy_in_force(connection)
    decisions = await withdrawals.decisions(connection, [row.digest for row in rows])
    places = [(row.network, row.address, row.memo) for row in rows]
    listed = await signers.listed(connection, places)
    now, shown = unix_ms(), []
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)  # a large page keeps nobody waiting
        decided, missing = decisions[row.digest], list[str]()
        if row.state == "PENDING_APPROVAL" and isinstance(policy, Policy):
            valid = [s for s, under, until in decided if under == policy.digest and until > now]
            valid = checks.genuine(policy, row.digest, valid, now)
            missing = views.seats_still_missing(policy, row, valid, listed=place in listed, now=now)
        shown.append(views.withdrawal(row, [signed for signed, _, _ in decided], missing))
    return shown


def _signed(item: wire.SignedStatement) -> Signed:
    return Signed(item.statement, item.signature)


def _version_digest(name: str, field: str) -> str | Refusal:
    return _digest(name, field, _VERSION, "policyVersions/")


def _digest(
    name: str, field: str, pattern: re.Pattern[str] = _NAME, kind: str = "withdrawals/"
) -> str | Refusal:
    match = pattern.fullmatch(name)
    words = f"must be {kind} and 64 lower-case hex digits"
    return match[1] if match else Refusal(Code.ARGUMENT_INVALID, words, field=field)
