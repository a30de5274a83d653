"""A24, silenced alarm: custody drops leases and freeze orders.

The lease runs out and signing stops; an officer's freeze has a way of its own to the signer, by the
watchtower.
"""

from collections.abc import Callable

from custody.identity import Role
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.codes import Code
from policies.statements import LEASE_MS
from tests.attacks.lawful import ask as asked
from tests.attacks.lawful import withdraw
from tests.attacks.realm import Realm, fresh
from tests.factories import key, make_freeze, sign
from tests.integration.guard.payments import ask, code_of, intend, job_of, pay
from tests.signing import HELLO, SignerRig, lease_job, nonce_open
from tests.tower_rig import AUDIT, until
from tests.watched import WAIT_SECONDS, leased, watched
from tests.watched import until as until_async


def test_without_leases_signing_stops_within_a_minute(rig: SignerRig) -> None:
    rig.leased = False
    assert rig.lease().applied.digest
    pay(rig)
    rig.now += LEASE_MS - 1
    pay(rig)
    rig.now += 1
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert code_of(rig.ask(nonce_open())) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    pay(rig)


def test_a_kept_lease_is_worth_nothing_later(rig: SignerRig) -> None:
    """Custody keeps what it dropped, and plays it when the watchtower has fallen silent."""
    rig.leased = False
    kept = [lease_job(rig.ask(HELLO), time=rig.now + 1000 * second) for second in range(0, 30, 5)]
    assert rig.ask(kept[0]).applied.digest
    pay(rig)
    rig.now += 29_000 + LEASE_MS
    for job in kept:
        rig.ask(job)
        assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    pay(rig)


def test_nor_after_a_restart_within_its_minute(rig: SignerRig) -> None:
    rig.leased = False
    kept = lease_job(rig.ask(HELLO), time=rig.now)
    assert rig.ask(kept).applied.digest
    rig.restart()
    refusal = rig.ask(kept).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "challenge")
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    pay(rig)


def test_what_was_reserved_before_waits_too(rig: SignerRig) -> None:
    """A delayed lease between two tries of one request: nothing is signed in the gap."""
    rig.leased = False
    rig.restart()
    job = job_of(rig, intend(rig))
    assert code_of(rig.ask(job)) is Code.LEASE_MISSING
    assert rig.lease().applied.digest
    first = rig.ask(job).signed
    rig.now += LEASE_MS
    again = rig.ask(job).signed  # the same bytes: nothing new is signed
    assert (again.transaction, again.repeated) == (first.transaction, True)
    assert code_of(ask(rig)) is Code.LEASE_MISSING


async def test_leases_that_are_dropped_on_their_way_are_missed(
    make_realm: Callable[..., Realm],
) -> None:
    """Whoever holds the relay lets everything through but the watchtower's leases."""
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol")
        await realm.withdraw()
        realm.lines[AUDIT].drops = lambda job: job.apply.HasField("lease")
        realm.pass_time(LEASE_MS)
        await until(lambda: "did not answer" in problem(realm))
        assert code_of(realm.pay(nonce=fresh())) is Code.LEASE_MISSING
        assert (await realm.status()).state == "PAUSED"
        realm.lines[AUDIT].drops = lambda _job: False
        await realm.leased()
        await realm.withdraw()


def problem(realm: Realm) -> str:
    realm.parts.wake()
    held = realm.parts.links[AUDIT].problem
    return held.words if held else ""


async def test_a_freeze_reaches_the_signer_though_custody_drops_it() -> None:
    """Real processes. Custody asks the signer for what it likes, and passes on no order."""
    async with watched() as ground:
        await withdraw(ground, "hot-sol")
        order = sign(key("alice"), make_freeze("alice"))
        sealed = tower_wire.SignedStatement(statement=order.statement, signature=order.signature)
        assert await asked(ground, "hot-sol") == ""  # custody was handed it, and dropped it
        officer = ground.tower(Role.OFFICER, "alice")
        request = tower_wire.CreateFreezeRequest(freeze=sealed)
        assert (await officer.CreateFreeze(request, timeout=WAIT_SECONDS)).applied
        assert await asked(ground, "hot-sol") == "FROZEN"
        assert await asked(ground, "hot-two") == "FROZEN"
        ground.kill("relay")  # as root of its host, to keep away what else comes
        ground.kill("signer")
        ground.start("signer")
        assert await asked(ground, "hot-sol") == "FROZEN"
        ground.start("relay")
        await ground.lift_freezes()
        await until_async("a lease", lambda: leased(ground))
        await withdraw(ground, "hot-sol")
