"""Freezes and what lifts them: custody keeps what officers signed until the signer has decided.

Officers send the same bytes to the watchtower too, so that custody cannot hide them. What is in
force is the signer's word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from custody.domain.audit import Kind
from custody.flows import checks
from custody.flows.parts import Parts, unix_ms
from custody.flows.signature import statement
from custody.store import audit, freezes, signers
from custody.store.database import Connection
from custody.store.freezes import OrderRow
from custody.store.policy_versions import Progress
from custody.store.signers import Frozen, SignerRow
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.freezes import epoch_after, open_freeze, open_unfreeze
from policies.policy_file import parse_policy
from policies.statements import Freeze, Signed, StatementError, Unfreeze, decode, digest

NAME = "freezes/"


@dataclass(frozen=True, slots=True)
class ShownFreeze:
    """A freeze as custody knows it: in force in the signer, or on its way there."""

    digest: str
    wallet: str
    person: str
    since: datetime
    applied: bool


@dataclass(frozen=True, slots=True)
class Lifted:
    """`applied` once the signer has lifted them; `epoch` begins then."""

    applied: bool
    epoch: str


async def create_freeze(parts: Parts, officer: str, signed: Signed) -> ShownFreeze | Refusal:
    """Keep an officer's freeze for the signer; `applied` once it has it."""
    name = digest(signed.statement)
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        if signer is None or not signer.policy:
            return checks.SIGNER_UNSEEN
        for frozen in signer.freezes:
            if frozen.digest == name:
                return in_force(frozen)
        past = await freezes.get(connection, name, lock=True)
        if past:
            return _said(past) or _on_its_way(past)
        freeze = open_freeze(parse_policy(signer.policy), signed, signer.epoch)
        if isinstance(freeze, Refusal):
            return replace(freeze, field=f"freeze.{freeze.field}".rstrip("."))
        if freeze.person != officer:
            words = f"the certificate is {officer}'s, the freeze {freeze.person}'s"
            return Refusal(Code.FREEZE_INVALID, words, field="freeze.person")
        return await _keep(connection, name, freeze, signed)


async def _keep(connection: Connection, name: str, freeze: Freeze, signed: Signed) -> ShownFreeze:
    apply = wire.Apply(freeze=statement(signed)).SerializeToString(deterministic=True)
    await freezes.put(connection, name, freeze.wallet, freeze.person, apply)
    await audit.record(
        connection,
        Kind.ORDER,
        "FREEZE",
        actor=freeze.person,
        subject=f"{NAME}{name}",
        digest=name,
        wallet=freeze.wallet,
    )
    now = datetime.fromtimestamp(unix_ms() / 1000, UTC)
    return ShownFreeze(name, freeze.wallet, freeze.person, now, applied=False)


async def lift_freezes(parts: Parts, orders: Sequence[Signed]) -> Lifted | Refusal:
    """Keep for the signer what a quorum lifts, or say what became of the same list before."""
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        if signer is None or not signer.policy:
            return checks.SIGNER_UNSEEN
        name = _named(orders)
        past = await freezes.get(connection, name, lock=True) if name else None
        if name and (signer.epoch == name or (past and past.state == Progress.APPLIED)):
            return Lifted(applied=True, epoch=name)
        lifts = wire.Unfreeze(orders=map(statement, orders))
        apply = wire.Apply(unfreeze=lifts).SerializeToString(deterministic=True)
        if past and past.apply == apply:
            return _said(past) or Lifted(applied=False, epoch=name)
        named = open_unfreeze(parse_policy(signer.policy), orders, signer.epoch, unix_ms())
        if isinstance(named, Refusal):
            return replace(named, field=f"orders.{named.field}") if named.field else named
        if missing := set(named) - {frozen.digest for frozen in signer.freezes}:
            words = f"no freeze {min(missing)} is in force"
            return Refusal(Code.UNFREEZE_INVALID, words, field="orders.freezes")
        people = ",".join(decode(Unfreeze, item.statement).person for item in orders)
        await freezes.put(connection, name, "", people, apply)
        await audit.record(
            connection, Kind.ORDER, "UNFREEZE", actor=people, subject=f"epochs/{name}", digest=name
        )
        return Lifted(applied=False, epoch=name)


async def list_freezes(parts: Parts) -> tuple[list[ShownFreeze], str] | Refusal:
    """Return the freezes in force and those on their way, oldest first, and the epoch."""
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        if signer is None or not signer.policy:
            return checks.SIGNER_UNSEEN
        waiting = await freezes.on_their_way(connection)
    applied = {frozen.digest for frozen in signer.freezes}
    found = [in_force(frozen) for frozen in signer.freezes]
    found += [_on_its_way(row) for row in waiting if row.digest not in applied]
    return sorted(found, key=lambda item: (item.since, item.digest)), signer.epoch


def frozen_now(said: Sequence[wire.Freeze], before: SignerRow | None) -> tuple[Frozen, ...]:
    """Return the freezes that the signer names, each with when custody first saw it there."""
    known = {frozen.digest: frozen for frozen in before.freezes} if before else {}
    new = [Frozen(item.digest, item.wallet, item.person, unix_ms()) for item in said]
    return tuple(known.get(item.digest, item) for item in new)


async def note_changes(connection: Connection, before: SignerRow | None, row: SignerRow) -> bool:
    """Note what was frozen and lifted in the signer, whoever told it; tell if anything was."""
    await freezes.applied(connection, [row.epoch, *(frozen.digest for frozen in row.freezes)])
    was = {frozen.digest: frozen for frozen in before.freezes} if before else {}
    now = {frozen.digest: frozen for frozen in row.freezes}
    for event, gone in (("FROZEN", now.keys() - was.keys()), ("LIFTED", was.keys() - now.keys())):
        for name in sorted(gone):
            frozen = (now if event == "FROZEN" else was)[name]
            await audit.record(
                connection,
                Kind.CONFIGURATION,
                event,
                actor="signer",
                subject=f"{NAME}{name}",
                wallet=frozen.wallet,
                person=frozen.person,
                signer=row.audit_key,
            )
    return was.keys() != now.keys()


def _named(orders: Sequence[Signed]) -> str:
    """Return the epoch that these begin, by the first of them; "" when it is no order."""
    try:
        first = decode(Unfreeze, orders[0].statement)
    except (StatementError, IndexError):
        return ""
    return epoch_after(first.epoch, first.freezes)


def in_force(frozen: Frozen) -> ShownFreeze:
    """Return a freeze that the signer has."""
    since = datetime.fromtimestamp(frozen.since / 1000, UTC)
    return ShownFreeze(frozen.digest, frozen.wallet, frozen.person, since, applied=True)


def _on_its_way(row: OrderRow) -> ShownFreeze:
    applied = row.state == Progress.APPLIED
    return ShownFreeze(row.digest, row.wallet, row.people, row.create_time, applied)


def _said(row: OrderRow) -> Refusal | None:
    if row.state != Progress.REFUSED:
        return None
    return Refusal(Code(row.refusal_code), f"the signer refused it: {row.refusal_message}")
