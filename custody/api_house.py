"""The API's part about the house: wallets, books, policy, address book, audit log, status."""

from custody import filters, views
from custody.answering import Servicer, answering, named_digest, signed_of
from custody.flows import checks
from custody.flows import policy_versions as versions
from custody.flows.book import create_book_version
from custody.flows.freezes import create_freeze, lift_freezes, list_freezes
from custody.flows.status import gather
from custody.identity import Identity
from custody.paging import (
    NEWEST,
    filtered_position,
    open_filtered_page,
    open_numbered_page,
    open_page,
    token_after,
)
from custody.store import audit, balances, signers
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy import Policy


class HouseMethods(Servicer):
    """What officers, auditors and operators ask besides withdrawals."""

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
        changes = [signed_of(item) for item in request.changes]
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
        name = named_digest(request.name, "policyVersions", "name")
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
        change = named_digest(request.parent, "policyVersions", "parent")
        if isinstance(change, Refusal):
            return change
        signed = signed_of(request.veto)
        applied = await versions.create_veto(self._parts, who.name, change, signed)
        if isinstance(applied, Refusal):
            return applied
        name = f"{request.parent}/vetoes/{who.name}"
        return wire.CreateVetoResponse(veto=wire.Veto(name=name, applied=applied))

    @answering
    async def CreateFreeze(  # noqa: N802
        self, request: wire.CreateFreezeRequest, who: Identity
    ) -> wire.CreateFreezeResponse | Refusal:
        """Hand one officer's freeze to the signer."""
        made = await create_freeze(self._parts, who.name, signed_of(request.freeze))
        if isinstance(made, Refusal):
            return made
        return wire.CreateFreezeResponse(freeze=views.freeze(made))

    @answering
    async def LiftFreezes(  # noqa: N802
        self, request: wire.LiftFreezesRequest, _: Identity
    ) -> wire.LiftFreezesResponse | Refusal:
        """Hand to the signer what a quorum lifts."""
        lifted = await lift_freezes(self._parts, [signed_of(item) for item in request.orders])
        if isinstance(lifted, Refusal):
            return lifted
        return wire.LiftFreezesResponse(applied=lifted.applied, epoch=lifted.epoch)

    @answering
    async def ListFreezes(  # noqa: N802
        self, _request: wire.ListFreezesRequest, _: Identity
    ) -> wire.ListFreezesResponse | Refusal:
        """Show what is frozen and what is on its way."""
        found = await list_freezes(self._parts)
        if isinstance(found, Refusal):
            return found
        shown, epoch = found
        return wire.ListFreezesResponse(freezes=map(views.freeze, shown), epoch=epoch)

    @answering
    async def CreateBookVersion(  # noqa: N802
        self, request: wire.CreateBookVersionRequest, _: Identity
    ) -> wire.CreateBookVersionResponse | Refusal:
        """Hand a signed address-book version to the signer."""
        changes = [signed_of(item) for item in request.changes]
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
