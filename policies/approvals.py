"""Opens signed approvals: whose they are, and whether they speak about this intent and this policy.

A forged, foreign or malformed approval refuses the whole job, since somebody made it on purpose; an
approval that is only out of date asks the approvers again.
"""

from collections.abc import Sequence

from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.statements import Approval, Signed, StatementError, decode, verify

APPROVALS_MAX = 64
REJECTIONS_MAX = 1_024  # that signer and watchtower keep of one approver


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
    stale = (_refuse_stale(policy, approval, now) for approval in opened)
    return next(filter(None, stale), None) or tuple(opened)


def open_approval(policy: Policy, intent_digest: str, signed: Signed) -> Approval | Refusal:
    """Return one approval of this intent, signed by the person or service it names."""
    approval = _open(policy, signed)
    if isinstance(approval, Refusal) or approval.intent == intent_digest:
        return approval
    words = f"{approval.approver} approved another intent"
    return Refusal(Code.APPROVAL_INVALID, words, field="approval.intent")


def open_rejection(policy: Policy, signed: Signed, now: int) -> Approval | Refusal:
    """Return one rejection that holds now, whatever intent it is of."""
    approval = _open(policy, signed)
    if isinstance(approval, Refusal):
        return approval
    if approval.decision != "reject":
        words = f"{approval.approver} did not reject"
        return Refusal(Code.APPROVAL_INVALID, words, field="approval.decision")
    return _refuse_stale(policy, approval, now) or approval


def _open(policy: Policy, signed: Signed) -> Approval | Refusal:
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
    return approval


def _refuse_stale(policy: Policy, approval: Approval, now: int) -> Refusal | None:
    words = "has expired" if approval.expires <= now else ""
    if approval.policy != policy.digest:
        words = "is for another version of the policy"
    whose = f"the approval of {approval.approver}"
    return Refusal(Code.APPROVALS_STALE, f"{whose} {words}") if words else None
