"""What a refusal that may pass waits for, and until when asking again is of no use."""

from custody.domain.states import Waiting
from policies.codes import Code, Refusal

SECONDS = 1.0
_FOR = {
    Code.WINDOW_EXCEEDED: Waiting.WINDOW,
    Code.RECALL_EXCEEDED: Waiting.RECALL,
    Code.HOURS_CLOSED: Waiting.HOURS,
    Code.COOLING: Waiting.COOLING,
    Code.DELAY: Waiting.DELAY,
    Code.NONCE_USED: Waiting.NONCE,
    Code.WALLET_DISABLED: Waiting.POLICY,
    Code.LEASE_MISSING: Waiting.LEASE,
    Code.FROZEN: Waiting.FROZEN,
}


def waiting_for(code: Code) -> Waiting:
    """Return what a withdrawal with this refusal waits for."""
    return _FOR.get(code, Waiting.SIGNER)


def pause(refusal: Refusal, expires: int, now: int) -> float:
    """Return the seconds until it is asked again: not before it can succeed, nor after it expired.

    Times in Unix ms.
    """
    return max(SECONDS, (min(refusal.earliest, expires) - now) / 1000)
