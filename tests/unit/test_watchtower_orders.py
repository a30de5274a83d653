"""Orders on the watchtower's disk: who may give them, played again, told twice, and restarts.

The signer is the rows that a round would write of it; see the process's tests for a real one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from custody.gateway import Gateway
from custody.keys import SigningKey, load_key
from custody.watchtower import freezes, recoveries, signers, versions
from custody.watchtower.alarms import Alarms
from custody.watchtower.database import Database, DatabaseError
from custody.watchtower.parts import Link, Parts
from custody.watchtower.rules import Seen
from custody.watchtower.schema import SCHEMA
from custody.watchtower.service import Service
from custody.watchtower.status import _freezes, state_of
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies.codes import Code, Refusal
from policies.freezes import WATCHTOWER, epoch_after
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import Elapsed, Signed, Veto, decode, digest, encode, verify
from tests.factories import (
    HOUR,
    NOW,
    key,
    make_change,
    make_freeze,
    make_hello,
    make_recover,
    make_unfreeze,
    policy_file,
    public,
    sign,
)
from tests.integration.tower import write_key

FILE = policy_file()
POLICY = parse_policy(FILE)
AUDIT = public("audit")


@dataclass
class House:
    """A watchtower's parts that can be stopped and started, and the time."""

    folder: Path
    now: int = NOW
    audit_keys: frozenset[str] = frozenset({AUDIT})
    nonces: Mapping[str, str] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        write_key(self.folder / "key.pem", "watchtower")
        self.start()

    def start(self) -> None:
        database = Database(self.folder / "watchtower.sqlite", SCHEMA)
        self.parts = Parts(
            self._key(),
            self.audit_keys,
            database,
            lambda kind, *_, **__: self.alarms.append(kind),
            lambda: self.now,
            policies=signers.policies(database),
        )

    def restart(self) -> None:
        self.parts.database.close()
        self.start()

    def hear(self, *told: wire.Freeze, **changes: Any) -> None:
        """Note what a round would: HELLO and the freezes of STATUS."""
        hello = make_hello(POLICY, **changes)
        with self.parts.database.transaction() as db:
            signers.keep_policy(db, POLICY, FILE)
            signers.note(db, hello)
            freezes.compare(db, AUDIT, hello.epoch, told)
        self.parts.policies[AUDIT] = POLICY

    def epoch(self) -> str:
        signer = signers.find(self.parts.database, AUDIT)
        assert signer
        return signer.epoch

    def waiting(self) -> list[str]:
        return [name for name, _ in freezes.pending(self.parts, AUDIT)]

    async def nonce_values(self, policy: Policy, audit_key: str) -> Mapping[str, str]:
        return self.nonces

    def problem(self, audit_key: str) -> str:
        return ""

    def nodes(self) -> Sequence[Any]:
        return ()

    def wallets(self) -> Sequence[Any]:
        return ()

    def _key(self) -> SigningKey:
        return load_key(self.folder / "key.pem", bytes)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.hear()
    yield made
    made.parts.database.close()


def freeze(person: str = "alice", **changes: Any) -> Signed:
    return sign(key(person), make_freeze(person, **changes))


def lift(*orders: Signed, **changes: Any) -> list[Signed]:
    names = [digest(order.statement) for order in orders]
    return [sign(key(who), make_unfreeze(who, *names, **changes)) for who in ("alice", "carol")]


def told(order: Signed, wallet: str = "*", person: str = "alice") -> wire.Freeze:
    return wire.Freeze(digest=digest(order.statement), wallet=wallet, person=person)


def code_of(answer: object) -> Code:
    assert isinstance(answer, Refusal), answer
    return answer.code


def test_before_any_signer_was_heard_of_nothing_is_taken(tmp_path: Path) -> None:
    house = House(tmp_path)
    version = policy_file(version=2, previous=POLICY.digest)
    answers: list[object] = [
        freezes.freeze(house.parts, freeze()),
        freezes.lift(house.parts, lift(freeze())),
        versions.propose(house.parts, version, []),
        versions.veto(house.parts, veto("alice", version)),
    ]
    assert {code_of(answer) for answer in answers} == {Code.SIGNER_UNSEEN}
    house.parts.database.close()


def test_a_freeze_waits_over_a_restart_until_the_signer_has_it(house: House) -> None:
    order = freeze()
    assert freezes.freeze(house.parts, order) == [AUDIT]
    house.restart()
    assert house.waiting() == [digest(order.statement)]
    assert state_of(house.parts).name == "FROZEN"
    house.hear(told(order))
    assert house.waiting() == []
    assert state_of(house.parts).name == "FROZEN"


@pytest.mark.parametrize("by", ["watchtower", "custody"])
def test_a_freeze_waits_for_a_signer_that_was_never_heard_of(tmp_path: Path, by: str) -> None:
    """Or it would get leases when it comes, frozen as all is said to be."""
    other = public("other signer")
    house = House(tmp_path, audit_keys=frozenset({AUDIT, other}))
    house.hear()
    order = freeze()
    assert sorted(taken(freezes.freeze(house.parts, order))) == sorted([AUDIT, other])
    house.hear(told(order))
    (shown,) = _freezes(house.parts)
    assert (sorted(shown.audit_keys), shown.applied) == (sorted([AUDIT, other]), False)
    house.restart()
    assert [name for name, _ in freezes.pending(house.parts, other)] == [digest(order.statement)]
    if by == "custody":
        house.hear(epoch=epoch_after("", [digest(order.statement)]))
    assert freezes.lift(house.parts, lift(order)) == [AUDIT]
    assert freezes.held(house.parts) == []
    alone = freeze(wallet="hot-sol", epoch=house.epoch())
    assert freezes.freeze(house.parts, alone) == [AUDIT]
    house.parts.database.close()


def taken(answer: list[str] | Refusal) -> list[str]:
    assert isinstance(answer, list), answer
    return answer


def test_what_the_signer_no_longer_has_in_the_same_epoch_is_applied_again(house: House) -> None:
    order = freeze()
    freezes.freeze(house.parts, order)
    house.hear(told(order))
    assert house.waiting() == []
    house.hear()
    assert house.waiting() == [digest(order.statement)]


def test_what_a_quorum_lifted_through_custody_goes(house: House) -> None:
    order = freeze()
    freezes.freeze(house.parts, order)
    house.hear(told(order))
    later = epoch_after("", [digest(order.statement)])
    house.hear(epoch=later)
    assert freezes.held(house.parts) == []
    assert freezes.lift(house.parts, lift(order)) == [AUDIT]  # told twice
    assert freezes.pending_lifts(house.parts, AUDIT) == []
    assert code_of(freezes.freeze(house.parts, order)) is Code.EPOCH_PASSED


def test_a_freeze_that_never_arrived_outlives_its_epoch_until_it_is_lifted(house: House) -> None:
    lost, other = freeze("alice"), freeze("bob")
    freezes.freeze(house.parts, lost)
    house.hear(epoch=epoch_after("", [digest(other.statement)]))
    assert house.waiting() == [digest(lost.statement)]
    assert freezes.lift(house.parts, lift(lost)) == [AUDIT]
    assert freezes.held(house.parts) == []
    assert freezes.pending_lifts(house.parts, AUDIT) == []  # the signer never had it


def test_a_lift_waits_for_a_signer_that_is_away_and_the_freeze_is_not_given_back(
    house: House,
) -> None:
    order = freeze()
    freezes.freeze(house.parts, order)
    house.hear(told(order))
    assert freezes.lift(house.parts, lift(order)) == [AUDIT]
    house.restart()
    assert [epoch for epoch, _ in freezes.pending_lifts(house.parts, AUDIT)] == [""]
    assert house.waiting() == []
    house.hear(told(order))  # it has it still, and tells so
    assert state_of(house.parts).name == "FROZEN"
    house.hear(epoch=epoch_after("", [digest(order.statement)]))
    assert freezes.pending_lifts(house.parts, AUDIT) == []
    assert freezes.held(house.parts) == []


@pytest.mark.parametrize(
    ("orders", "code"),
    [
        ([], Code.UNFREEZE_INVALID),
        ([Signed(b"{}", bytes(64))], Code.UNFREEZE_INVALID),
        (lift(freeze())[:1], Code.QUORUM_MISSING),
        (lift(freeze())[:1] * 2, Code.QUORUM_MISSING),
        (lift(freeze(), expires=NOW), Code.UNFREEZE_INVALID),
        (lift(freeze(), epoch="ab" * 32), Code.EPOCH_PASSED),
        ([lift(freeze())[0], lift(freeze("bob"))[1]], Code.UNFREEZE_INVALID),
    ],
)
def test_lifts_that_are_none(house: House, orders: list[Signed], code: Code) -> None:
    order = freeze()
    freezes.freeze(house.parts, order)
    assert code_of(freezes.lift(house.parts, orders)) is code
    assert house.waiting() == [digest(order.statement)]


def test_a_theft_of_which_the_signer_tells_is_a_freeze_here(house: House) -> None:
    house.hear(wire.Freeze(digest="ab" * 32, wallet="*", person="watchtower"))
    house.hear()  # a relay that hides it again changes nothing
    assert [one.person for one in freezes.held(house.parts)] == ["watchtower"]
    assert house.waiting() == []


NEXT = policy_file(version=2, previous=POLICY.digest, change_delay="1 hour")


def changes_of(file: bytes, *people: str, **changes: Any) -> list[Signed]:
    of = {"previous": POLICY.digest, **changes}
    made = [make_change("policy", digest(file), person, **of) for person in people]
    return [sign(key(change.person), change) for change in made]


def veto(person: str, file: bytes = NEXT, by: str = "") -> Signed:
    order = Veto(key=public(person), person=person, change=digest(file))
    return sign(key(by or person), order)


def propose(house: House, file: bytes = NEXT) -> versions.Proposal:
    known = versions.propose(house.parts, file, changes_of(file, "alice", "carol"))
    assert isinstance(known, versions.Proposal), known
    return known


def test_the_delay_counts_from_the_first_sight_alone(house: House) -> None:
    known = propose(house)
    assert known.earliest == NOW + POLICY.change_delay
    house.now += HOUR  # its signatures have expired
    house.restart()
    assert versions.propose(house.parts, NEXT, []) == known
    house.now = known.earliest - 1
    assert versions.elapsed(house.parts, known) is None
    house.now = known.earliest
    word = versions.elapsed(house.parts, known)
    assert word
    assert verify(public("watchtower"), word)
    said = decode(Elapsed, word.statement)
    assert (said.change, said.time) == (digest(NEXT), known.earliest)


def test_a_clock_that_was_put_back_makes_no_delay_shorter(house: House) -> None:
    """Until it is right again: a bribed quorum's version had been here for days by then."""
    with house.parts.database.transaction() as db:
        signers.agree(db, NOW)  # a signer took a lease, so its clock said so too
        signers.agree(db, NOW - HOUR)
    house.restart()
    house.now = NOW - 2 * POLICY.change_delay
    changes = changes_of(NEXT, "alice", "carol")
    known = versions.propose(house.parts, NEXT, changes)
    assert isinstance(known, versions.Proposal), known
    house.now = NOW
    assert versions.elapsed(house.parts, known) is None
    assert known.earliest == NOW + POLICY.change_delay


def test_a_version_without_its_quorum_does_not_begin_to_wait(house: House) -> None:
    unsigned = versions.propose(house.parts, NEXT, changes_of(NEXT, "alice"))
    assert code_of(unsigned) is Code.QUORUM_MISSING
    far = policy_file(version=3, previous=digest(NEXT))
    signed = changes_of(far, "alice", "carol", previous=digest(NEXT))
    assert code_of(versions.propose(house.parts, far, signed)) is Code.POLICY_OUT_OF_ORDER
    assert versions.waiting(house.parts) == []
    house.now += HOUR - 1
    assert propose(house).earliest == house.now + POLICY.change_delay


@pytest.mark.parametrize("first", ["version", "veto"])
def test_a_vetoed_version_never_elapses(house: House, first: str) -> None:
    known = propose(house) if first == "version" else None
    assert isinstance(versions.veto(house.parts, veto("bob")), tuple)
    house.restart()
    signed = changes_of(NEXT, "alice", "carol")
    assert code_of(versions.propose(house.parts, NEXT, signed)) is Code.POLICY_VETOED
    house.now += POLICY.change_delay
    assert code_of(versions.propose(house.parts, NEXT, [])) is Code.POLICY_VETOED
    vetoed = replace(known, vetoed_by=("bob",)) if known else None
    assert vetoed is None or versions.elapsed(house.parts, vetoed) is None
    assert versions.waiting(house.parts)[0].vetoed_by == ("bob",)


def test_whom_a_version_removes_cannot_stop_it(house: House) -> None:
    text = NEXT.decode()
    start = text.index("[people.carol]")
    text = text[:start] + text[text.index("[groups.operations]") :]
    file = text.replace('members = ["bob", "carol"]', 'members = ["bob"]').encode()
    assert isinstance(versions.veto(house.parts, veto("carol", file)), tuple)
    assert propose(house, file).vetoed_by == ()


def test_a_forged_veto_and_a_stranger_s(house: House) -> None:
    for order in (veto("bob", by="mallory"), veto("mallory"), Signed(b"{}", bytes(64))):
        assert code_of(versions.veto(house.parts, order)) is Code.VETO_INVALID
    assert propose(house).vetoed_by == ()


async def test_a_veto_played_again_wakes_nobody(house: House) -> None:
    link = house.parts.links[AUDIT] = Link(Gateway())
    order = veto("bob")
    request = tower.CreateVetoRequest(
        veto=tower.SignedStatement(statement=order.statement, signature=order.signature)
    )
    service = Service(house.parts, house, Alarms(house.parts.database, lambda: house.now))
    for new in (True, False):
        answer = await Service.CreateVeto.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert answer == tower.CreateVetoResponse()
        assert link.wake.is_set() is new
        link.wake.clear()


def test_a_signer_is_told_of_a_veto_once_and_again_on_another_journal(house: House) -> None:
    versions.veto(house.parts, veto("bob"))
    [(change, person, job)] = versions.pending_vetoes(house.parts, AUDIT)
    assert wire.Job.FromString(job).apply.veto.statement == veto("bob").statement
    with house.parts.database.transaction() as db:
        versions.told(db, AUDIT, change, person)
    assert versions.pending_vetoes(house.parts, AUDIT) == []
    with house.parts.database.transaction() as db:
        versions.forget_told(db, AUDIT)
    assert len(versions.pending_vetoes(house.parts, AUDIT)) == 1


RECOVER = encode(make_recover(old_journal=make_hello(POLICY).journal))


def recovery_changes(statement: bytes, *people: str) -> list[Signed]:
    made = [
        make_change("recover", digest(statement), person, previous=POLICY.digest)
        for person in people
    ]
    return [sign(key(change.person), change) for change in made]


async def recover(house: House, statement: bytes = RECOVER) -> Refusal | None:
    signed = recovery_changes(statement, "alice", "carol")
    return await recoveries.recover(house.parts, house, statement, signed)


async def test_after_a_recovery_every_nonce_must_move(house: House) -> None:
    house.nonces = {"one": "aa", "two": "bb"}
    freezes.freeze(house.parts, freeze())
    signers.lose(house.parts, AUDIT, "it went back")
    assert state_of(house.parts).reason == "it went back"
    assert await recover(house) is None
    house.restart()
    signer = signers.find(house.parts.database, AUDIT)
    assert signer
    assert signer.seen == Seen("f0" * 16, 0, "", "")
    assert signer.epoch == digest(RECOVER)
    assert freezes.held(house.parts) == []
    assert recoveries.unmoved(house.parts, AUDIT) == ["one", "two"]
    recoveries.look_again(house.parts, AUDIT, "f0" * 16, {"one": "cc", "two": "bb"})
    assert recoveries.unmoved(house.parts, AUDIT) == ["two"]
    house.nonces = {"one": "cc", "two": "bb"}
    assert await recover(house) is None  # again does no harm, and asks for nothing new
    assert recoveries.unmoved(house.parts, AUDIT) == ["two"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"audit_key": public("other-audit")}, Code.ARGUMENT_INVALID),
        ({"watchtower": public("mallory")}, Code.ARGUMENT_INVALID),
        ({"old_journal": "ee" * 16}, Code.JOURNAL_FOREIGN),
    ],
)
async def test_recoveries_that_are_not_for_us(
    house: House, changes: dict[str, Any], code: Code
) -> None:
    order = make_recover(**{"old_journal": make_hello(POLICY).journal, **changes})
    assert code_of(await recover(house, encode(order))) is code
    quorum = recovery_changes(RECOVER, "alice")
    refused = await recoveries.recover(house.parts, house, RECOVER, quorum)
    assert code_of(refused) is Code.QUORUM_MISSING
    signer = signers.find(house.parts.database, AUDIT)
    assert signer
    assert signer.seen.journal == make_hello(POLICY).journal


def test_a_hello_of_the_old_journal_that_comes_late_changes_nothing(house: House) -> None:
    with house.parts.database.transaction() as db:
        signers.recover(db, AUDIT, "f0" * 16, "ab" * 32, POLICY.digest)
        signers.note(db, make_hello(POLICY, sequence=99, epoch=""))
    signer = signers.find(house.parts.database, AUDIT)
    assert signer
    assert (signer.seen.journal, signer.seen.sequence) == ("f0" * 16, 0)
    assert signer.epoch == "ab" * 32


def test_a_lost_journal_is_told_before_it_is_noted_and_once(house: House) -> None:
    """Killed in between, a watchtower that had noted it first would never tell anybody."""
    told = list[str]()

    def telling(kind: str, *_: str, **__: Any) -> None:
        signer = signers.find(house.parts.database, AUDIT)
        assert signer
        told.append(kind + signer.seen.lost)

    house.parts.alarm = telling
    signers.lose(house.parts, AUDIT, "it went back")
    signers.lose(house.parts, AUDIT, "it went back again")
    assert told == ["ROLLBACK"]
    signer = signers.find(house.parts.database, AUDIT)
    assert signer
    assert signer.seen.lost == "it went back"


def test_a_file_that_is_none_or_in_use(house: House, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="another watchtower serving from it"):
        Database(tmp_path / "watchtower.sqlite", SCHEMA)
    (tmp_path / "torn").write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseError, match="Put a backup of it back"):
        Database(tmp_path / "torn", SCHEMA)
    assert (tmp_path / "watchtower.sqlite").stat().st_mode & 0o077 == 0


def test_a_theft_keeps_its_name_whatever_a_relay_calls_it(house: House) -> None:
    """A relay that answers STATUS before ALARM_SWEEP names somebody for the theft's freeze."""
    stolen = b"stolen"
    house.hear(wire.Freeze(digest=digest(stolen), wallet="hot-sol", person="alice"))
    freezes.prove_theft(house.parts, AUDIT, stolen)
    (held,) = freezes.held(house.parts)
    assert (held.person, held.wallet) == (WATCHTOWER, "*")
    assert freezes.is_theft_proven(house.parts, AUDIT)
