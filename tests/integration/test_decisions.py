"""What officers and requesters decide about a withdrawal, and what they cannot."""

from custody.flows import decide
from custody.flows.sign import claim
from custody.store import signers, status
from custody.store.withdrawals import Row
from policies.codes import Code, Refusal
from policies.statements import Cancel, Signed
from tests.factories import HOUR, SOL, key, public, sign, sign_bytes
from tests.integration import house as houses
from tests.integration.house import House

house = houses.house
LARGE = 20 * SOL


def code(answer: object) -> Code:
    assert isinstance(answer, Refusal), answer
    return answer.code


def state(answer: object) -> str:
    assert isinstance(answer, Row), answer
    return answer.state


async def cancel(house: House, row: Row, who: str = "exchange", of: str = "") -> Row | Refusal:
    signed = sign(key(who), Cancel(key=public(who), intent=of or row.digest))
    return await decide.cancel_withdrawal(house.parts, "exchange", row.digest, signed)


async def test_one_rejection_ends_it(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    assert state(await house.decide(row, "alice")) == "PENDING_APPROVAL"
    assert state(await house.decide(row, "bob", decision="reject")) == "ENDING"
    assert code(await house.decide(row, "carol")) == Code.TOO_LATE
    await house.step()
    ended = await house.row(row)
    assert (ended.state, ended.refusal_code) == ("REJECTED", "APPROVAL_REJECTED")
    assert "bob" in ended.refusal_message
    assert not house.gateway.asked


async def test_a_signer_seen_after_the_transaction_began_is_one(house: House) -> None:
    await house.ready()
    async with house.parts.database.transaction() as early:
        await early.execute("SELECT now()")
        async with house.parts.database.transaction() as late:
            await late.execute("UPDATE signer SET seen = now()")
        assert await signers.latest(early) is not None
        assert await status.signers(early)


async def test_an_officer_may_change_to_a_rejection(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.decide(row, "alice")
    assert state(await house.decide(row, "alice", decision="reject")) == "ENDING"


async def test_the_same_decision_twice_is_one_even_after_its_end(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    expires = house.clock.now() + HOUR
    for person in ("alice", "alice", "carol", "carol"):
        assert isinstance(await house.decide(row, person, expires=expires), Row)
    assert await house.sql("SELECT count(*) FROM approval") == [(2,)]
    await house.step()
    assert state(await house.decide(row, "carol", expires=expires)) == "COMPLETED"
    assert code(await house.decide(row, "carol", expires=expires + 1)) == Code.TOO_LATE


async def test_a_decision_is_ones_own_about_this_intent_under_this_policy(house: House) -> None:
    await house.ready()
    row, other = await house.create(amount=LARGE), await house.create(amount=LARGE)
    now = house.clock.now()
    for changes, refused, field in (
        ({"intent": other.digest}, Code.APPROVAL_INVALID, "approval.intent"),
        ({"approver": "carol"}, Code.APPROVAL_INVALID, "approval.key"),
        ({"key": public("carol")}, Code.APPROVAL_INVALID, "approval.key"),
        ({"approver": "mallory"}, Code.APPROVAL_INVALID, "approval.key"),
        ({"policy": "0" * 64}, Code.APPROVALS_STALE, ""),
        ({"expires": now}, Code.APPROVALS_STALE, ""),
    ):
        answer = await house.decide(row, "alice", **changes)
        assert isinstance(answer, Refusal), changes
        assert (answer.code, answer.field) == (refused, field)
    assert await house.sql("SELECT count(*) FROM approval") == [(0,)]


async def test_a_spoiled_decision_is_refused(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    good = house.approval(row.digest, "carol")
    spoiled = {
        "another's certificate": ("alice", good),
        "unsigned": ("carol", Signed(good.statement, bytes(64))),
        "no signature": ("carol", Signed(good.statement, b"")),
        "by another key": ("carol", sign_bytes(key("alice"), good.statement)),
        "not JSON": ("carol", sign_bytes(key("carol"), b"{")),
        "an intent": ("carol", row.signed),
    }
    for name, (officer, signed) in spoiled.items():
        answer = await decide.create_approval(house.parts, officer, row.digest, signed)
        assert code(answer) == Code.APPROVAL_INVALID, name
        assert isinstance(answer, Refusal)
        assert answer.field.startswith("approval"), name
    answer = await decide.create_approval(house.parts, "carol", "0" * 64, good)
    assert code(answer) == Code.NOT_FOUND
    assert await house.sql("SELECT count(*) FROM approval") == [(0,)]


async def test_nobody_is_asked_about_a_small_one(house: House) -> None:
    await house.ready()
    row = await house.create()
    assert code(await house.decide(row, "alice")) == Code.TOO_LATE


async def test_a_decision_that_expires_before_the_others_does_not_count(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    await house.decide(row, "alice", expires=house.clock.now() + 60_000)
    house.clock.ahead_ms = 120_000
    assert state(await house.decide(row, "carol")) == "PENDING_APPROVAL"
    assert state(await house.decide(row, "bob")) == "QUEUED"
    await house.step()
    assert state(await house.row(row)) == "COMPLETED"


async def test_decisions_that_expire_in_the_queue_ask_the_officers_again(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE)
    for person in ("alice", "carol"):
        await house.decide(row, person, expires=house.clock.now() + 60_000)
    house.clock.ahead_ms = 120_000
    await house.step()
    assert state(await house.row(row)) == "PENDING_APPROVAL"
    assert not house.gateway.asked
    for person in ("bob", "carol"):
        await house.decide(row, person)
    await house.step()
    assert state(await house.row(row)) == "COMPLETED"


async def test_cancelled_before_it_is_being_signed(house: House) -> None:
    await house.ready()
    for row in (await house.create(), await house.create(amount=LARGE)):
        for _ in range(2):
            assert state(await cancel(house, row)) == "ENDING"
        assert code(await house.decide(row, "alice")) == Code.TOO_LATE
    await house.step()
    assert not house.gateway.asked
    assert state(await cancel(house, row)) == "CANCELLED"
    assert (await house.balance()).in_use == 0


async def test_too_late_to_cancel_once_it_is_being_signed(house: House) -> None:
    await house.ready()
    row = await house.create()
    await claim(house.parts)
    assert code(await cancel(house, row)) == Code.TOO_LATE
    await house.step()
    assert code(await cancel(house, row)) == Code.TOO_LATE
    assert state(await house.row(row)) == "COMPLETED"


async def test_only_its_requester_cancels_with_the_intents_key(house: House) -> None:
    await house.ready()
    row, other = await house.create(), await house.create()
    good = sign(key("exchange"), Cancel(key=public("exchange"), intent=row.digest))
    answer = await decide.cancel_withdrawal(house.parts, "other", row.digest, good)
    assert code(answer) == Code.NOT_FOUND
    assert code(await cancel(house, row, "alice")) == Code.SIGNATURE_INVALID
    assert code(await cancel(house, row, of=other.digest)) == Code.SIGNATURE_INVALID
    for signed, refused in (
        (Signed(good.statement, bytes(64)), Code.SIGNATURE_INVALID),
        (Signed(b"{", good.signature), Code.ARGUMENT_INVALID),
        (row.signed, Code.ARGUMENT_INVALID),
    ):
        answer = await decide.cancel_withdrawal(house.parts, "exchange", row.digest, signed)
        assert code(answer) == refused
        assert isinstance(answer, Refusal)
        assert not answer.field.endswith(".")
    assert state(await house.row(row)) == "QUEUED"
