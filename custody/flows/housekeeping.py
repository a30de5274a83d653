"""What nobody asks for: the signer's status, address-book versions, inflows, expiries."""

from dataclasses import replace

import structlog

from custody.chains.errors import NodeError
from custody.domain.audit import Kind
from custody.domain.states import Event
from custody.flows import checks, end, freezes
from custody.flows.parts import WorkerParts, unix_ms, within_calendar
from custody.flows.rows import alone
from custody.gateway import SignerUnreachableError
from custody.store import audit, balances, nonces, policy_versions, signers, withdrawals
from custody.store.database import Connection
from custody.store.signers import Proposal, SignerRow
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import Book, decode, digest

BATCH = 100
_EXPIRED = Refusal(Code.INTENT_EXPIRED, "it expired before it was signed")
ACTOR = "worker"
log = structlog.get_logger()


async def read_status(parts: WorkerParts) -> bool:
    """Ask the signer what is in force there, and keep it."""
    async with parts.database.transaction() as connection:
        held = await signers.copied_version(connection)
    try:
        (result,) = await parts.gateway.ask([wire.Job(status=wire.Status())])
    except SignerUnreachableError:
        return False
    status = result.status
    row = SignerRow(
        audit_key=status.audit_key,
        policy=status.policy,
        policy_digest=digest(status.policy) if status.policy else "",
        book_version=int(status.book_version),
        book_digest=status.book_digest,
        locked=status.locked,
        locked_message=status.locked_message,
        epoch=status.epoch,
        lease_until=within_calendar(status.lease_until),
        watchtower=status.watchtower,
        journal=status.journal,
    )
    async with parts.database.transaction() as connection:
        proposals = [await _proposal(connection, item) for item in status.proposals]
        before = await signers.latest(connection)
        frozen = freezes.frozen_now(status.freezes, before)
        row = replace(row, proposals=tuple(proposals), freezes=frozen)
        await signers.save(connection, row)
        if await freezes.note_changes(connection, before, row):
            await withdrawals.look_again(connection)
        if before is None or before.policy_digest != row.policy_digest:
            await _changed(connection, row, "POLICY", "policy", row.policy_digest)
            await signers.see_policy(connection, row.policy_digest, row.policy)
            await policy_versions.in_force(connection, row.policy_digest)
            await withdrawals.look_again(connection)
        if before is None or before.book_digest != row.book_digest:
            await _changed(connection, row, "BOOK", f"book/{row.book_version}", row.book_digest)
        if await signers.follow_book(connection, held, row):
            await withdrawals.look_again(connection)
            log.warning(
                "the signer has another address book than before",
                version=row.book_version,
                before=held[0],
                next="custody status",
            )
    return False


async def _proposal(connection: Connection, item: wire.Proposal) -> Proposal:
    """Return a policy version that waits; whom it removes cannot veto it."""
    version = await policy_versions.get(connection, item.digest) if item.vetoed_by else None
    people = parse_policy(version.file).people if version else item.vetoed_by
    vetoed_by = tuple(person for person in item.vetoed_by if person in people)
    return Proposal(item.digest, within_calendar(item.earliest_time), vetoed_by)


async def _changed(
    connection: Connection, signer: SignerRow, event: str, subject: str, name: str
) -> None:
    await audit.record(
        connection,
        Kind.CONFIGURATION,
        event,
        actor="signer",
        subject=subject,
        digest=name,
        signer=signer.audit_key,
    )


async def apply_book(parts: WorkerParts) -> bool:
    """Hand the oldest waiting address-book version to the signer; True when it decided."""
    async with parts.database.transaction() as connection:
        row = await signers.next_book(connection)
    if row is None:
        return False
    version = wire.BookVersion.FromString(row.changes)
    try:
        (result,) = await parts.gateway.ask([wire.Job(apply=wire.Apply(book=version))])
    except SignerUnreachableError:
        return False
    async with parts.database.transaction() as connection:
        if result.WhichOneof("outcome") == "applied":
            book = decode(Book, row.statement)
            await signers.book_applied(connection, row, book)
            removed = [(entry.network, entry.address, entry.memo) for entry in book.remove]
            await withdrawals.look_again(connection, removed)
            log.info("address book applied", version=row.version)
        else:
            words = f"{result.refusal.code}: {result.refusal.message}"
            await signers.book_refused(connection, row, words)
            log.warning("address book refused", version=row.version, reason=words)
    await read_status(parts)
    return True


async def book_inflows(parts: WorkerParts) -> bool:
    """Book what wallets hold above our books; open the books of new wallets."""
    async with parts.database.transaction() as connection:
        policy = await checks.policy_in_force(connection)
        journals = await signers.journals(connection)
    if isinstance(policy, Refusal):
        return False
    for wallet in policy.wallets.values():
        try:
            minimum = await parts.node.minimum_rent(0)
            async with parts.database.transaction() as connection:
                await balances.open_wallet(connection, wallet.name, wallet.asset, minimum)
                journal = journals.get(wallet.signer, "")
                await nonces.add(connection, wallet.name, wallet.nonce_pool, journal)
                total, inflows = await balances.total_and_inflows(connection, wallet.name)
            # Our books are read before the chain: the difference is never more than came in.
            inflow = await parts.node.balance(wallet.address) - total
        except NodeError as error:
            log.warning("node not reached", reason=str(error), next="check the node; trying again")
            return False
        if inflow > 0:
            reference = f"{wallet.name}:{inflows}"
            async with parts.database.transaction() as connection:
                new = await balances.book(connection, wallet.name, "inflow", inflow, reference)
                if new:
                    fee = wallet.maximum_fee
                    await balances.set_aside(connection, wallet.name, inflow, fee)
            if new:
                log.info("inflow", wallet=wallet.name, amount=str(inflow))
    return False


async def seal_events(parts: WorkerParts) -> bool:
    """Give the audit log's new events their place in the chain; True when there were any."""
    async with parts.database.transaction() as connection:
        return await audit.seal(connection) > 0


async def expire(parts: WorkerParts) -> bool:
    """End what expired before it was signed; True when anything did."""
    async with parts.database.transaction() as connection:
        rows = await withdrawals.overdue(connection, unix_ms(), BATCH)
    return any([await alone(parts, row, _expire) for row in rows])


async def _expire(connection: Connection, row: Row) -> bool:
    await end.begin(connection, row, Event.EXPIRE, ACTOR, ("custody", _EXPIRED))
    return True
