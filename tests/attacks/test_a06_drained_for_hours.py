"""A06 (Zaif 2018, BITPoint 2019): hot wallets drained for hours by what looks like own traffic.

The attacker holds custody, its requester's key and every relay, and keeps to the form of lawful
requests. What stops him is the signer's own velocity; a proven theft stops all wallets.
"""

from collections.abc import Callable

from custody.watchtower.rules import Cause
from policies.codes import Code
from tests.attacks.realm import COLD, FAR_AUDIT, FEE, Realm, code_of, fresh
from tests.factories import HOUR, SOL, WINDOWS
from tests.tower_rig import AUDIT, stranger, until

MakeRealm = Callable[..., Realm]
TIGHT = {**WINDOWS, "wallet": ["24 hours", "2 SOL", 1000]}
ALL = ("hot-sol", "hot-two", "hot-far")


async def test_velocity_stops_the_drain_and_nothing_else(make_realm: MakeRealm) -> None:
    realm = make_realm(windows=TIGHT)
    async with realm.running():
        await realm.ready(*ALL)
        taken, amount = 0, SOL // 2 - FEE
        for hour in range(0, 24, 8):
            while (result := realm.pay(amount=amount, nonce=fresh())).HasField("signed"):
                taken += amount + FEE
            assert code_of(result) is Code.WINDOW_EXCEEDED, hour
            realm.pass_time(8 * HOUR)
            await realm.leased()
        assert taken == 2 * SOL
        await realm.leased(FAR_AUDIT)
        await realm.withdraw("hot-two")
        await realm.withdraw("hot-far")
        assert (await realm.status()).state == "RUNNING"
        realm.pass_time(2 * HOUR)
        await realm.leased()
        await realm.withdraw("hot-sol")


async def test_a_proven_theft_stops_every_wallet_of_every_signer(make_realm: MakeRealm) -> None:
    realm = make_realm()
    async with realm.running():
        await realm.ready(*ALL)
        for name in ALL:
            await realm.withdraw(name)
        # The relay of the robbed signer passes on what proves the theft, and nothing afterwards.
        realm.lines[AUDIT].drops = lambda job: not job.HasField("alarm_sweep")
        stolen = realm.steal(10 * SOL)
        await until(lambda: realm.frozen() == ["watchtower"])
        for name in ("hot-sol", "hot-two"):
            assert code_of(realm.pay(name)) is Code.FROZEN
        await realm.answered(stolen)
        await no_lease(realm)
        assert realm.frozen(FAR_AUDIT) == []
    realm.lines[AUDIT].drops = lambda _job: False
    realm.open()
    async with realm.running():  # a restart forgets nothing
        await no_lease(realm)
        await realm.leased()  # what is allowed under freeze goes on
        status = await realm.status()
        assert status.state == "FROZEN"
        assert [told for told in realm.alarms_by_name() if told[0] != "NODE"] == [("THEFT", stolen)]
        await realm.recover()
        await realm.leased(FAR_AUDIT)
        for name in ALL:
            await realm.withdraw(name)


async def test_what_two_stolen_keys_sign_together_sweeps_both(make_realm: MakeRealm) -> None:
    """One transaction drains two wallets; neither shields the other from its sweep."""
    realm = make_realm()
    async with realm.running():
        await realm.ready(*ALL)
        one, two = (realm.wallets[name] for name in ("hot-sol", "hot-two"))
        pays = [victim.pay(stranger(), SOL) for victim in (one, two)]
        stolen = realm.send(one.sign(*pays, by=(two.key,)))
        await realm.answered(stolen)
        await until(lambda: two.balance() < 2 * SOL // 100)
        assert realm.wallet.balance(COLD) > 190 * SOL
        assert realm.frozen() == ["watchtower"]


async def no_lease(realm: Realm) -> None:
    """See the other signer's lease taken back at once, and why none follows."""
    await until(lambda: caused(realm) is Cause.THEFT)
    await until(lambda: code_of(realm.pay("hot-far")) is Code.LEASE_MISSING)
    assert AUDIT in (await realm.status()).signers[far(realm)].problem


def caused(realm: Realm) -> Cause | None:
    realm.parts.wake()
    link = realm.parts.links.get(FAR_AUDIT)
    return link.problem.cause if link and link.problem else None


def far(realm: Realm) -> int:
    return sorted(realm.signers).index(FAR_AUDIT)
