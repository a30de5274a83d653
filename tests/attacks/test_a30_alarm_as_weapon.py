"""A30, the alarm as a weapon: a lying node, a delayed receipt, a false claim of theft.

Who would have signing stopped or money swept gets a pause at most. Nothing is frozen or swept
without a transaction that a wallet's key signed and its signer's journal does not know; such a one
is answered after every lie, and while they go on.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from nacl.signing import SigningKey
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from custody.watchtower.suspects import Verdict
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import LEASE_MS
from tests.attacks.realm import COLD, Realm, code_of, fresh
from tests.devnet_wallet import Wallet
from tests.factories import SOL, key, make_theft, sign
from tests.signing import enveloped, nonce_open
from tests.tower_rig import AUDIT, stranger, until

MakeRealm = Callable[..., Realm]
SEED, FLIPS = 30, 300
WATCHTOWER = key("watchtower")


async def test_a_lying_node_pauses_at_most(make_realm: MakeRealm) -> None:
    """The only node lies; custody helps it by holding back the receipts of lawful payments."""
    realm = make_realm(fronts=1)
    (front,) = realm.fronts
    async with realm.running():
        await realm.ready("hot-sol")
        for words, lie in lies(realm):
            front.tell(*lie)
            lawful = str((await realm.withdraw(handed=False)).signatures[0])
            await until(partial(said, realm, words))
            realm.pass_time(LEASE_MS)
            assert code_of(realm.pay(nonce=fresh())) is Code.LEASE_MISSING
            unharmed(realm)
            front.tell("honest")
            await until(partial(is_lawful, realm, lawful))
            await realm.leased()
        unharmed(realm)
        await realm.withdraw()
        await realm.answered(realm.steal(SOL))
        await realm.recover()


async def test_a_node_that_withholds_history_hides_no_theft(make_realm: MakeRealm) -> None:
    realm = make_realm(fronts=2)
    async with realm.running():
        await realm.ready("hot-sol")
        realm.fronts[0].tell("hiding")
        lawful = str((await realm.withdraw(handed=False)).signatures[0])
        await until(lambda: is_lawful(realm, lawful))
        for _ in range(3):
            await realm.seen()
        assert realm.state(lawful) != "FINAL"  # both must have it: one can delay that
        unharmed(realm)
        await realm.answered(realm.steal(SOL))
        realm.fronts[0].tell("honest")
        await realm.recover()
        await until(lambda: realm.state(lawful) == "FINAL")


async def test_a_delayed_receipt_pauses_until_the_signer_was_asked(make_realm: MakeRealm) -> None:
    """Custody holds back receipts, and with the relay the watchtower's question too."""
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol")
        realm.lines[AUDIT].drops = lambda job: job.HasField("alarm_sweep")
        lawful = str((await realm.withdraw(handed=False)).signatures[0])
        await until(lambda: ("UNEXPLAINED", lawful) in realm.alarms_by_name())
        assert lawful in realm.tower.problem(AUDIT)
        assert realm.verdict(lawful) == Verdict.UNDECIDED
        realm.pass_time(LEASE_MS)
        assert code_of(realm.pay(nonce=fresh())) is Code.LEASE_MISSING
        unharmed(realm)
        realm.lines[AUDIT].drops = lambda _job: False
        await until(lambda: ("RECEIPT", lawful) in realm.alarms_by_name())
        await realm.leased()
        await realm.withdraw()
        unharmed(realm)
        await realm.answered(realm.steal(SOL))
        await realm.recover()


async def test_the_watchtowers_stolen_key_proves_no_theft(make_realm: MakeRealm) -> None:
    """Its thief claims to the signer itself that whatever there is was stolen."""
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol", "hot-two", "hot-far")
        claims = [claim async for claim in innocent(realm)]
        before = realm.standing().sequence
        accused = [(claim, name) for claim in claims for name in realm.wallets]
        for claim, name in [*accused, *((claim, "hot-sol") for claim in rubbish(claims[0]))]:
            assert code_of(accuse(realm, claim, name)) is Code.THEFT_UNPROVEN, claim.hex()
        assert realm.standing().sequence == before
        assert realm.standing().lease_until
        unharmed(realm)
        stolen = realm.wallet.sign(realm.wallet.pay(stranger(), SOL))
        mallory = key("mallory")
        assert code_of(accuse(realm, bytes(stolen), by=mallory)) is Code.THEFT_UNPROVEN
        unharmed(realm)
        sweeps = [one.transaction for one in accuse(realm, bytes(stolen)).swept.transactions]
        assert sweeps
        await realm.answered(realm.send(stolen))
        await realm.recover()
        for sweep in sweeps:
            assert code_of(accuse(realm, sweep)) is Code.THEFT_UNPROVEN
        assert realm.frozen() == []
        await realm.withdraw()


def unharmed(realm: Realm) -> None:
    """Nothing frozen, nothing swept, nobody told of a theft."""
    assert [realm.frozen(audit_key) for audit_key in realm.signers] == [[], []]
    assert realm.wallet.balance(COLD) == 0
    assert {kind for kind, _ in realm.alarms_by_name()} <= {"NODE", "RECEIPT", "UNEXPLAINED"}


def said(realm: Realm, words: str) -> bool:
    """Tell whether the watchtower says this of its first node."""
    return words in realm.tower.nodes()[0].problem


def is_lawful(realm: Realm, name: str) -> bool:
    """Tell whether the signer was asked about it, and said that it signed it itself."""
    return realm.verdict(name) == Verdict.LAWFUL


def lies(realm: Realm) -> Iterator[tuple[str, list[str]]]:
    """Yield what the watchtower will say of the node, and the lie."""
    yield "does not verify", ["altering"]
    yield "are no transaction", ["halving"]
    wallet, thief = realm.wallet, Keypair()
    message = wallet.sign(wallet.pay(thief.pubkey())).message
    forged = thief.sign_message(bytes(message))
    invented = VersionedTransaction.populate(message, [forged])
    yield "does not verify", ["inventing", str(forged), bytes(invented).hex()]
    lawful = realm.pay(nonce=fresh()).signed.transaction
    yield "another transaction than", ["inventing", str(forged), lawful.hex()]


async def innocent(realm: Realm) -> AsyncIterator[bytes]:
    """Yield transactions of every kind that is no theft from this signer, sent and unsent."""
    yield bytes(await realm.withdraw())
    yield realm.pay(nonce=fresh()).signed.transaction
    yield realm.pay(nonce=bytes(realm.wallet.newest())).signed.transaction
    opening = nonce_open(1, bytes(realm.wallet.newest()))
    yield realm.ask(opening).signed.transaction
    yield await realm.advance(0)
    yield bytes(await realm.withdraw("hot-two"))
    yield bytes(await realm.withdraw("hot-far"))
    for other in (realm.wallets["hot-far"], cold(realm), Wallet(realm.call, SOL)):
        yield bytes(other.sign(other.pay(stranger(), 1_000_000)))
        yield bytes(other.sign(other.pay(realm.wallet.address, 1_000_000)))


def cold(realm: Realm) -> Wallet:
    return Wallet(realm.call, 0, Keypair.from_seed(bytes(key("cold-sol"))))


def rubbish(lawful: bytes) -> Iterator[bytes]:
    """Yield random bytes, and a lawful transaction with something changed."""
    print(f"seed {SEED}")  # noqa: T201 - with which a failure can be repeated
    chance = random.Random(SEED)
    for _ in range(FLIPS):
        yield chance.randbytes(chance.randint(1, 1_232))
        changed = bytearray(lawful)
        changed[chance.randrange(len(lawful))] ^= 1 << chance.randrange(8)
        yield bytes(changed)
        yield lawful[: chance.randrange(1, len(lawful))]
    yield lawful + b"\0"


def accuse(
    realm: Realm, transaction: bytes, wallet: str = "hot-sol", by: SigningKey = WATCHTOWER
) -> wire.Result:
    """Claim to the signer that this was stolen, with a blockhash that lets a sweep in."""
    theft = make_theft(
        transaction,
        wallet=wallet,
        blockhash=bytes(realm.wallet.newest()).hex(),
        balance=realm.wallets[wallet].balance(),
    )
    claim = wire.AlarmSweep(theft=enveloped(sign(by, theft)))
    return realm.ask(wire.Job(alarm_sweep=claim))
