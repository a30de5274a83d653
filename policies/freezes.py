"""Freezes and what clears them: who signed, and for which epoch.

An epoch is the time between two unfreezes. A freeze or unfreeze names the one in which it was
signed, so none of an earlier one can be played again. One officer freezes; the quorum that changes
the policy unfreezes.
"""

from collections.abc import Iterable, Sequence

from policies import canonical
from policies.codes import Code, Refusal
from policies.policy import Policy
from policies.quorum import missing
from policies.statements import (
    Freeze,
    Signed,
    StatementError,
    Unfreeze,
    decode,
    digest,
    verify,
)

ALL_WALLETS = "*"
WATCHTOWER = "watchtower"  # in the person's place of a freeze for a proven theft
SIGNATURES_MAX = 64


def open_freeze(policy: Policy, signed: Signed, epoch: str) -> Freeze | Refusal:
    """Return the freeze, when one of the people in force signed it in this epoch."""
    try:
        freeze = decode(Freeze, signed.statement)
    except StatementError as error:
        return Refusal(Code.FREEZE_INVALID, str(error), field=error.field)
    if freeze.key not in policy.people.get(freeze.person, ()) or not verify(freeze.key, signed):
        words = f"the signature is not {freeze.person}'s"
        return Refusal(Code.FREEZE_INVALID, words, field="key")
    if freeze.wallet != ALL_WALLETS and freeze.wallet not in policy.wallets:
        words = f"no wallet is called {freeze.wallet}: there is {', '.join(policy.wallets)}"
        return Refusal(Code.FREEZE_INVALID, words, field="wallet")
    return refuse_epoch(freeze.epoch, epoch) or freeze


def open_unfreeze(
    policy: Policy, signed: Sequence[Signed], epoch: str, now: int
) -> tuple[str, ...] | Refusal:
    """Return the digests of the freezes that a quorum clears, all of them signing the same list."""
    if not 0 < len(signed) <= SIGNATURES_MAX:
        words = f"1 to {SIGNATURES_MAX} signatures clear a freeze"
        return Refusal(Code.UNFREEZE_INVALID, words)
    freezes: tuple[str, ...] = ()
    people: dict[str, None] = {}
    for item in signed:
        try:
            unfreeze = decode(Unfreeze, item.statement)
        except StatementError as error:
            return Refusal(Code.UNFREEZE_INVALID, str(error), field=error.field)
        who = unfreeze.person
        if unfreeze.key not in policy.people.get(who, ()) or not verify(unfreeze.key, item):
            return Refusal(Code.UNFREEZE_INVALID, f"the signature is not {who}'s", field="key")
        if refusal := refuse_epoch(unfreeze.epoch, epoch):
            return refusal
        if unfreeze.expires <= now:
            words = f"the signature of {who} has expired"
            return Refusal(Code.UNFREEZE_INVALID, words, field="expires")
        if unfreeze.freezes != (freezes or unfreeze.freezes):
            words = f"{who} signed for other freezes"
            return Refusal(Code.UNFREEZE_INVALID, words, field="freezes")
        freezes, people[who] = unfreeze.freezes, None
    if empty := missing(policy.policy_quorum, policy.groups, list(people)):
        words = "still needs " + " and ".join(str(seats) for seats in empty)
        return Refusal(Code.QUORUM_MISSING, words, rule="change_quorum.policy")
    return freezes


def epoch_after(epoch: str, freezes: Sequence[str]) -> str:
    """Return the epoch that an unfreeze of these freezes begins, whoever of the quorum signed."""
    value: canonical.Value = {
        "kind": "kura.epoch.v1",
        "epoch": epoch,
        "freezes": [*sorted(freezes)],
    }
    return digest(canonical.encode(value))


def digest_of(freezes: Iterable[tuple[str, str, str]]) -> str:
    """Return the digest of the freezes that stand, each (digest, wallet, person), in any order."""
    return digest(canonical.encode([[*freeze] for freeze in sorted(freezes)]))


def refuse_epoch(named: str, epoch: str) -> Refusal | None:
    """Return why what names an epoch is void in this one, or None."""
    if named == epoch:
        return None
    words = f"it names epoch {named or 'none'}, now it is {epoch or 'none'}: freezes were lifted"
    return Refusal(Code.EPOCH_PASSED, words, field="epoch")
