"""What the API shows of rows: pure functions from store to wire."""

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from custody.domain.states import State
from custody.flows.freezes import ShownFreeze, in_force
from custody.flows.policy_versions import NAME, Shown
from custody.flows.status import Facts, next_actions, waiting_words
from custody.store.balances import Balance
from custody.store.policy_versions import Progress
from custody.store.signers import EntryRow, Proposal
from custody.store.withdrawals import Row
from kura.custody.v1 import custody_pb2 as wire
from kura.signer.v1 import signer_pb2 as signer
from policies.advice import NEXT
from policies.approvals import open_approvals
from policies.codes import Code, Refusal
from policies.evaluate import approvals_missing, find_rule, find_tier
from policies.freezes import ALL_WALLETS
from policies.policy import Policy, Wallet
from policies.statements import Intent, Signed, decode


def withdrawal(row: Row, approvals: Sequence[Signed], missing: Sequence[str]) -> wire.Withdrawal:
    """Return a withdrawal as the API shows it."""
    # Also when custody cannot tell who is missing, as under a policy that no longer has a rule.
    asks_people = row.state == State.PENDING_APPROVAL
    waiting_for = row.waiting_for or ("APPROVALS" if asks_people else "")
    return wire.Withdrawal(
        name=f"withdrawals/{row.digest}",
        requester=row.requester,
        request_id=row.request_id,
        wallet=f"wallets/{row.wallet}",
        network=row.network,
        asset=row.asset,
        destination=wire.Destination(address=row.address, memo=row.memo),
        amount=str(row.amount),
        state=f"WITHDRAWAL_STATE_{row.state}",
        ending=f"WITHDRAWAL_STATE_{row.ending}" if row.ending else None,
        waiting_for=waiting_for,
        earliest_time=timestamp(_earliest(row)) if waiting_for else None,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        expire_time=timestamp(datetime.fromtimestamp(row.expires / 1000, UTC)),
        transaction_id=row.transaction_id or "",
        fee="" if row.fee is None else str(row.fee),
        intent=_signed(row.signed),
        approvals=[_signed(item) for item in approvals],
        approvals_missing=missing,
        refusal=_past_refusal(row),
        receipt=row.receipt,
    )


def seats_still_missing(
    policy: Policy, row: Row, approvals: Sequence[Signed], *, listed: bool, now: int
) -> list[str]:
    """Return what the policy still asks for, for example "1 of risk"."""
    intent = decode(Intent, row.statement)
    rule = find_rule(policy, intent, in_address_book=listed)
    tier = find_tier(rule, intent.amount) if rule else None
    opened = open_approvals(policy, row.digest, approvals, now)
    if rule is None or tier is None or isinstance(opened, Refusal):
        return []
    return list(approvals_missing(policy, rule, tier, opened))


def policy_version(item: Shown, *, whole: bool) -> wire.PolicyVersion:
    """Return a policy version; `whole` with its file and the signatures under it."""
    row = item.row
    code = Code(row.refusal_code) if row.refusal_code else None
    waits = row.state == Progress.DELAYED and row.earliest
    frame = signer.PolicyVersion.FromString(row.changes) if whole else signer.PolicyVersion()
    return wire.PolicyVersion(
        name=f"{NAME}{row.digest}",
        version=str(row.version),
        state=f"POLICY_VERSION_STATE_{row.state}",
        earliest_time=_of_ms(row.earliest) if waits else None,
        signed_by=row.people.split(","),
        vetoed_by=item.vetoed_by,
        refusal=refusal("signer", Refusal(code, row.refusal_message)) if code else None,
        create_time=timestamp(row.create_time),
        policy=frame.file,
        changes=[
            wire.SignedStatement(statement=change.statement, signature=change.signature)
            for change in frame.changes
        ],
    )


def freeze(item: ShownFreeze) -> wire.Freeze:
    """Return a freeze, in force or on its way."""
    return wire.Freeze(
        name=f"freezes/{item.digest}",
        wallet=item.wallet if item.wallet == ALL_WALLETS else f"wallets/{item.wallet}",
        person=item.person,
        create_time=timestamp(item.since),
        applied=item.applied,
    )


def wallet(policy: Policy, item: Wallet) -> wire.Wallet:
    """Return a wallet as the policy names it."""
    return wire.Wallet(
        name=f"wallets/{item.name}",
        tier=item.tier,
        network=policy.assets[item.asset].network,
        asset=item.asset,
        address=item.address,
        signer=item.signer,
    )


def balance(item: Balance) -> wire.Balance:
    """Return a wallet's books."""
    return wire.Balance(
        wallet=f"wallets/{item.wallet}",
        asset=item.asset,
        total=str(item.total),
        in_use=str(item.in_use),
        available=str(item.total - item.in_use),
    )


def book_entry(row: EntryRow) -> wire.BookEntry:
    """Return an entry of the address book."""
    return wire.BookEntry(network=row.network, address=row.address, memo=row.memo, label=row.label)


def _earliest(row: Row) -> datetime:
    """Return when it is tried again; for people, since when they may decide."""
    return max(row.retry_at, row.update_time) if row.waiting_for else row.update_time


def status(facts: Facts) -> wire.GetStatusResponse:
    """Return how custody is doing, with what to do next."""
    versions = {facts.policy.digest: str(facts.policy.version)} if facts.policy else {}
    return wire.GetStatusResponse(
        queue=[
            wire.QueueStatus(
                state=f"WITHDRAWAL_STATE_{item.state}",
                waiting_for=item.waiting_for,
                count=item.count,
                oldest_create_time=timestamp(item.oldest),
                earliest_time=timestamp(item.earliest) if item.retried else None,
                next=waiting_words(item),
            )
            for item in facts.queues
        ],
        signers=[
            wire.SignerStatus(
                audit_key=item.audit_key,
                seen_time=timestamp(item.seen),
                policy_version=versions.get(item.policy_digest, ""),
                policy_digest=item.policy_digest,
                book_version=str(item.book_version),
                locked=item.locked,
                locked_message=item.locked_message,
                proposals=[_proposal(proposal) for proposal in item.proposals],
                lease_expire_time=_of_ms(item.lease_until) if item.lease_until else None,
                watchtower=item.watchtower,
                freezes=[freeze(in_force(frozen)) for frozen in item.freezes],
            )
            for item in facts.signers
        ],
        wallets=[
            wire.WalletStatus(
                balance=balance(Balance(item.wallet, item.asset, item.total, item.in_use)),
                nonces=item.nonces,
                nonces_free=item.nonces_free,
            )
            for item in facts.pools
        ],
        nodes=[
            wire.NodeStatus(
                network=item.network,
                block_time=timestamp(item.block_time) if item.block_time else None,
                problem=item.problem,
            )
            for item in facts.nodes
        ],
        next_actions=next_actions(facts),
        now=timestamp(facts.now),
    )


def _proposal(item: Proposal) -> wire.PolicyProposal:
    return wire.PolicyProposal(
        name=f"{NAME}{item.digest}",
        earliest_time=_of_ms(item.earliest),
        vetoed_by=item.vetoed_by,
    )


def refusal(by: str, said: Refusal) -> wire.Refusal:
    """Return a refusal as a value of the API, with what to do next."""
    return wire.Refusal(
        by=by,
        code=said.code,
        rule=said.rule,
        message=said.message,
        next=NEXT[said.code],
        field=said.field,
    )


def _past_refusal(row: Row) -> wire.Refusal | None:
    if not row.refusal_code:
        return None
    code = Code(row.refusal_code)
    return refusal(row.refused_by, Refusal(code, row.refusal_message, row.refusal_rule))


def _signed(signed: Signed) -> wire.SignedStatement:
    return wire.SignedStatement(statement=signed.statement, signature=signed.signature)


def _of_ms(milliseconds: int) -> Timestamp:
    return timestamp(datetime.fromtimestamp(milliseconds / 1000, UTC))


def timestamp(time: datetime) -> Timestamp:
    """Return a time as the wire has it."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
