"""Versions that only tighten, on the watchtower's disk: until when their signer is to take them."""

from typing import Any

import pytest

from custody.gateway import Gateway
from custody.watchtower import versions
from custody.watchtower.alarms import Alarms
from custody.watchtower.parts import Link
from custody.watchtower.service import Service
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies.codes import Code
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Signed, digest
from tests.factories import HOUR, NOW, policy_file, public
from tests.unit import test_watchtower_orders as orders
from tests.unit.test_watchtower_orders import (
    AUDIT,
    FILE,
    POLICY,
    House,
    changes_of,
    code_of,
    recover,
    veto,
)

house = orders.house
TIGHT = policy_file(version=2, previous=POLICY.digest, cap="45 SOL")
TIGHTER = policy_file(version=2, previous=POLICY.digest, cap="40 SOL")
LOOSE = policy_file(version=2, previous=POLICY.digest, cap="60 SOL")
FAR_AUDIT = public("audit of hot-far")


def propose(house: House, file: bytes = TIGHT, **changes: Any) -> versions.Proposal:
    known = versions.propose(house.parts, file, changes_of(file, "alice", "carol", **changes))
    assert isinstance(known, versions.Proposal), known
    return known


def waiting(house: House, audit_key: str = AUDIT) -> list[str]:
    return [known.digest for known, _ in versions.pending(house.parts, audit_key)]


def expiry(house: House) -> int:
    """Return when the first of the signatures that are kept lapses."""
    rows = house.parts.database.rows("SELECT expires FROM tightening")
    return int(rows[0][0])


def test_it_waits_over_a_restart_until_the_signer_has_another_policy(house: House) -> None:
    propose(house)
    house.restart()
    assert waiting(house) == [digest(TIGHT)]
    [(_, job)] = versions.pending(house.parts, AUDIT)
    version = version_of(job)
    assert version.file == TIGHT
    signed = [Signed(item.statement, item.signature) for item in version.changes]
    assert signed == changes_of(TIGHT, "alice", "carol")
    assert not version.HasField("elapsed")
    house.parts.policies[AUDIT] = parse_policy(TIGHT)
    assert waiting(house) == []
    assert versions.propose(house.parts, TIGHT, changes_of(TIGHT, "alice", "carol")) is None


def test_what_waits_is_read_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file takes half a second in the event loop: each round, and whoever asks for all."""
    file, read = policy_file(version=2, previous=POLICY.digest, cap="44 SOL"), list[bytes]()

    def reading(data: bytes) -> Policy:
        read.append(data)
        return parse_policy(data)

    monkeypatch.setattr(versions, "parse_policy", reading)
    propose(house, file)
    for _ in range(3):
        assert waiting(house) == [known.digest for known in versions.waiting(house.parts)]
    assert read == [file]


def test_one_that_loosens_waits_for_its_delay_alone(house: House) -> None:
    assert propose(house, LOOSE).earliest == NOW + POLICY.change_delay
    assert waiting(house) == []


def test_of_two_the_first_is_told_first_and_ends_the_other(house: House) -> None:
    propose(house, TIGHTER)
    house.now += 1
    propose(house)
    assert waiting(house) == [digest(TIGHTER), digest(TIGHT)]
    house.parts.policies[AUDIT] = parse_policy(TIGHTER)
    assert waiting(house) == []


def test_signatures_that_lapse_soon_hold_no_lease_back_and_newer_ones_do(house: House) -> None:
    """The signer's clock may be ahead: it would refuse them."""
    propose(house)
    house.now = NOW + HOUR - LEASE_MS - 1
    assert waiting(house) == [digest(TIGHT)]
    house.now += 1
    assert waiting(house) == []
    propose(house, expires=NOW + 2 * HOUR)
    assert waiting(house) == [digest(TIGHT)]
    propose(house)  # custody hands the older ones in again
    assert expiry(house) == NOW + 2 * HOUR
    [(_, job)] = versions.pending(house.parts, AUDIT)
    newer = changes_of(TIGHT, "alice", "carol", expires=NOW + 2 * HOUR)
    assert [item.statement for item in version_of(job).changes] == [
        change.statement for change in newer
    ]


def test_it_holds_only_as_long_as_the_first_of_its_signatures(house: House) -> None:
    """The signer refuses all when one has lapsed."""
    late = changes_of(TIGHT, "alice", expires=NOW + 2 * HOUR)
    both = [*late, *changes_of(TIGHT, "carol", expires=NOW + HOUR)]
    assert isinstance(versions.propose(house.parts, TIGHT, both), versions.Proposal)
    assert expiry(house) == NOW + HOUR


def test_what_no_quorum_signed_replaces_nothing(house: House) -> None:
    propose(house)
    later = {"expires": NOW + 5 * HOUR}
    forged = [Signed(one.statement, bytes(64)) for one in changes_of(TIGHT, "carol", **later)]
    for changes in (
        changes_of(TIGHT, "alice", **later),
        changes_of(TIGHTER, "alice", "carol", **later),
        [*changes_of(TIGHT, "alice", **later), *forged],
    ):
        assert isinstance(versions.propose(house.parts, TIGHT, changes), versions.Proposal)
        assert expiry(house) == NOW + HOUR


def test_a_vetoed_one_is_told_last_and_counts_as_vetoed_but_not_by_whom_it_removes(
    house: House,
) -> None:
    propose(house)
    house.now += 1
    propose(house, removal := without_carol())
    for version in (TIGHT, removal):
        assert isinstance(versions.veto(house.parts, veto("carol", version)), tuple)
    assert code_of(versions.propose(house.parts, TIGHT, [])) is Code.POLICY_VETOED
    assert [
        (known.digest, known.vetoed_by) for known, _ in versions.pending(house.parts, AUDIT)
    ] == [
        (digest(removal), ()),
        (digest(TIGHT), ("carol",)),
    ]


def test_one_that_another_signer_has_in_force_is_kept_for_the_one_that_has_it_not(
    house: House,
) -> None:
    """Custody brought it to one of two before officers could hand it in."""
    house.parts.policies[FAR_AUDIT] = parse_policy(TIGHT)
    propose(house)
    assert (waiting(house), waiting(house, FAR_AUDIT)) == ([digest(TIGHT)], [])
    house.parts.policies[AUDIT] = parse_policy(TIGHT)
    assert versions.propose(house.parts, TIGHT, changes_of(TIGHT, "alice", "carol")) is None


async def test_a_recovered_journal_is_told_again(house: House) -> None:
    """It may begin with the policy of before, whatever the lost one had."""
    propose(house)
    assert await recover(house) is None
    house.hear(journal="f0" * 16)
    assert waiting(house) == [digest(TIGHT)]


async def test_links_are_woken_by_one_that_tightens_alone(house: House) -> None:
    link = house.parts.links[AUDIT] = Link(Gateway(), audit_key=AUDIT)
    service = Service(house.parts, house, Alarms(house.parts.database, lambda: house.now))
    for file, wakes in ((LOOSE, False), (TIGHT, True)):
        changes = [
            tower.SignedStatement(statement=one.statement, signature=one.signature)
            for one in changes_of(file, "alice", "carol")
        ]
        request = tower.CreatePolicyVersionRequest(file=file, changes=changes)
        answer = await Service.CreatePolicyVersion.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert answer.earliest_time == NOW + POLICY.change_delay
        assert link.wake.is_set() is wakes


def without_carol() -> bytes:
    text = FILE.decode()
    start = text.index("[people.carol]")
    text = text[:start] + text[text.index("[groups.operations]") :]
    text = text.replace('members = ["bob", "carol"]', 'members = ["bob"]')
    before = 'version = 1\nprevious = ""'
    assert before in text
    return text.replace(before, f'version = 2\nprevious = "{POLICY.digest}"').encode()


def version_of(job: bytes) -> wire.PolicyVersion:
    return wire.Job.FromString(job).apply.policy
