"""Policy versions and vetoes: custody keeps what officers signed until the signer has decided.

Idempotent: the same file again is the same version, asked about at once; it may come with newer
signatures, since those of before can lapse while it waits for its delay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from custody.domain.audit import Kind
from custody.flows import checks
from custody.flows.parts import Parts, unix_ms
from custody.flows.signature import statement
from custody.store import audit, policy_versions, signers
from custody.store.database import Connection
from custody.store.policy_versions import Progress, VersionRow, VetoRow
from custody.store.signers import SignerRow
from kura.signer.v1 import signer_pb2 as wire
from policies.changes import open_policy, open_veto
from policies.codes import Code, Refusal
from policies.policy import BYTES_MAX, Policy
from policies.policy_file import parse_policy
from policies.statements import Change, Signed, decode, digest

OPEN_MAX = 16
NAME = "policyVersions/"


@dataclass(frozen=True, slots=True)
class Shown:
    """A version as custody has it, with whose vetoes the signer has."""

    row: VersionRow
    vetoed_by: tuple[str, ...]


async def create_policy_version(
    parts: Parts, file: bytes, changes: Sequence[Signed]
) -> Shown | Refusal:
    """Keep the version for the signer to be asked at once, or say why it cannot be one."""
    if len(file) > BYTES_MAX:
        words = f"a policy file has at most {BYTES_MAX} bytes"
        return Refusal(Code.POLICY_MALFORMED, words, field="policy")
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        if signer is None or not signer.policy:
            return checks.SIGNER_UNSEEN
        past = await policy_versions.get(connection, digest(file), lock=True)
        if past and past.state == Progress.APPLIED:
            return _shown(signer, past)
        if past and past.refusal_code == Code.POLICY_VETOED:
            return _said(past)
        in_force = parse_policy(signer.policy)
        if past is None and digest(file) == in_force.digest:
            seen = await signers.policies_seen(connection)
            before = [one for one in seen if digest(one) == in_force.previous]
            if not before:
                words = f"version {in_force.version} is in force already, and did not come this way"
                return Refusal(Code.POLICY_OUT_OF_ORDER, words, field="policy.previous")
            in_force = parse_policy(before[0])  # the watchtower was faster
        policy = open_policy(in_force, file, changes, unix_ms())
        if isinstance(policy, Refusal):
            return replace(policy, field=f"policy.{policy.field}") if policy.field else policy
        return await _put(connection, signer, policy, file, changes, past)


async def get_policy_version(parts: Parts, name: str) -> Shown | Refusal:
    """Return one version."""
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        row = await policy_versions.get(connection, name)
    return _shown(signer, row) if row else _not_found(name)


async def list_policy_versions(parts: Parts, before: int, size: int) -> list[Shown]:
    """Return a page of versions, newest first."""
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        rows = await policy_versions.page(connection, before, size)
    return [_shown(signer, row) for row in rows]


async def create_veto(parts: Parts, officer: str, change: str, signed: Signed) -> bool | Refusal:
    """Keep an officer's veto for the signer; True once it has it."""
    async with parts.database.transaction() as connection:
        signer = await signers.latest(connection)
        if signer is None or not signer.policy:
            return checks.SIGNER_UNSEEN
        row = await policy_versions.get(connection, change, lock=True)
        waits = change in {proposal.digest for proposal in signer.proposals}
        if row is None and not waits:
            return _not_found(change)
        if change == signer.policy_digest or (row and row.state == Progress.APPLIED):
            return Refusal(Code.TOO_LATE, "this version is in force: propose the next one")
        refusal = _refuse_veto(parse_policy(signer.policy), officer, change, signed)
        if refusal:
            return refusal
        past = await policy_versions.get_veto(connection, change, officer)
        if past and past.signed == signed:
            return _became(past)
        if past is None or past.state != Progress.APPLIED:
            await policy_versions.put_veto(connection, change, officer, signed)
            name, subject = digest(signed.statement), f"{NAME}{change}"
            await audit.record(
                connection, Kind.ORDER, "VETO", actor=officer, subject=subject, digest=name
            )
        return bool(past and past.state == Progress.APPLIED)


def _refuse_veto(policy: Policy, officer: str, change: str, signed: Signed) -> Refusal | None:
    veto = open_veto(policy, signed)
    if isinstance(veto, Refusal):
        return replace(veto, field=f"veto.{veto.field}".rstrip("."))
    if veto.person != officer:
        words = f"the certificate is {officer}'s, the veto {veto.person}'s"
        return Refusal(Code.VETO_INVALID, words, field="veto.person")
    if veto.change != change:
        return Refusal(Code.VETO_INVALID, "it is about another version", field="veto.change")
    return None


async def _put(  # noqa: PLR0913, PLR0917 - the version and what is known of it
    connection: Connection,
    signer: SignerRow,
    policy: Policy,
    file: bytes,
    changes: Sequence[Signed],
    past: VersionRow | None,
) -> Shown | Refusal:
    await policy_versions.one_at_a_time(connection)
    if past is None and await policy_versions.count_open(connection) >= OPEN_MAX:
        words = f"{OPEN_MAX} policy versions wait already: veto or activate one of them"
        return Refusal(Code.RATE_EXCEEDED, words)
    people = ",".join(decode(Change, item.statement).person for item in changes)
    frame = wire.PolicyVersion(file=file, changes=[statement(item) for item in changes])
    encoded = frame.SerializeToString(deterministic=True)
    await policy_versions.put(connection, policy.digest, policy.version, file, encoded, people)
    if past is None or past.changes != encoded:
        subject = f"{NAME}{policy.digest}"
        await audit.record(
            connection, Kind.ORDER, "POLICY", actor=people, subject=subject, digest=policy.digest
        )
    kept = await policy_versions.get(connection, policy.digest)
    if kept is None:
        raise AssertionError("a version that was kept is not there")
    return _shown(signer, kept)


def _became(veto: VetoRow) -> bool | Refusal:
    if veto.state == Progress.REFUSED:
        return Refusal(Code(veto.refusal_code), f"the signer refused it: {veto.refusal_message}")
    return veto.state == Progress.APPLIED


def _said(row: VersionRow) -> Refusal:
    return Refusal(Code(row.refusal_code), f"the signer refused it: {row.refusal_message}")


def _shown(signer: SignerRow | None, row: VersionRow) -> Shown:
    proposals = signer.proposals if signer else ()
    vetoes = [item.vetoed_by for item in proposals if item.digest == row.digest]
    return Shown(row, vetoes[0] if vetoes else ())


def _not_found(name: str) -> Refusal:
    return Refusal(Code.NOT_FOUND, f"there is no policy version {name}", field="name")
