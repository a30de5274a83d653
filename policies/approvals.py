"""Opens signed approvals: whose they are, and whether they speak about this intent and this policy.

A forged, foreign or malformed approval refuses the whole job, since somebody made it on purpose; an
approval that is only out of date asks the approvers again.
"""

from collections.abc import Sequence

from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import Approval, Signed, StatementError, decode, verify

APPROVALS_MAX = 64


def open_approvals(
    policy: Policy, intent_digest: str, signed: Sequence[Signed], now: int
) -> tuple[Approval, ...] | Refusal:
    """Return the approvals that `signed` hold, each verified, or why they cannot be taken."""
    if len(signed) > APPROVALS_MAX:
        return Refusal(Code.APPROVAL_INVALID, f"more than {APPROVALS_MAX} approvals came along")
    opened = []
    for item in signed:
        approval = open_approval(policy, intent_digest, item)
        if isinstance(approval, Refusal):
            return approval
        opened.append(approval)
    for approval in opened:
        if approval.policy != policy.digest:
            return _stale(approval, "is for another version of the policy")
        if approval.expires <= now:
            return _stale(approval, "has expired")
    return tuple(opened)


def open_approval(policy: Policy, intent_digest: str, signed: Signed) -> Approval | Refusal:
    """Return one approval of this intent, signed by the person or service it names."""
    try:
        approval = decode(Approval, signed.statement)
    except StatementError as error:
        return Refusal(Code.APPROVAL_INVALID, str(error), field=f"approval.{error.field}")
    if approval.key not in policy.approver_keys(approval.approver):
        words = f"{approval.approver} holds no such key in this policy"
        return Refusal(Code.APPROVAL_INVALID, words, field="approval.key")
    if not verify(approval.key, signed):
        words = f"the signature is not {approval.approver}'s"
        return Refusal(Code.APPROVAL_INVALID, words, field="approval.signature")
    if approval.intent != intent_digest:
        words = f"{approval.approver} approved another intent"
        return Refusal(Code.APPROVAL_INVALID, words, field="approval.intent")
    return approval


def _stale(approval: Approval, words: str) -> Refusal:
    return Refusal(Code.APPROVALS_STALE, f"the approval of {approval.approver} {words}")
