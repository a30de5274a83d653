"""What the watchtower makes of the chain: lawful, stolen, failed, paid in, final, dead."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.transaction import VersionedTransaction

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from custody.watchtower import receipts
from custody.watchtower.follow import PAUSE_SECONDS
from tests.devnet_wallet import SOL
from tests.factories import public
from tests.tower_rig import AUDIT, TowerRig, passing, slow_slots, stranger, until


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[TowerRig]:
    with Chain(None) as ledger, serve(ledger) as url, passing(ledger):
        yield TowerRig(tmp_path, ledger, [url])


def undecided(rig: TowerRig) -> list[str]:
    rows = rig.database.rows("SELECT transaction_id FROM suspects WHERE state = 'UNDECIDED'")
    return [name for (name,) in rows]


async def test_a_covered_transaction_is_seen_and_resolved_when_final(rig: TowerRig) -> None:
    async with rig.running():
        await rig.well()
        name = rig.lawful(rig.wallet.pay(stranger()), amount=SOL + 5_000)
        await until(lambda: rig.state(name) == "SEEN")
        assert rig.resolved() == 0
        await until(lambda: rig.resolved() == SOL + 5_000)
        assert rig.state(name) == "FINAL"
        assert (rig.tower.problem(AUDIT), rig.alarms) == ("", [])


async def test_what_fails_on_the_chain_is_resolved_too(rig: TowerRig) -> None:
    async with rig.running():
        name = rig.lawful(rig.wallet.pay(stranger(), 500 * SOL), amount=7)
        assert rig.wallet.status(name)["err"] is not None
        await until(lambda: rig.resolved() == 7)


async def test_only_what_has_an_intent_counts_beyond_recall(rig: TowerRig) -> None:
    async with rig.running():
        name = rig.lawful(rig.wallet.pay(stranger()), intent="")
        await until(lambda: rig.state(name) == "FINAL")
        assert receipts.sums(rig.database, "hot-sol") == (0, 0)


@pytest.mark.parametrize("kind", ["plain", "failed", "v0", "second signer"])
async def test_an_outflow_without_receipt_stops_the_leases(rig: TowerRig, kind: str) -> None:
    async with rig.running():
        await rig.well()
        name = rig.send(outflow(rig, kind))
        looks = rig.looks()
        await until(lambda: undecided(rig) == [name])
        assert (rig.looks() - looks) * PAUSE_SECONDS <= 2
        assert name in rig.tower.problem(AUDIT)
        assert name in rig.tower.problem(public("somebody"))


def outflow(rig: TowerRig, kind: str) -> VersionedTransaction:
    wallet = rig.wallet
    match kind:
        case "plain":
            return rig.sign(wallet.pay(stranger()))
        case "failed":
            return rig.sign(wallet.pay(stranger(), 500 * SOL))
        case "v0":
            message = MessageV0.try_compile(
                wallet.address, [wallet.pay(stranger())], [], wallet.newest()
            )
            return VersionedTransaction(message, [wallet.key])
    payer = Keypair()
    wallet.call("requestAirdrop", [str(payer.pubkey()), SOL])
    both = Message.new_with_blockhash([wallet.pay(stranger())], payer.pubkey(), wallet.newest())
    return VersionedTransaction(both, [payer, wallet.key])


async def test_what_failed_on_the_chain_has_not_paid_and_never_will(rig: TowerRig) -> None:
    """It is resolved like what landed, and custody can end it as FAILED."""
    key = rig.parts.key.public
    async with rig.running():
        await rig.well()
        failed = rig.lawful(rig.wallet.pay(stranger(), 500 * SOL))
        paid = rig.lawful(rig.wallet.pay(stranger()))
        await until(lambda: (rig.state(failed), rig.state(paid)) == ("FAILED", "FINAL"))
        assert rig.resolved() == 2 * SOL
        word, none = receipts.dead(rig.database, key, [failed, paid])
        assert word
        assert word.transaction_id == failed
        assert none is None


async def test_inflows_are_nobodys_theft(rig: TowerRig) -> None:
    async with rig.running():
        await rig.well()
        rig.wallet.call("requestAirdrop", [str(rig.wallet.address), SOL])
        await rig.seen()
        assert (undecided(rig), rig.tower.problem(AUDIT)) == ([], "")


async def test_a_receipt_of_another_wallet_covers_nothing(rig: TowerRig) -> None:
    async with rig.running():
        await rig.well()
        name = rig.lawful(rig.wallet.pay(stranger()), wallet="cold-sol")
        await until(lambda: undecided(rig) == [name])


async def test_an_hour_of_history_is_caught_up_with_before_any_lease(rig: TowerRig) -> None:
    names = [rig.lawful(rig.wallet.pay(stranger(), 1_000_000 + n)) for n in range(2_500)]
    stolen = rig.send(rig.sign(rig.wallet.pay(stranger(), 1_500_000)))
    names += [rig.lawful(rig.wallet.pay(stranger(), 2_000_000 + n)) for n in range(5)]
    rig.ledger.advance(2)
    assert rig.tower.problem(AUDIT)
    async with rig.running():
        await until(lambda: undecided(rig))
        await until(lambda: rig.resolved() == len(names) * SOL)
        assert undecided(rig) == [stolen]


async def test_a_restart_goes_on_where_it_was(rig: TowerRig) -> None:
    async with rig.running():
        await rig.well()
        first = rig.lawful(rig.wallet.pay(stranger()))
        await rig.seen()
    rig.open()
    stolen = rig.send(rig.sign(rig.wallet.pay(stranger())))
    rig.ledger.advance(2)
    async with rig.running():
        await until(lambda: undecided(rig) == [stolen])
        await until(lambda: rig.state(first) == "FINAL")
    rig.open()
    async with rig.running():
        await until(lambda: stolen in rig.tower.problem(AUDIT))


async def test_receipts_again_change_nothing(rig: TowerRig) -> None:
    tx = rig.sign(rig.wallet.pay(stranger()))
    for _ in range(3):
        rig.give(rig.receipt(tx))
    assert receipts.sums(rig.database, "hot-sol") == (SOL, 0)
    receipts.resolve(rig.database, [str(tx.signatures[0])] * 2, receipts.State.FINAL)
    receipts.resolve(rig.database, [str(tx.signatures[0])], receipts.State.DEAD)
    assert receipts.sums(rig.database, "hot-sol") == (SOL, SOL)
    assert rig.state(str(tx.signatures[0])) == "FINAL"
    rig.database.close()


async def test_a_total_never_exceeds_what_was_signed(rig: TowerRig) -> None:
    rig.give(rig.receipt(rig.sign(rig.wallet.pay(stranger()))))
    with pytest.raises(sqlite3.IntegrityError), rig.database.transaction() as connection:
        connection.execute("UPDATE totals SET resolved = signed + 1")
    assert receipts.resolved(rig.database, AUDIT, "11" * 16, rig.policy) == ()
    rig.database.close()


async def test_a_killed_transfer_is_dead_once_its_nonce_is_another(rig: TowerRig) -> None:
    wallet, account = rig.wallet, rig.open_nonce()
    value = wallet.nonce(account)
    killed = rig.sign(wallet.advance(account), wallet.pay(stranger()), blockhash=value)
    name = str(killed.signatures[0])
    advance = rig.sign(wallet.advance(account), blockhash=value)
    for tx in (killed, advance):
        rig.give(rig.receipt(tx, nonce_account=str(account), nonce_value=bytes(value).hex()))
    async with rig.running():
        await rig.well()
        held = "SELECT held FROM signed WHERE transaction_id = ?"
        await until(lambda: rig.database.rows(held, name)[0][0] > 0)
        assert receipts.dead(rig.database, AUDIT, [name]) == [None]
        rig.send(advance)
        await until(lambda: rig.state(name) == "DEAD")
        (word,) = receipts.dead(rig.database, AUDIT, [name])
        assert word is not None
        assert (word.transaction_id, word.intent) == (name, rig.receipt(killed).intent)
        await until(lambda: rig.resolved() == 2 * SOL)


async def test_a_blockhash_in_a_nonces_place_is_not_taken_for_dead(rig: TowerRig) -> None:
    """Custody names a recent blockhash as the nonce's value: the account never has it."""
    wallet, account = rig.wallet, rig.open_nonce()
    async with rig.running():
        with slow_slots():
            tx = rig.sign(wallet.advance(account), wallet.pay(stranger()))
            value = bytes(tx.message.recent_blockhash).hex()
            name = str(tx.signatures[0])
            rig.give(rig.receipt(tx, nonce_account=str(account), nonce_value=value))
            await rig.well()
            settler = next(iter(rig.tower._watches.values())).settler
            for _ in range(3):
                await rig.seen()
                await settler.settle()
            assert rig.state(name) == "SENT"
            rig.send(tx)  # it lands all the same
        await until(lambda: rig.state(name) == "FINAL")


async def test_without_a_nonce_it_is_dead_when_every_blockhash_is_too_old(rig: TowerRig) -> None:
    """But for a withdrawal, whose nonce an old signature's receipt names no more."""
    tx, old = rig.sign(rig.wallet.pay(stranger())), rig.sign(rig.wallet.pay(stranger()))
    rig.give(rig.receipt(tx, intent="", amount=0), rig.receipt(old))
    name = str(tx.signatures[0])
    async with rig.running():
        await rig.well()
        height = "SELECT height FROM signed WHERE transaction_id = ?"
        await until(lambda: rig.database.rows(height, name)[0][0] > 0)
        rig.ledger.advance(200)
        await rig.seen()
        assert rig.state(name) == "SENT"
        rig.ledger.advance(150)
        await until(lambda: rig.state(name) == "DEAD")
        assert rig.state(str(old.signatures[0])) == "SENT"
        assert rig.resolved() == 0
