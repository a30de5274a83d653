"""What the watchtower sees, and its state: from the same problems that stop leases."""

from dataclasses import dataclass

from custody.watchtower import freezes, signers, versions
from custody.watchtower.alarms import Alarms
from custody.watchtower.parts import Chain, Parts
from kura.watchtower.v1 import watchtower_pb2 as wire
from policies.freezes import ALL_WALLETS
from policies.statements import LEASE_MS

_AWAY = "no relay of it is connected: start custody serve relay and the signer"
_LIFT = "a quorum lifts it when the cause is known: custody freeze list, then lift"


@dataclass(frozen=True, slots=True)
class State:
    """RUNNING, PAUSED or FROZEN, and why."""

    name: str
    reason: str


def state_of(parts: Parts) -> State:
    """Return the state: FROZEN is left by a quorum alone, PAUSED by itself."""
    for audit_key in sorted(parts.audit_keys):
        signer = signers.find(parts.database, audit_key)
        if signer and signer.seen.lost:
            return State("FROZEN", signer.seen.lost)
    held = {freeze.digest: freeze for freeze in freezes.held(parts)}
    for freeze in held.values():
        what = "all wallets" if freeze.wallet == ALL_WALLETS else freeze.wallet
        words = f"{freeze.person} froze {what}" + f", one of {len(held)} freezes" * (len(held) > 1)
        return State("FROZEN", f"{words}: {_LIFT}")
    for audit_key in sorted(parts.audit_keys):
        if words := problem_of(parts, audit_key):
            return State("PAUSED", words)
    return State("RUNNING", "")


def problem_of(parts: Parts, audit_key: str) -> str:
    """Return why a signer has no lease; "" when it has one."""
    link = parts.links.get(audit_key)
    if link is None:
        return _AWAY
    return link.problem.words if link.problem else ""


def status(parts: Parts, chain: Chain, alarms: Alarms) -> wire.GetStatusResponse:
    """Return all that GetStatus tells."""
    state = state_of(parts)
    return wire.GetStatusResponse(
        state=state.name,
        reason=state.reason,
        signers=[_signer(parts, audit_key) for audit_key in sorted(parts.audit_keys)],
        nodes=chain.nodes(),
        wallets=chain.wallets(),
        freezes=_freezes(parts),
        alarms=alarms.newest(),
        proposals=[
            wire.Proposal(digest=item.digest, earliest_time=item.earliest, vetoed_by=item.vetoed_by)
            for item in versions.waiting(parts)
        ],
    )


def _signer(parts: Parts, audit_key: str) -> wire.Signer:
    link, known = parts.links.get(audit_key), signers.find(parts.database, audit_key)
    heard = link.hello if link and parts.clock() - link.heard <= LEASE_MS else None
    return wire.Signer(
        audit_key=audit_key,
        journal=heard.journal if heard else "",
        sequence=known.seen.sequence if known else 0,
        policy=known.policy if known else "",
        epoch=known.epoch if known else "",
        lease_until=link.lease_until if link else 0,
        problem=problem_of(parts, audit_key),
    )


def _freezes(parts: Parts) -> list[wire.Freeze]:
    held = freezes.held(parts)
    once = {freeze.digest: freeze for freeze in held}
    of = {name: [one for one in held if one.digest == name] for name in once}
    return [
        wire.Freeze(
            digest=name,
            wallet=one.wallet,
            person=one.person,
            applied=all(each.applied for each in of[name]),
            audit_keys=sorted(each.audit_key for each in of[name]),
        )
        for name, one in once.items()
    ]
