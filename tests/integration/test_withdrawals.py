"""The life of withdrawals on a real chain: paid once and to the lamport, or not at all."""

import asyncio
from typing import LiteralString

import psycopg

from custody.domain.states import State
from custody.flows.sign import claim
from custody.store import balances, withdrawals
from custody.store.withdrawals import Row
from policies.codes import Code, Refusal
from policies.statements import Destination
from tests.factories import CUSTOMER, HOUR, SOL, STRANGER
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.works import WALLET

house = houses.house
LARGE = 20 * SOL
FEE = 5_002  # one signature, and 2,000 compute units at 1,000 micro-lamports


async def test_a_small_one_is_paid_to_the_lamport_on_chain_and_in_the_books(house: House) -> None:
    await house.ready()
    before, on_chain = await house.balance(), await house.on_chain(house.wallet)
    row = await house.create(amount=123_456_789)
    assert (row.state, row.waiting_for) == ("QUEUED", "")
    await house.step()
    row = await house.row(row)
    assert (row.state, row.fee, row.waiting_for, row.refusal_code) == ("COMPLETED", FEE, "", "")
    after, cost = await house.balance(), 123_456_789 + FEE
    assert (after.total, after.in_use) == (before.total - cost, 0)
    assert await house.on_chain(house.wallet) == on_chain - cost == after.total
    assert await house.on_chain(CUSTOMER.address) == 123_456_789
    query: LiteralString = (
        "SELECT kind, amount FROM ledger_entry WHERE reference = %s ORDER BY kind"
    )
    assert await house.sql(query, row.digest) == [("fee", -FEE), ("withdrawal", -123_456_789)]
    assert await house.sql(
        "SELECT event, actor FROM event WHERE kind = 'WITHDRAWAL' ORDER BY sequence"
    ) == [
        ("CREATED", "exchange"),
        ("RESERVED", "worker"),
        ("SIGNATURE", "signer"),
        ("BROADCAST", "worker"),
        ("SENT", "worker"),
        ("FINALISED", "worker"),
    ]


async def test_a_memo_goes_along(house: House) -> None:
    noted = Destination(CUSTOMER.address, "蔵 tag 7")
    await house.ready(noted)
    row = await house.create(destination=noted)
    await house.step()
    paid = await house.row(row)
    assert paid.state == "COMPLETED"
    assert "蔵 tag 7".encode() in (paid.transaction or b"")


async def test_a_large_one_waits_for_two_groups(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    for person in ("alice", "bob"):  # both of one group
        decided = await house.decide(row, person)
        assert isinstance(decided, Row)
        assert decided.state == "PENDING_APPROVAL"
    await house.step()
    assert not house.gateway.asked
    decided = await house.decide(row, "carol")
    assert isinstance(decided, Row)
    assert decided.state == "QUEUED"
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert await house.on_chain(CUSTOMER.address) == LARGE


async def test_what_expires_before_it_is_signed_is_never_signed(house: House) -> None:
    await house.ready()
    pending, queued = await house.create(amount=LARGE), await house.create()
    await house.sql("UPDATE withdrawal SET retry_at = '9999-01-01'")
    signing = await house.create()
    await claim(house.parts)
    assert (await house.row(signing)).state == "SIGNING"
    house.clock.ahead_ms = HOUR
    await house.step()
    for row, by in ((pending, "custody"), (queued, "custody"), (signing, "signer")):
        ended = await house.row(row)
        assert (ended.state, ended.refusal_code, ended.refused_by) == (
            "EXPIRED",
            "INTENT_EXPIRED",
            by,
        )
    assert await house.on_chain(CUSTOMER.address) == 0
    assert (await house.balance()).in_use == 0


async def test_the_same_bytes_are_the_same_withdrawal_for_ever(house: House) -> None:
    await house.ready()
    signed = house.intent()
    assert await house.submit(signed) == await house.submit(signed)
    await house.step()
    done = await house.submit(signed)
    assert isinstance(done, Row)
    assert done.state == "COMPLETED"
    house.clock.ahead_ms = 2 * HOUR
    assert await house.submit(signed) == done
    await house.step()
    assert await house.sql("SELECT count(*) FROM withdrawal") == [(1,)]
    assert await house.on_chain(CUSTOMER.address) == done.amount


async def test_other_bytes_under_the_same_id_are_refused_naming_what_differs(house: House) -> None:
    await house.ready(STRANGER)
    first = await house.create(request_id="order-1")
    times = {"created": first.expires - HOUR, "expires": first.expires}
    for field, changes in (
        ("amount", {"amount": 1}),
        ("destination", {"destination": STRANGER}),
        ("expires", {"expires": first.expires - 1}),
    ):
        answer = await house.submit(house.intent(request_id="order-1", **{**times, **changes}))
        assert isinstance(answer, Refusal)
        assert (answer.code, answer.field) == (Code.REQUEST_ID_REUSED, f"intent.{field}")
        assert answer.message.endswith(f"another {field}")
    assert await house.sql("SELECT count(*) FROM withdrawal") == [(1,)]


async def test_concurrent_creates_give_one_row(house: House) -> None:
    await house.ready()
    await house.open_connections()
    same = house.intent(request_id="same")
    answers = await asyncio.gather(*(house.submit(same) for _ in range(8)))
    assert {type(answer) for answer in answers} == {Row}
    rivals = [house.intent(request_id="rivals", amount=SOL // 2 + n) for n in range(8)]
    answers = await asyncio.gather(*map(house.submit, rivals))
    refused = {(no.code, no.field) for no in answers if isinstance(no, Refusal)}
    assert refused == {(Code.REQUEST_ID_REUSED, "intent.amount")}
    (made,) = [row for row in answers if isinstance(row, Row)]
    assert await house.sql("SELECT count(*) FROM withdrawal") == [(2,)]
    await house.step()
    assert await house.on_chain(CUSTOMER.address) == SOL // 2 + made.amount


async def test_it_waits_for_funds_and_goes_on_after_an_inflow(house: House) -> None:
    await house.ready(lamports=2 * SOL)
    rows = [await house.create(amount=SOL * 9 // 10) for _ in range(3)]
    await house.step()
    now = [await house.row(row) for row in rows]
    assert [row.state for row in now] == ["COMPLETED", "COMPLETED", "QUEUED"]
    assert now[2].waiting_for == "FUNDS"
    house.pay(house.wallet, SOL)
    await house.step()
    assert (await house.row(rows[2])).state == "COMPLETED"
    assert await house.on_chain(CUSTOMER.address) == sum(row.amount for row in rows)


async def test_the_chains_minimum_stays_in_the_wallet(house: House) -> None:
    await house.ready(lamports=SOL)
    rent = await house.parts.node.minimum_rent(0)
    most = (await house.balance()).total - house.policy.wallets[WALLET].maximum_fee - rent
    over, within = await house.create(amount=most + 1), await house.create(amount=most)
    await house.step()
    assert (await house.row(over)).waiting_for == "FUNDS"
    assert (await house.row(within)).state == "COMPLETED"
    assert await house.on_chain(house.wallet) >= rent


async def test_it_waits_for_a_nonce_when_the_pool_is_all_in_use(house: House) -> None:
    await house.ready()
    rows = [await house.create() for _ in range(6)]
    await claim(house.parts)
    now = [await house.row(row) for row in rows]
    assert [row.state for row in now] == ["SIGNING"] * 4 + ["QUEUED"] * 2
    assert [row.waiting_for for row in now] == [""] * 4 + ["NONCE"] * 2
    assert len({row.nonce_index for row in now[:4]}) == 4
    await house.check()
    await house.step()
    assert {(await house.row(row)).state for row in rows} == {"COMPLETED"}
    assert await house.on_chain(CUSTOMER.address) == sum(row.amount for row in rows)


async def test_reservations_at_the_same_time_never_exceed_the_books(house: House) -> None:
    await house.ready(lamports=10 * SOL)

    async def reserve() -> bool:
        async with house.parts.database.transaction() as connection:
            return await balances.reserve(connection, WALLET, 3 * SOL)

    assert sum(await asyncio.gather(*(reserve() for _ in range(8)))) == 3
    await house.sql("UPDATE balance SET in_use = 0")


FORBIDDEN: tuple[LiteralString, ...] = (
    "UPDATE balance SET in_use = total + 1",
    "UPDATE balance SET set_aside = total",
    "UPDATE withdrawal SET ending = 'CANCELLED'",
    "UPDATE withdrawal SET state = 'ENDING'",
    "UPDATE event SET actor = 'nobody'",
    "DELETE FROM event",
    "TRUNCATE event",
    "DELETE FROM ledger_entry",
    "UPDATE balance SET in_use = in_use - 2000000000",
    "UPDATE balance SET total = in_use - 1",
    "UPDATE nonce SET holder = (SELECT holder FROM nonce WHERE holder IS NOT NULL LIMIT 1)",
    "UPDATE withdrawal SET state = 'SIGNED'",
    "UPDATE withdrawal SET state = 'PAID'",
    "UPDATE withdrawal SET request_id = 'w-1'",
    "UPDATE withdrawal SET reserved = -1",
    "DELETE FROM withdrawal",
    "UPDATE ledger_entry SET kind = 'inflow', reference = 'twice'",
)


async def test_the_database_itself_refuses_what_no_code_may_write(house: House) -> None:
    await house.ready()
    await house.create()
    await house.create()
    await claim(house.parts)
    for statement in FORBIDDEN:
        assert await refused(house, statement), statement


async def refused(house: House, statement: LiteralString) -> bool:
    try:
        await house.sql(statement)
    except (psycopg.IntegrityError, psycopg.errors.RaiseException):
        return True
    return False


async def test_those_that_wait_again_and_again_take_turns_with_newer_ones(house: House) -> None:
    await house.ready()
    older, newer = await house.create(), await house.create()
    await house.sql(
        "UPDATE withdrawal SET retry_at = now() - interval '1 second' WHERE digest = %s",
        older.digest,
    )
    await house.sql(
        "UPDATE withdrawal SET retry_at = now() - interval '1 minute' WHERE digest = %s",
        newer.digest,
    )
    async with house.parts.database.transaction() as connection:
        (first,) = await withdrawals.due(connection, State.QUEUED, 1)
    assert first.digest == newer.digest
    await house.step()
