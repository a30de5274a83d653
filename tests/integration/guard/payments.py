"""New payments, one after the other: each with an id and a nonce value of its own."""

import itertools
from typing import Any

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Intent
from tests.factories import HOUR, SOL, make_approval, make_intent, public
from tests.signing import SignerRig, transfer

FEE = 5_000  # of a transfer without a tip
SMALL = SOL // 10
PARTNER: dict[str, Any] = {"requester": "partner", "key": public("partner")}
_numbers = itertools.count(1)


def intend(rig: SignerRig, amount: int = SMALL, **changes: Any) -> Intent:
    """Return a new intent, made now for an hour."""
    number = next(_numbers)
    times = {"created": rig.now, "expires": rig.now + HOUR}
    return make_intent(**{"request_id": f"r-{number}", "amount": amount, **times} | changes)


def job_of(rig: SignerRig, intent: Intent, *people: str, **chain: Any) -> wire.Job:
    """Return the job to pay it, with approvals of people and services, on a nonce value of its own.

    `chain`: fee and nonce, where they matter.
    """
    approvals = [
        make_approval(rig.policy, intent, person, expires=rig.now + HOUR) for person in people
    ]
    value = intent.request_id.encode().rjust(32)
    return transfer(intent, *approvals, **{"nonce_value": value} | chain)


def ask(rig: SignerRig, amount: int = SMALL, *people: str, **changes: Any) -> wire.Result:
    """Ask for a new payment."""
    chain = {name: changes.pop(name) for name in ("unit_limit", "unit_price") if name in changes}
    return rig.ask(job_of(rig, intend(rig, amount, **changes), *people, **chain))


def pay(rig: SignerRig, amount: int = SMALL, *people: str, **changes: Any) -> None:
    """Ask for a new payment, which must be signed."""
    result = ask(rig, amount, *people, **changes)
    assert result.WhichOneof("outcome") == "signed", result


def code_of(result: wire.Result) -> Code:
    """Return the code of a result that must be a refusal, with words."""
    assert result.refusal.message, result
    return Code(result.refusal.code)


def full(result: wire.Result, scope: str = "wallet") -> int:
    """Return until when it waits for this window, which must be what it waits for."""
    assert code_of(result) is Code.WINDOW_EXCEEDED, result
    assert result.refusal.rule == f"wallets.hot-sol.windows.{scope}"
    assert result.refusal.message.startswith(f"{scope} window: ")
    return int(result.refusal.earliest_time)
