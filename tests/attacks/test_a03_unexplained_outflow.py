"""A03 (Mt. Gox 2011-14): outflows that no record explains, small ones, over a long time.

The thief has the wallet's key and gives his transactions every form in which something can leave.
Each is found on the chain by itself, freezes everything, and is named where people look.
"""

from collections.abc import Callable

from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.transaction import VersionedTransaction

from policies.codes import Code
from tests.attacks.realm import FEE, Realm, code_of
from tests.factories import HOUR, SOL
from tests.tower_rig import stranger, until

MakeRealm = Callable[..., Realm]


async def test_the_first_of_many_small_ones_is_found_and_named(make_realm: MakeRealm) -> None:
    """One lamport at a time, hours apart, among lawful ones: the first one ends it."""
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol", nonces=2)
        for _ in range(2):
            await realm.withdraw()
            realm.pass_time(3 * HOUR)
            await realm.leased()
        await realm.seen()
        assert (await realm.status()).state == "RUNNING"  # lawful ones alone are explained
        await found(realm, realm.steal(1_000_000), 1_000_000 + FEE)
        assert code_of(realm.pay()) is Code.FROZEN
        later = realm.steal(1_000_000)  # the next one is named too
        await until(lambda: ("THEFT", later) in realm.alarms_by_name())
        await realm.recover()


async def test_no_form_of_transaction_goes_unexplained(make_realm: MakeRealm) -> None:
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol")
        for kind, form in forms(realm).items():
            await realm.withdraw()
            transaction, lost = form()
            name = realm.send(transaction)
            assert (realm.wallet.status(name)["err"] is None) == (kind != "failed")
            await found(realm, name, lost)
            await realm.recover()


async def found(realm: Realm, name: str, lost: int) -> None:
    """See it frozen, and the transaction named in the alarm."""
    await until(lambda: realm.frozen() == ["watchtower"])
    await until(lambda: ("THEFT", name) in realm.alarms_by_name())
    status = await realm.status()
    assert status.state == "FROZEN"
    assert "watchtower froze all wallets" in status.reason
    (alarm,) = [one for one in status.alarms if one.transaction_id == name]
    assert (alarm.kind, alarm.wallet, alarm.amount) == ("THEFT", "hot-sol", str(lost))
    assert "hot-sol's key signed what its signer did not" in alarm.message
    assert "custody freeze list" in alarm.next


def forms(realm: Realm) -> dict[str, Callable[[], tuple[VersionedTransaction, int]]]:
    """Return what makes each form of outflow, with what it costs the wallet."""
    wallet = realm.wallet

    def v0() -> tuple[VersionedTransaction, int]:
        steps = [wallet.pay(stranger(), SOL)]
        message = MessageV0.try_compile(wallet.address, steps, [], wallet.newest())
        return VersionedTransaction(message, [wallet.key]), SOL + FEE

    def second() -> tuple[VersionedTransaction, int]:
        """The thief pays the fee and signs first, the wallet only pays him."""
        payer = Keypair()
        realm.call("requestAirdrop", [str(payer.pubkey()), SOL])
        steps, recent = [wallet.pay(stranger(), SOL)], wallet.newest()
        message = Message.new_with_blockhash(steps, payer.pubkey(), recent)
        return VersionedTransaction(message, [payer, wallet.key]), SOL

    def nonce() -> tuple[VersionedTransaction, int]:
        """On one of the pool's own nonces, as a lawful withdrawal is."""
        return realm.on_nonce(wallet.pay(stranger(), SOL)), SOL + FEE

    return {
        "failed": lambda: (wallet.sign(wallet.pay(stranger(), 5_000 * SOL)), FEE),
        "v0": v0,
        "second signer": second,
        "nonce": nonce,
        "to itself": lambda: (wallet.sign(wallet.pay(wallet.address, SOL)), FEE),
    }
