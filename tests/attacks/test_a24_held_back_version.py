"""A24, silenced alarm: custody holds back the version that removes a stolen requester's key.

Its quorum handed it to the watchtower too. That brings it to the signer, and gives no lease to one
that it cannot bring it to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from custody.identity import Role
from custody.watchtower import versions
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Intent, Signed, Veto, decode, digest
from tests.attacks.realm import CALL, SMALL, Line, Realm, code_of, fresh
from tests.factories import HOUR, key, make_change, make_intent, public, sign
from tests.signer_host import now
from tests.signing import transfer
from tests.tower_rig import AUDIT, until
from tests.watched import Watched, leased, watched
from tests.watched import until as until_async
from tests.watched_host import QUORUM, REQUESTER_KEYS

STOLEN = "exchange-2"


@dataclass
class Pretending(Line):
    """Whoever holds it lets no policy version through, and says that it was taken."""

    pretends: bool = True

    async def ask(self, jobs: Sequence[wire.Job], traces: Sequence[str] = ()) -> list[wire.Result]:
        if self.pretends and jobs[0].apply.HasField("policy"):
            taken = wire.Applied(digest=digest(jobs[0].apply.policy.file))
            return [wire.Result(applied=taken)]
        return await super().ask(jobs, traces)


def without_the_stolen_key(file: bytes) -> bytes:
    """Return the version that follows a first one, without the key that was stolen."""
    text = file.decode()
    for before, after in (
        ("version = 1\n", "version = 2\n"),
        ('previous = ""', f'previous = "{digest(file)}"'),
        (f', "{public(STOLEN)}"', ""),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    return text.encode()


def signatures(file: bytes, time: int) -> list[Signed]:
    """Return its quorum's, for an hour."""
    of = {"previous": parse_policy(file).previous, "expires": time + HOUR}
    made = [make_change("policy", digest(file), person, **of) for person in QUORUM]
    return [sign(key(change.person), change) for change in made]


def request_of(file: bytes, time: int) -> tower_wire.CreatePolicyVersionRequest:
    """Return what an officer hands to the watchtower."""
    request = tower_wire.CreatePolicyVersionRequest(file=file)
    for signed in signatures(file, time):
        request.changes.add(statement=signed.statement, signature=signed.signature)
    return request


async def remove(realm: Realm) -> str:
    """An officer hands the version to the watchtower; custody was handed it too, and dropped it."""
    file = without_the_stolen_key(realm.standing().policy)
    assert await realm.service.CreatePolicyVersion(request_of(file, realm.clock()), CALL)
    return digest(file)


def ordered(realm: Realm, by: str = "exchange") -> wire.Job:
    """Return the job of a new order under one of the requester's keys."""
    order = replace(decode(Intent, realm.intend().statement), key=public(by))
    return transfer(sign(key(by), order), nonce_value=fresh())


async def test_the_watchtower_brings_it_to_the_signer(make_realm: Callable[..., Realm]) -> None:
    realm = make_realm(exchange=REQUESTER_KEYS)
    async with realm.running():
        await realm.ready("hot-sol")
        assert realm.ask(ordered(realm, STOLEN)).HasField("signed")
        name = await remove(realm)
        assert digest(realm.standing().policy) == name
        assert code_of(realm.ask(ordered(realm, STOLEN))) is Code.REQUESTER_UNKNOWN
        await realm.leased()
        assert realm.ask(ordered(realm)).HasField("signed")
        realm.signers[AUDIT].restart()
        await realm.leased()
        assert code_of(realm.ask(ordered(realm, STOLEN))) is Code.REQUESTER_UNKNOWN


async def test_whoever_holds_the_relay_gains_no_lease_by_holding_it_back(
    make_realm: Callable[..., Realm],
) -> None:
    realm = make_realm(exchange=REQUESTER_KEYS)
    realm.lines[AUDIT] = line = Pretending(realm.signers[AUDIT])
    async with realm.running():
        await realm.ready("hot-sol")
        name = await remove(realm)
        await paused(realm, name)
        realm.pass_time(LEASE_MS)
        await heard(realm)
        assert code_of(realm.ask(ordered(realm, STOLEN))) is Code.LEASE_MISSING
        line.pretends = False
        await realm.leased()
        assert code_of(realm.ask(ordered(realm, STOLEN))) is Code.REQUESTER_UNKNOWN


async def test_an_officer_lets_leases_go_on(make_realm: Callable[..., Realm]) -> None:
    """For a signer that refuses the version for what the watchtower cannot know."""
    realm = make_realm(exchange=REQUESTER_KEYS)
    realm.lines[AUDIT] = Pretending(realm.signers[AUDIT])
    async with realm.running():
        await realm.ready("hot-sol")
        name = await remove(realm)
        await paused(realm, name)
        realm.pass_time(LEASE_MS)
        await veto(realm, name)
        await realm.leased()
        assert realm.ask(ordered(realm)).HasField("signed")


async def test_a_bribed_officer_keeps_it_from_no_signer(make_realm: Callable[..., Realm]) -> None:
    """It takes the relay too: the veto came before the version did."""
    realm = make_realm(exchange=REQUESTER_KEYS)
    async with realm.running():
        await realm.ready("hot-sol")
        file = without_the_stolen_key(realm.standing().policy)
        await veto(realm, digest(file))
        said = versions.propose(realm.parts, file, signatures(file, realm.clock()))
        assert isinstance(said, Refusal)
        assert said.code is Code.POLICY_VETOED
        realm.parts.wake()
        await until(lambda: realm.standing().policy == file)
        assert code_of(realm.ask(ordered(realm, STOLEN))) is Code.REQUESTER_UNKNOWN


async def veto(realm: Realm, name: str) -> None:
    order = sign(key("bob"), Veto(key=public("bob"), person="bob", change=name))
    sealed = tower_wire.SignedStatement(statement=order.statement, signature=order.signature)
    assert await realm.service.CreateVeto(tower_wire.CreateVetoRequest(veto=sealed), CALL)


async def paused(realm: Realm, name: str) -> None:
    """Wait until the watchtower gives no lease for this version's sake, and tells."""
    link = realm.parts.links[AUDIT]
    await until(lambda: link.problem and name in link.problem.words)
    status = await realm.status()
    assert status.state == "PAUSED"
    (signer,) = (one for one in status.signers if one.audit_key == AUDIT)
    assert name in signer.problem


async def heard(realm: Realm) -> None:
    """Wait for two rounds from now."""
    for _ in range(2):
        realm.pass_time(1)
        realm.parts.wake()
        await until(lambda: realm.parts.links[AUDIT].heard == realm.clock())


def intend(by: str) -> wire.Job:
    made = now()
    order = make_intent(request_id=by, amount=SMALL, created=made, expires=made + HOUR)
    return transfer(sign(key(by), replace(order, key=public(by))), nonce_value=fresh())


async def restarted(ground: Watched, *names: str) -> None:
    for name in names:
        ground.kill(name)
        ground.start(name)


async def test_a_version_outlives_every_process() -> None:
    """Real processes. It is on the watchtower's disk before anybody is told that it has it."""
    async with watched() as ground:
        file = without_the_stolen_key((await ground.status()).policy)
        ground.kill("relay")  # as root of its host, so that the signer hears of nothing
        officer = ground.tower(Role.OFFICER, "bob")
        said = await officer.CreatePolicyVersion(request_of(file, now()), timeout=10)
        assert said.earliest_time > now()
        assert not said.HasField("elapsed")
        await restarted(ground, "watchtower", "signer")
        assert digest((await ground.status()).policy) != digest(file)
        ground.start("relay")
        await until_async("a lease", lambda: leased(ground))
        assert digest((await ground.status()).policy) == digest(file)
        thiefs, customers = await ground.ask(intend(STOLEN), intend("exchange"))
        assert code_of(thiefs) is Code.REQUESTER_UNKNOWN
        assert customers.HasField("signed")
        await restarted(ground, "signer")
        await until_async("a lease", lambda: leased(ground))
        (thiefs,) = await ground.ask(intend(STOLEN))
        assert code_of(thiefs) is Code.REQUESTER_UNKNOWN
