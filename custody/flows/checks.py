"""Custody's own checks: early answers for people. None of them protects the money; the signer does.

They ask the same `policies` functions as the signer, over custody's copies of policy and book.
"""

from collections.abc import Sequence
from functools import lru_cache

import structlog

from custody.flows.parts import unix_ms
from custody.store import signers, withdrawals
from custody.store.database import Connection
from custody.store.signers import Frozen
from policies.approvals import open_approval, open_approvals
from policies.codes import Code, Refusal
from policies.evaluate import (
    Allowed,
    approvers_of,
    early_facts,
    evaluate,
    find_rule,
    find_tier,
    open_intent,
)
from policies.freezes import ALL_WALLETS
from policies.policy import Policy, Wallet, WalletTier
from policies.policy_file import parse_policy
from policies.statements import Approval, Intent, Signed, StatementError, decode, digest

log = structlog.get_logger()
SIGNER_UNSEEN = Refusal(Code.SIGNER_UNSEEN, "no signer has said yet which policy is in force")


async def policy_in_force(connection: Connection) -> Policy | Refusal:
    """Return the policy that the signer says is in force."""
    row = await signers.latest(connection)
    return _parsed(row.policy) if row and row.policy else SIGNER_UNSEEN


async def signer_locked(connection: Connection) -> Refusal | None:
    """Return why the signer signs nothing now, as it says of itself; None when it does."""
    row = await signers.latest(connection)
    if row is None or not row.locked:
        return None
    code = Code(row.locked) if row.locked in set(Code) else Code.JOB_MALFORMED
    return Refusal(code, row.locked_message)


async def signer_stopped(connection: Connection, policy: Policy, wallet: str) -> Refusal | None:
    """Return why the signer signs nothing of this wallet, as it says of itself; None when it does.

    A lease that has run out since is its own to tell: clocks differ.
    """
    if locked := await signer_locked(connection):
        return locked
    row = await signers.latest(connection)
    if row and is_frozen(row.freezes, wallet):
        return Refusal(Code.FROZEN, f"{wallet} is frozen in the signer")
    hot = wallet in policy.wallets and policy.wallets[wallet].tier is WalletTier.HOT
    if row and hot and not row.lease_until:
        return Refusal(Code.LEASE_MISSING, "the signer has no lease of the watchtower")
    return None


def is_frozen(freezes: Sequence[Frozen], wallet: str) -> bool:
    """Tell whether one of the freezes is of this wallet or of all."""
    return any(freeze.wallet in {wallet, ALL_WALLETS} for freeze in freezes)


async def watchtower_key(connection: Connection) -> str | Refusal:
    """Return the key of the watchtower's words: the signer's word, else the policy's."""
    row = await signers.latest(connection)
    if row and row.watchtower:
        return row.watchtower
    policy = await policy_in_force(connection)
    return policy if isinstance(policy, Refusal) else policy.watchtower


@lru_cache(maxsize=32)
def _parsed(file: bytes) -> Policy:
    return parse_policy(file)


async def wallets_ever(connection: Connection, policy: Policy, name: str) -> list[Wallet]:
    """Return what `policy`, and every one before it, says of a wallet, the newest first.

    What was signed while an earlier version was in force stays a transaction of that wallet.
    """
    found = [policy.wallets[name]] if name in policy.wallets else []
    for file in await signers.policies_seen(connection):
        wallet = _parsed(file).wallets.get(name)
        if wallet and wallet not in found:
            found.append(wallet)
    return found


async def verdict(
    connection: Connection, policy: Policy, signed: Signed, approvals: Sequence[Signed], now: int
) -> Allowed | Refusal:
    """Return what `policy` says to this intent with these approvals at `now`."""
    intent = open_intent(policy, signed)
    if isinstance(intent, Refusal):
        return intent
    opened = open_approvals(policy, digest(signed.statement), approvals, now)
    if isinstance(opened, Refusal):
        return opened
    listed = await signers.in_address_book(connection, intent.network, intent.destination)
    wallet = policy.wallets.get(intent.wallet)
    fee = wallet.maximum_fee if wallet else 0
    facts = early_facts(intent, now=now, in_address_book=listed, approvals=opened, fee=fee)
    return evaluate(policy, intent, facts)


def asks_nobody(verdict: Allowed | Refusal) -> bool:
    """Tell whether people have nothing more to decide: it is allowed, now or at a later hour."""
    return isinstance(verdict, Allowed) or verdict.code is Code.HOURS_CLOSED


async def open_decision(
    connection: Connection, intent: Intent, intent_digest: str, signed: Signed, now: int
) -> Approval | Refusal:
    """Return an approver's decision, when it is valid and asked for."""
    policy = await policy_in_force(connection)
    if isinstance(policy, Refusal):
        return policy
    approval = open_approval(policy, intent_digest, signed)
    if isinstance(approval, Refusal):
        return approval
    valid = open_approvals(policy, intent_digest, [signed], now)
    if isinstance(valid, Refusal):
        return valid
    listed = await signers.in_address_book(connection, intent.network, intent.destination)
    rule = find_rule(policy, intent, in_address_book=listed)
    tier = find_tier(rule, intent.amount) if rule else None
    if not (rule and tier and approval.approver in approvers_of(policy, rule, tier)):
        words = f"{approval.approver} is not among those asked about this withdrawal"
        return Refusal(Code.APPROVAL_INVALID, words, field="approval.approver")
    return approval


async def approvals(connection: Connection, policy: Policy, intent_digest: str) -> list[Signed]:
    """Return the decisions on one withdrawal that count now."""
    now = unix_ms()
    stored = await withdrawals.approvals(connection, intent_digest, policy=policy.digest, now=now)
    return genuine(policy, intent_digest, stored, now)


def genuine(policy: Policy, intent_digest: str, stored: Sequence[Signed], now: int) -> list[Signed]:
    """Return what people did decide and still holds, each person's decision once.

    What was slipped in beside it, or copied, must neither end a withdrawal nor hold it up.
    """
    kept: dict[tuple[str, str], Signed] = {}
    for signed in stored:
        opened = open_approvals(policy, intent_digest, [signed], now)
        if isinstance(opened, Refusal):
            reason = opened.message
            log.critical("a stored approval is forged", reason=reason, withdrawal=intent_digest)
            continue
        (approval,) = opened
        kept[approval.approver, approval.decision] = signed
    return list(kept.values())


def open_statement(signed: Signed) -> Intent | Refusal:
    """Return what an intent says, its signature not checked."""
    try:
        return decode(Intent, signed.statement)
    except StatementError as error:
        return Refusal(Code.INTENT_MALFORMED, str(error), field=f"intent.{error.field}".rstrip("."))
