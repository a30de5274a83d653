"""What custody does for a customer, on the ground of `tests.watched`, which has no custody."""

import base64
from itertools import count

from custody.identity import Role
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from signer.chains.solana import nonce_address
from signer.chains.solana_address import encode_address
from tests.factories import CUSTOMER, HOUR, key, make_intent, sign
from tests.signer_host import now
from tests.signing import nonce_open, transfer
from tests.watched import WAIT_SECONDS, Watched, until

_VALUE = slice(40, 72)  # of a nonce account's data
_numbers, _indices = count(1), count()


async def ask(ground: Watched, wallet: str) -> str:
    """Return the code with which the signer refuses a new payment, "" when it signs."""
    (result,) = await ground.ask(_job(wallet, next(_numbers).to_bytes(32, "big")))
    return result.refusal.code


async def withdraw(ground: Watched, wallet: str) -> None:
    """Pay a customer as custody does: on a nonce of the pool, and seen on the chain."""
    index = next(_indices)
    await _send(ground, nonce_open(index, await ground.blockhash(), wallet=wallet))
    account = encode_address(nonce_address(bytes(key(wallet).verify_key), index))
    options = {"encoding": "base64", "commitment": "confirmed"}
    shown = await ground.rpc.call("getAccountInfo", [account, options])
    value = base64.b64decode(shown["value"]["data"][0])[_VALUE]
    before = await ground.balance(CUSTOMER.address)
    await _send(ground, _job(wallet, value, index))
    assert await ground.balance(CUSTOMER.address) > before


async def _send(ground: Watched, job: wire.Job) -> None:
    """Have it signed and its receipt acknowledged, send it, and see it confirmed."""
    (result,) = await ground.ask(job)
    assert result.HasField("signed"), result
    request = tower_wire.SubmitReceiptsRequest(receipts=[result.receipt])
    worker = ground.tower(Role.SERVER, "worker")
    response = await worker.SubmitReceipts(request, timeout=WAIT_SECONDS)
    assert response.acks[0].signature
    name = await ground.send(result.signed.transaction)
    await until("a transaction", lambda: ground.confirmed(name))


def _job(wallet: str, nonce: bytes, index: int = 0) -> wire.Job:
    """Return a new payment's job."""
    created, number = now(), next(_numbers)
    intent = make_intent(
        request_id=f"w-{number}", wallet=wallet, created=created, expires=created + HOUR
    )
    return transfer(sign(key("exchange"), intent), nonce_index=index, nonce_value=nonce)
