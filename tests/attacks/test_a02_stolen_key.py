"""A02: the hot wallet's private key is stolen, and its thief sends to the chain himself.

Signer, relay, watchtower and chain are processes; custody is not needed to stop him.
"""

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tests import signing
from tests.factories import COLD_ADDRESS, HOUR, SOL, key, make_intent, sign
from tests.signer_host import now
from tests.watched import Watched, until, watched
from tests.watched_host import WALLETS, address_of

VICTIM, OTHER = WALLETS
BEFORE = 1_000 * SOL
TAKEN = 30 * SOL
SWEPT_LEAST = BEFORE - TAKEN - SOL  # fees of the ladder's transactions that came too late


async def take(ground: Watched, *, version: int | None = None) -> str:
    """The thief's transaction; of version 0 his own key pays, and the wallet's signs second."""
    victim, thief = Keypair.from_seed(bytes(key(VICTIM))), Keypair()
    paid = TransferParams(from_pubkey=victim.pubkey(), to_pubkey=thief.pubkey(), lamports=TAKEN)
    recent = Hash.from_bytes(await ground.blockhash())
    if version is None:
        message: Message | MessageV0 = Message.new_with_blockhash(
            [transfer(paid)], victim.pubkey(), recent
        )
        return await ground.send(bytes(VersionedTransaction(message, [victim])))
    await ground.fund(str(thief.pubkey()), SOL)
    message = MessageV0.try_compile(thief.pubkey(), [transfer(paid)], [], recent)
    return await ground.send(bytes(VersionedTransaction(message, [thief, victim])))


async def pay(ground: Watched, wallet: str, number: int) -> str:
    """The code with which the signer refuses a lawful withdrawal, "" when it signs."""
    created = now()
    intent = make_intent(
        request_id=f"w-{number}", wallet=wallet, created=created, expires=created + HOUR
    )
    job = signing.transfer(
        sign(key("exchange"), intent), nonce_index=number, nonce_value=bytes([number]) * 32
    )
    (result,) = await ground.ask(job)
    return result.refusal.code


async def swept(ground: Watched, cold: int) -> bool:
    saved = await ground.balance(COLD_ADDRESS) - cold
    return await ground.balance(address_of(VICTIM)) == 0 and saved >= SWEPT_LEAST


@pytest.mark.parametrize("version", [None, 0])
async def test_a_stolen_key_freezes_all_and_the_rest_goes_to_cold(version: int | None) -> None:
    async with watched() as ground:
        assert await pay(ground, VICTIM, 1) == ""
        cold = await ground.balance(COLD_ADDRESS)
        stolen = await take(ground, version=version)
        await until("the sweep", lambda: swept(ground, cold))
        assert [await pay(ground, wallet, 2) for wallet in WALLETS] == ["FROZEN", "FROZEN"]
        for name in ("signer", "watchtower"):
            ground.kill(name)
            ground.start(name)
        assert [await pay(ground, wallet, 3) for wallet in WALLETS] == ["FROZEN", "FROZEN"]
        alarms = {
            alarm.transaction_id: alarm.kind for alarm in (await ground.tower_status()).alarms
        }
        assert alarms[stolen] == "THEFT"

        await ground.lift_freezes()

        async def signs() -> bool:
            return await pay(ground, OTHER, 4) == ""

        await until("leases again", signs)
        assert await ground.balance(address_of(OTHER)) == BEFORE
        assert not (await ground.status()).freezes
