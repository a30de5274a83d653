"""The API's part about withdrawals, and the whole of it: each method runs one flow and shows it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from custody import filters, views
from custody.answering import FAULT, answering, away, named_digest, signed_of
from custody.api_house import HouseMethods
from custody.errors import abort
from custody.flows import checks, create, decide, kill
from custody.flows.parts import unix_ms
from custody.identity import Identity, Role, caller
from custody.paging import (
    NEWEST,
    filtered_position,
    open_filtered_page,
    open_numbered_page,
    token_after,
)
from custody.store import signers, withdrawals
from custody.store.database import Connection
from custody.store.withdrawals import Row
from custody.watching import WatchRefusedError, watch
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import digest

BATCH_MAX = 1_000
ROWS_AT_ONCE = 20
log = structlog.get_logger()


class CustodyServicer(HouseMethods):
    """Serves kura.custody.v1.Custody."""

    @answering
    async def CreateWithdrawal(  # noqa: N802 - gRPC's name
        self, request: wire.CreateWithdrawalRequest, who: Identity
    ) -> wire.CreateWithdrawalResponse | Refusal:
        """Queue a withdrawal."""
        signed = signed_of(request.intent)
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
        signed = [signed_of(item.intent) for item in request.requests]
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
        name = named_digest(request.name, "withdrawals", "name")
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
            await abort(context, away(error))
        except Exception:
            log.exception("fault", method="WatchWithdrawals", caller=who.uri)
            await abort(context, FAULT)

    @answering
    async def CancelWithdrawal(  # noqa: N802
        self, request: wire.CancelWithdrawalRequest, who: Identity
    ) -> wire.CancelWithdrawalResponse | Refusal:
        """End a withdrawal that is not being signed yet."""
        name = named_digest(request.name, "withdrawals", "name")
        if isinstance(name, Refusal):
            return name
        signed = signed_of(request.cancel)
        row = await decide.cancel_withdrawal(self._parts, who.name, name, signed)
        if isinstance(row, Refusal):
            return row
        return wire.CancelWithdrawalResponse(withdrawal=await self._shown(row))

    @answering
    async def KillWithdrawal(  # noqa: N802
        self, request: wire.KillWithdrawalRequest, who: Identity
    ) -> wire.KillWithdrawalResponse | Refusal:
        """Use up the nonce of a signed withdrawal."""
        name = named_digest(request.name, "withdrawals", "name")
        if isinstance(name, Refusal):
            return name
        row = await kill.kill_withdrawal(self._parts, who.name, name)
        if isinstance(row, Refusal):
            return row
        return wire.KillWithdrawalResponse(withdrawal=await self._shown(row))

    @answering
    async def CreateApproval(  # noqa: N802
        self, request: wire.CreateApprovalRequest, who: Identity
    ) -> wire.CreateApprovalResponse | Refusal:
        """Keep one officer's decision."""
        name = named_digest(request.parent, "withdrawals", "parent")
        if isinstance(name, Refusal):
            return name
        signed = signed_of(request.approval)
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
