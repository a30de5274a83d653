"""Custody as an attacker runs it: `custody` with its own checks switched off.

    python tests/attacks/unchecked_custody.py serve api --settings api.toml

It takes and passes on any approval without looking at its signature, and calls everything approved
that carries one. What then still refuses is the signer. No setting of the product can do this.
"""

import sys
from collections.abc import Sequence

from custody.flows import checks
from custody.main import main
from custody.store.database import Connection
from policies.codes import Refusal
from policies.evaluate import Allowed
from policies.policy import Policy
from policies.statements import Approval, Intent, Signed, decode

honest = checks.verdict


async def verdict(
    connection: Connection, policy: Policy, signed: Signed, approvals: Sequence[Signed], now: int
) -> Allowed | Refusal:
    if approvals:
        return Allowed("none was checked", (), 0)
    return await honest(connection, policy, signed, approvals, now)


async def open_decision(
    connection: Connection, intent: Intent, intent_digest: str, signed: Signed, now: int
) -> Approval | Refusal:
    return decode(Approval, signed.statement)


def genuine(policy: Policy, intent_digest: str, stored: Sequence[Signed], now: int) -> list[Signed]:
    return list(stored)


if __name__ == "__main__":
    checks.genuine = genuine
    checks.verdict = verdict
    checks.open_decision = open_decision
    sys.exit(main())
