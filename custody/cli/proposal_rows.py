"""Policy versions on their way into force, as custody, signer and watchtower say it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from custody.cli.output import clipped, utc
from kura.custody.v1 import custody_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies.codes import Code

NAME = "policyVersions/"
HEAD = ("VERSION", "STATE", "COMES INTO FORCE", "SIGNED BY", "VETOED BY", "DIGEST")


@dataclass(frozen=True, slots=True)
class Versions:
    """What custody knows: versions that came its way, and those that wait in the signer."""

    known: Sequence[wire.PolicyVersion]
    in_signer: Sequence[wire.PolicyProposal]


def proposal_rows(
    versions: Versions | None, watched: Iterable[tower.Proposal]
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each version. The watchtower's time counts; another is an estimate."""
    theirs = {NAME + item.digest: item for item in watched}
    shown = set[str]()
    for version in versions.known if versions else ():
        shown.add(version.name)
        yield _row(version, theirs.get(version.name))
    for bare in versions.in_signer if versions else ():
        if bare.name not in shown:
            shown.add(bare.name)
            yield _bare(bare, theirs.get(bare.name))
    for name, item in theirs.items():
        if name not in shown:
            vetoes = clipped(people(item.vetoed_by))
            yield "?", "only the watchtower has it", _at(item), "", vetoes, clipped(item.digest)


def people(names: Iterable[str]) -> str:
    """Return each once: who signed twice still takes one seat."""
    return ", ".join(dict.fromkeys(names))


def state(shown: wire.PolicyVersion) -> str:
    """Return how far custody says that a version is."""
    code = shown.refusal.code
    refused = f": {code}" if code and code != Code.POLICY_DELAYED else ""
    try:
        name = wire.PolicyVersionState.Name(shown.state)
    except ValueError:
        return f"state {shown.state}"
    return name.removeprefix("POLICY_VERSION_STATE_").lower() + clipped(refused)


def _row(shown: wire.PolicyVersion, watched: tower.Proposal | None) -> tuple[str, ...]:
    estimate = shown.earliest_time.ToMilliseconds() if shown.HasField("earliest_time") else None
    waits = shown.state == wire.POLICY_VERSION_STATE_DELAYED
    when = _at(watched) if watched and waits else _estimate(estimate)
    vetoes = people((*shown.vetoed_by, *(watched.vetoed_by if watched else ())))
    signed = clipped(people(shown.signed_by))
    digest = clipped(shown.name.removeprefix(NAME))
    return clipped(shown.version), state(shown), when, signed, clipped(vetoes), digest


def _bare(shown: wire.PolicyProposal, watched: tower.Proposal | None) -> tuple[str, ...]:
    """Return the row of a version of which custody has no file, such as after a restore."""
    when = _at(watched) if watched else _estimate(shown.earliest_time.ToMilliseconds())
    vetoes = people((*shown.vetoed_by, *(watched.vetoed_by if watched else ())))
    return "?", "only the signer has it", when, "", clipped(vetoes), shown.name.removeprefix(NAME)


def _at(watched: tower.Proposal) -> str:
    return utc(watched.earliest_time)


def _estimate(earliest: int | None) -> str:
    return "" if earliest is None else utc(earliest)
