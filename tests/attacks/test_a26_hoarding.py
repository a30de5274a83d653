"""A26, hoarding: custody collects signed transactions for days, and sends them all after a freeze.

The signer counts what it signed and the watchtower's lease does not call resolved, so that no more
than the limit beyond recall is ever in custody's hands. What is killed, failed or final makes room.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from solders.transaction import VersionedTransaction

from policies.codes import Code
from tests.attacks.realm import COLD, FEE, Realm, code_of, fresh
from tests.factories import HOUR, SOL
from tests.tower_rig import SECONDS_MAX, slow_slots, until

MakeRealm = Callable[..., Realm]
LIMIT = 2 * SOL
EACH = SOL // 2 - FEE
BLOCKS = 350  # after which no blockhash lets anything in


@dataclass
class Hoard:
    """Signed and not sent. `receipts`: whether custody hands them in."""

    realm: Realm
    receipts: bool
    kept: list[VersionedTransaction] = field(default_factory=list)

    async def ask(self, nonce: bytes, index: int) -> bool:
        """Ask for one more; False when the limit refuses it."""
        result = self.realm.pay(amount=EACH, nonce=nonce, index=index)
        if not result.HasField("signed"):
            assert code_of(result) is Code.RECALL_EXCEEDED
            return False
        if self.receipts:
            await self.realm.submit(result.receipt)
        self.kept.append(VersionedTransaction.from_bytes(result.signed.transaction))
        return True

    async def grow(self, on: str) -> None:
        """Take on each of 8 nonces what is to be had: its own value, or a recent blockhash."""
        for index in range(8):
            own = self.realm.nonce("hot-sol", index)
            if not await self.ask(own if on == "nonces" else self.newest(), index):
                return

    def newest(self) -> bytes:
        self.realm.ledger.advance()
        return bytes(self.realm.wallet.newest())

    def send(self) -> list[str]:
        """Send everything, twice; return the names of what landed."""
        names = [self.realm.wallet.send(one, preflight=False) for one in self.kept * 2]
        return [name for name in dict.fromkeys(names) if self.realm.wallet.status(name)]


@pytest.mark.parametrize(("on", "receipts"), [("nonces", False), ("blockhashes", True)])
async def test_no_more_than_the_limit_lands_after_a_freeze(
    make_realm: MakeRealm, on: str, receipts: bool
) -> None:
    realm = make_realm(beyond_recall="2 SOL")
    async with realm.running():
        await realm.ready("hot-sol", nonces=8)
        hoard, before = Hoard(realm, receipts), realm.wallet.balance()
        with slow_slots():
            for _ in range(2):
                await hoard.grow(on)
                assert not await hoard.ask(fresh(), 9)
                realm.pass_time(26 * HOUR)
                await realm.leased()
            await realm.freeze()
            assert code_of(realm.pay(nonce=fresh())) is Code.FROZEN
            landed = hoard.send()
        assert len(landed) == len(hoard.kept) == LIMIT // (EACH + FEE)
        assert before - realm.wallet.balance() == LIMIT
        await until(lambda: all_final(realm, landed))
        assert realm.frozen() == ["alice"]  # its own transactions are nobody's theft
        assert realm.wallet.balance(COLD) == 0
        await realm.lift()
        await realm.leased()
        await signed(realm, index=8, nonce=fresh(), amount=SOL - FEE)
        await realm.withdraw()


async def test_advanced_nonces_kill_what_has_not_landed(make_realm: MakeRealm) -> None:
    """Under the freeze, before custody sends: of a transfer and its advance one lands."""
    realm = make_realm(beyond_recall="2 SOL")
    async with realm.running():
        await realm.ready("hot-sol", nonces=5)
        hoard, before = Hoard(realm, receipts=True), realm.wallet.balance()
        await hoard.grow("nonces")
        killed, spared = [name_of(one) for one in hoard.kept[:3]], name_of(hoard.kept[3])
        await until(lambda: all(held(realm, name) for name in killed))
        await realm.freeze()
        for index in range(3):
            await realm.advance(index)
        assert hoard.send() == [spared]
        assert before - realm.wallet.balance() == EACH + FEE + 3 * FEE
        await until(lambda: all(realm.state(name) == "DEAD" for name in killed))
        assert hoard.send() == [spared]
        await realm.lift()
        await realm.leased()
        await signed(realm, index=4, amount=SOL - FEE)
        await realm.withdraw()


async def test_the_limit_never_jams(make_realm: MakeRealm) -> None:
    """All of it is used by what lands, fails, is killed or expires, again and again."""
    realm = make_realm(beyond_recall="1 SOL")
    async with realm.running():
        await realm.ready("hot-sol")
        for fate in (land, fail, kill, expire, fail):
            await fate(realm)
            assert code_of(realm.pay(nonce=fresh())) is Code.RECALL_EXCEEDED
        assert (await realm.status()).state == "RUNNING"
        lawful = realm.send(await signed(realm))
        assert realm.wallet.status(lawful)["err"] is None


async def land(realm: Realm) -> None:
    transaction = await signed(realm, amount=SOL - FEE)
    assert realm.wallet.status(realm.send(transaction))["err"] is None


async def fail(realm: Realm) -> None:
    """Custody names one compute unit: it lands, and pays nobody but for its fee."""
    transaction = await signed(realm, amount=SOL - FEE, unit_limit=1)
    assert realm.wallet.status(realm.send(transaction))["err"] is not None


async def kill(realm: Realm) -> None:
    transaction = await signed(realm, amount=SOL - FEE)
    await until(lambda: held(realm, name_of(transaction)))
    await realm.advance(0)


async def expire(realm: Realm) -> None:
    """It stands on a blockhash, and nobody sends it until that is too old."""
    newest = bytes(realm.wallet.newest())
    name = name_of(await signed(realm, amount=SOL - FEE, nonce=newest))
    query = "SELECT height FROM signed WHERE transaction_id = ?"
    await until(lambda: realm.database.rows(query, name)[0][0])
    realm.ledger.advance(BLOCKS)


async def signed(realm: Realm, **choices: Any) -> VersionedTransaction:
    """Have one signed, asked for until there is room, and its receipt taken."""
    realm.ledger.advance()
    job, end = realm.job(**choices), time.monotonic() + SECONDS_MAX
    while not (result := realm.ask(job)).HasField("signed"):
        assert code_of(result) is Code.RECALL_EXCEEDED
        assert time.monotonic() < end, realm.resolved()
        realm.parts.wake()
        await asyncio.sleep(0.05)
    await realm.submit(result.receipt)
    return VersionedTransaction.from_bytes(result.signed.transaction)


def held(realm: Realm, name: str) -> bool:
    """Tell whether its nonce was seen with its value at finality."""
    query = "SELECT held FROM signed WHERE transaction_id = ?"
    return bool(realm.database.rows(query, name)[0][0])


def name_of(transaction: VersionedTransaction) -> str:
    return str(transaction.signatures[0])


def all_final(realm: Realm, names: Sequence[str]) -> bool:
    query = "SELECT transaction_id FROM signed WHERE state = 'FINAL'"
    return {*names} <= {name for (name,) in realm.database.rows(query)}
