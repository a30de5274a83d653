"""What becomes of a withdrawal, its funds and its nonce when the signer or the chain says no."""

from collections.abc import Callable

import pytest
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.chains.solana import SolanaNode
from custody.flows import broadcast, end, nonce_pool, receipts, sign
from custody.store.withdrawals import Row
from policies.codes import Code
from policies.statements import Destination
from signer.chains import solana
from signer.chains.solana_address import decode_address
from tests.factories import CUSTOMER, SOL
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.works import FEE, WALLET

house = houses.house
LARGE = 20 * SOL
ENDS = {Code.INTENT_EXPIRED: "EXPIRED", Code.APPROVAL_REJECTED: "REJECTED"}
ASKS_PEOPLE = {Code.APPROVALS_MISSING, Code.APPROVALS_STALE}


async def test_every_refusal_of_the_signer_frees_funds_and_nonce(house: House) -> None:
    await house.ready()
    before = await house.balance()
    for code in Code:
        row = await house.create()
        house.gateway.refuse = [code]
        await sign.claim(house.parts)
        await sign.ask(house.parts)
        await house.sql("UPDATE withdrawal SET retry_at = now() WHERE state = 'ENDING'")
        await end.ask(house.parts)
        seen = await house.row(row)
        state = "QUEUED" if code.waits else ENDS.get(code, "BLOCKED")
        state = "PENDING_APPROVAL" if code in ASKS_PEOPLE else state
        assert (seen.state, seen.refusal_code, seen.refused_by) == (state, code, "signer")
        assert await house.balance() == before, code
        if state == "QUEUED":
            assert not await sign.claim(house.parts), f"{code} is asked again without a pause"
            await house.step()
            assert (await house.row(row)).state == "COMPLETED", code
            before = await house.balance()
        await nonce_pool.keep_pool(house.parts)
        await house.check()


async def test_a_code_that_custody_does_not_know_waits(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.refuse = ["FROM_THE_FUTURE"]
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("QUEUED", "SIGNER")
    assert waiting.refusal_code == "JOB_MALFORMED"
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


@pytest.mark.parametrize("code", [Code.INTENT_EARLY, Code.FEE_EXCEEDED, Code.WALLET_NOT_HELD])
async def test_what_an_operator_can_mend_does_not_end_it(house: House, code: Code) -> None:
    """A clock, a fee in the settings, another signer's relay: none is about the withdrawal."""
    await house.ready()
    row = await house.create()
    house.gateway.refuse = [code]
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_completed_one_shows_no_refusal_of_before(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.refuse = [Code.NONCE_USED]
    await house.step()
    done = await house.row(row)
    assert (done.state, done.refusal_code, done.refusal_message) == ("COMPLETED", "", "")


def another_amount(house: House, row: Row) -> bytes:
    """Return what a signer that lies would sign: the wallet's own signature, twice the amount."""
    source = decode_address(house.wallet)
    message = solana.transfer_message(
        source=source,
        nonce_account=solana.nonce_address(source, row.nonce_index or 0),
        nonce_value=row.nonce_value or b"",
        destination=decode_address(row.address),
        lamports=2 * row.amount,
        memo="",
        fee=solana.Fee(FEE.unit_limit, FEE.unit_price),
    )
    return solana.transaction(message, house.token.sign(WALLET, message))


@pytest.mark.parametrize("how", ["another amount", "a byte more", "another signature", "nothing"])
async def test_what_was_signed_differently_is_never_sent(house: House, how: str) -> None:
    await house.ready()
    row, sent = await house.create(), house.node_line.calls.count("sendTransaction")
    await sign.claim(house.parts)
    lie = another_amount(house, await house.row(row))
    changes: dict[str, Callable[[bytes], bytes]] = {
        "another amount": lambda _: lie,
        "a byte more": lambda honest: honest + b"\0",
        "another signature": lambda honest: honest[:1] + bytes(64) + honest[65:],
        "nothing": lambda _: b"",
    }
    house.gateway.tamper = changes[how]
    await house.step()
    asked = await house.row(row)
    # Bytes that do not come, the second time, may be of long ago: they are looked for on the chain.
    assert (asked.state, asked.waiting_for) in {("SIGNING", "SIGNER"), ("SIGNING", "NODE")}
    assert asked.transaction is None
    assert house.node_line.calls.count("sendTransaction") == sent
    assert (await house.balance()).in_use == asked.reserved > row.amount  # it may land some day
    house.gateway.tamper = bytes
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert await house.on_chain(CUSTOMER.address) == row.amount


async def test_bytes_signed_before_are_taken_whatever_nonce_they_have(house: House) -> None:
    """A relay that kept the signature, or a database put back, must not lose the request."""
    await house.ready()
    row = await house.create()
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    first = await house.row(row)
    await house.sql(
        "UPDATE withdrawal SET state = 'SIGNING', transaction = NULL, transaction_id = NULL,"
        " nonce_index = (nonce_index + 1) %% 4"
    )
    await sign.ask(house.parts)
    again = await house.row(row)
    assert (again.transaction, again.nonce_index) == (first.transaction, first.nonce_index)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


@pytest.fixture
async def drained(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[Row, Callable[[], None]]:
    """A signed payment of 1,000 lamports to an account that its owner empties at the call.

    The node lies about the least amount, or custody would not have taken it.
    """

    async def no_problem(*_: object) -> None:
        return None

    monkeypatch.setattr(SolanaNode, "destination_problem", no_problem)
    owner = Keypair()
    await house.ready(Destination(str(owner.pubkey()), ""))
    house.pay(str(owner.pubkey()), SOL)
    row = await house.create(destination=Destination(str(owner.pubkey()), ""), amount=1_000)
    await sign.claim(house.parts)
    await sign.ask(house.parts)

    def drain() -> None:
        chain = house.chain
        params = TransferParams(
            from_pubkey=owner.pubkey(), to_pubkey=Keypair().pubkey(), lamports=SOL - 5_000
        )
        newest = chain.slots.blockhash(chain.slots.newest)
        message = Message.new_with_blockhash([transfer(params)], owner.pubkey(), newest)
        assert chain.submit(VersionedTransaction(message, [owner])).landed
        chain.advance(4)

    return row, drain


async def test_one_that_fails_on_the_chain_costs_its_fee(
    house: House, drained: tuple[Row, Callable[[], None]]
) -> None:
    row, drain = drained
    before = await house.balance()
    drain()
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("BROADCASTING", "NODE")
    landed = house.chain.submit(VersionedTransaction.from_bytes(waiting.transaction or b""))
    assert landed.landed
    assert landed.err
    await house.step()
    failed = await house.row(row)
    assert (failed.state, failed.refusal_code) == ("FAILED", "TRANSACTION_FAILED")
    assert (failed.fee, failed.refused_by) == (FEE.lamports, "chain")
    after = await house.balance()
    assert (after.total, after.in_use) == (before.total - FEE.lamports, 0)
    assert after.total == await house.on_chain(house.wallet)
    await house.create()
    await house.step()
    assert await house.on_chain(CUSTOMER.address) == SOL // 2  # its nonce works again


async def test_one_that_the_node_dropped_and_refuses_now_is_held_and_sent_again(
    house: House, drained: tuple[Row, Callable[[], None]]
) -> None:
    row, drain = drained
    await receipts.hand_over(house.parts)
    await broadcast.start(house.parts)
    await house.sql("UPDATE withdrawal SET state = 'CONFIRMING'")  # taken by the node, and dropped
    drain()
    await house.step()
    held = await house.row(row)
    assert (held.state, held.waiting_for) == ("CONFIRMING", "NODE")
    assert (await house.balance()).in_use == held.reserved
    house.pay(row.address, SOL)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
