"""A killed withdrawal lands or fails, never both; and nothing is freed before that is certain."""

import pytest
from structlog.testing import capture_logs

from custody.chains.solana import SolanaNode
from custody.domain.states import State
from custody.flows import advance, broadcast, fail, housekeeping, kill, receipts, sign
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import LEASE_MS, Signed
from tests.factories import CUSTOMER, SOL, key, make_ack, make_freeze, make_intent, make_receipt
from tests.factories import sign as sign_statement
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.test_ends import forced

house = houses.house


async def signed(house: House, state: State = State.SIGNED) -> Row:
    """Return a withdrawal in this state, whose transaction the chain has not seen."""
    await house.ready()
    row = await house.create()
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    if state is not State.SIGNED:
        await receipts.hand_over(house.parts)
        await broadcast.start(house.parts)
    if state is State.CONFIRMING:
        await house.sql("UPDATE withdrawal SET state = 'CONFIRMING'")  # sent, and lost
    made = await house.row(row)
    assert made.state == state
    return made


async def killed(house: House, row: Row) -> Row:
    made = await kill.kill_withdrawal(house.parts, "alice", row.digest)
    assert isinstance(made, Row), made
    return made


@pytest.mark.parametrize("state", [State.SIGNED, State.BROADCASTING, State.CONFIRMING])
async def test_one_that_has_not_landed_fails_with_a_certificate(house: House, state: State) -> None:
    row = await signed(house, state)
    ending = await killed(house, row)
    assert (ending.state, ending.ending, ending.refusal_code) == ("ENDING", "FAILED", "KILLED")
    assert ending.reserved == row.reserved
    before = await house.balance()
    await house.step()
    failed = await house.row(row)
    assert (failed.state, failed.refusal_code, failed.reserved) == ("FAILED", "KILLED", 0)
    assert failed.receipt != row.receipt
    after = await house.balance()
    assert after.in_use == 0
    assert after.total == await house.on_chain(house.wallet) < before.total
    assert await house.on_chain(CUSTOMER.address) == 0
    (again,) = await house.gateway.ask([await forced(house, row)])
    assert again.refusal.code == Code.REQUEST_ENDED
    fresh = await house.create()
    await house.step()
    assert (await house.row(fresh)).state == "COMPLETED"


async def test_one_that_landed_after_all_is_paid_once(house: House) -> None:
    row = await signed(house, State.BROADCASTING)
    await house.parts.node.send(row.transaction or b"")
    house.chain.advance(40)
    await killed(house, row)
    await house.step()
    paid = await house.row(row)
    assert (paid.state, paid.ending, paid.refusal_code) == ("COMPLETED", "", "")
    assert await house.on_chain(CUSTOMER.address) == row.amount
    balance = await house.balance()
    assert (balance.total, balance.in_use) == (await house.on_chain(house.wallet), 0)


async def test_nothing_is_freed_while_the_watchtower_does_not_call_it_dead(house: House) -> None:
    row = await signed(house)
    house.tower.blind = True
    await killed(house, row)
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("ENDING", "LEASE")
    assert (await house.balance()).in_use == waiting.reserved > row.amount
    house.tower.blind = False
    await house.step()
    assert (await house.row(row)).state == "FAILED"


@pytest.mark.parametrize("kind", ["none", "another transaction's"])
async def test_an_advance_without_its_receipt_is_asked_for_again(house: House, kind: str) -> None:
    """Nothing is sent that the watchtower has no receipt of: kept, it would hold the funds."""
    row = await signed(house)
    given = row.receipt or b""
    house.gateway.forge = lambda _: b"no receipt" if kind == "none" else given
    await killed(house, row)
    with capture_logs() as logs:
        await advance.advance(house.parts)
        await receipts.hand_over(house.parts)
        await advance.advance(house.parts)
    assert "signer built something else" in {entry["event"] for entry in logs}
    sent = house.node_line.calls.count("sendTransaction")
    house.gateway.forge = bytes
    await house.sql("UPDATE advance SET retry_at = now()")
    await house.step()
    assert house.node_line.calls.count("sendTransaction") > sent
    assert (await house.row(row)).state == "FAILED"


async def test_anothers_word_of_death_counts_for_nothing(house: House) -> None:
    row = await signed(house)
    await killed(house, row)
    house.tower.tamper = lambda word: (
        word if b"kura.ack" in word.statement else sign_by_mallory(word.statement)
    )
    await house.step()
    assert (await house.row(row)).state == "ENDING"


def sign_by_mallory(statement: bytes) -> Signed:
    return Signed(statement, key("mallory").sign(statement).signature)


async def test_it_works_under_freeze_and_without_a_lease(house: House) -> None:
    row = await signed(house)
    house.tower.leasing = False
    await frozen(house)
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("SIGNED", "FROZEN")
    await killed(house, row)
    await house.step()
    assert (await house.row(row)).state == "FAILED"


async def frozen(house: House) -> None:
    freeze = sign_statement(key("alice"), make_freeze())
    job = wire.Apply(
        freeze=wire.SignedStatement(statement=freeze.statement, signature=freeze.signature)
    )
    (done,) = await house.gateway.ask([wire.Job(apply=job)])
    assert done.HasField("applied"), done
    await housekeeping.read_status(house.parts)


async def test_what_was_about_to_be_sent_is_not_sent_under_freeze(house: House) -> None:
    row = await signed(house, State.BROADCASTING)
    await frozen(house)
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("BROADCASTING", "FROZEN")
    assert await house.on_chain(CUSTOMER.address) == 0
    await killed(house, row)
    await house.step()
    assert (await house.row(row)).state == "FAILED"


async def test_killing_again_changes_nothing_and_only_what_is_signed_is_killed(
    house: House,
) -> None:
    await house.ready()
    for row, outcome in (
        (await house.create(amount=20 * SOL), Code.TOO_LATE),
        (await house.create(), Code.TOO_LATE),
    ):
        refused = await kill.kill_withdrawal(house.parts, "alice", row.digest)
        assert isinstance(refused, Refusal)
        assert refused.code is outcome
        assert "its requester cancels it, or an approver rejects it" in refused.message
    await house.step()
    missing = await kill.kill_withdrawal(house.parts, "alice", "ab" * 32)
    assert isinstance(missing, Refusal)
    assert missing.code is Code.NOT_FOUND
    row = await house.create()
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    first = await killed(house, row)
    assert await killed(house, row) == first
    await house.step()
    done = await house.row(row)
    assert await killed(house, row) == done
    orders = "SELECT count(*) FROM event WHERE (kind, event) = ('ORDER', 'KILL')"
    assert await house.sql(orders) == [(1,)]


async def test_the_advance_is_sent_only_when_its_receipt_is_acknowledged(house: House) -> None:
    row = await signed(house)
    await killed(house, row)
    house.tower.silent = True
    sent = house.node_line.calls.count("sendTransaction")
    await house.step()
    assert await house.sql("SELECT transaction_id IS NOT NULL, done FROM advance") == [
        (True, False)
    ]
    assert house.node_line.calls.count("sendTransaction") == sent
    house.tower.silent = False
    await house.step()
    assert (await house.row(row)).state == "FAILED"


async def test_after_a_recovery_every_nonce_is_advanced_once(house: House) -> None:
    """A signer with a new journal gets no lease before: who knows what the old one signed."""
    await house.ready()
    before = await house.sql("SELECT index, value, journal FROM nonce ORDER BY index")
    await house.recover()
    house.tower.leasing = False
    await house.step()
    after = await house.sql("SELECT index, value, journal FROM nonce ORDER BY index")
    assert len(after) == len(before) == 4
    for (_, old, journal), (_, new, now) in zip(before, after, strict=True):
        assert new not in {None, old}
        assert now == house.journal.name != journal
    assert await house.sql("SELECT count(*) FROM advance") == [(4,)]
    balance = await house.balance()
    assert (balance.total, balance.in_use) == (await house.on_chain(house.wallet), 0)
    await house.step()
    assert await house.sql("SELECT count(*) FROM advance") == [(4,)]


async def test_what_a_lost_journal_was_asked_for_keeps_its_money_and_no_nonce(house: House) -> None:
    """Whether it was paid only the chain can tell; it waits for people for ever."""
    await house.ready()
    for _ in range(4):
        row = await house.create()
    await sign.claim(house.parts)
    assert await house.sql("SELECT count(holder) FROM nonce") == [(4,)]
    await house.recover()
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("ENDING", "OPERATOR")
    assert (await house.balance()).in_use == 4 * waiting.reserved > 4 * row.amount
    free = "SELECT journal, holder FROM nonce WHERE value IS NOT NULL"
    assert await house.sql(free) == [(house.journal.name, None)] * 4
    house.lost |= {digest for (digest,) in await house.sql("SELECT digest FROM withdrawal")}


async def test_what_was_on_its_way_when_the_journal_was_lost_still_lands(house: House) -> None:
    row = await signed(house, State.CONFIRMING)
    await house.recover()
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert await house.sql("SELECT DISTINCT journal FROM nonce") == [(house.journal.name,)]


async def test_what_a_lost_journal_signed_can_be_killed(house: House) -> None:
    """The new journal knows nothing of it; the watchtower has the receipt of the lost one."""
    row = await signed(house, State.CONFIRMING)
    await killed(house, row)
    await house.recover()
    await house.step()
    failed = await house.row(row)
    assert (failed.state, failed.refusal_code, failed.reserved) == ("FAILED", "KILLED", 0)
    assert await house.on_chain(CUSTOMER.address) == 0


async def test_a_signature_without_its_receipt_is_not_taken(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ready()
    row = await house.create()
    answer = house.gateway._answer
    monkeypatch.setattr(house.gateway, "_answer", lambda job: _bare(answer(job)))
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("SIGNING", "SIGNER")
    monkeypatch.undo()
    monkeypatch.setattr("custody.flows.parts.time", house.clock)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


def _bare(result: wire.Result) -> wire.Result:
    result.ClearField("receipt")
    return result


async def test_only_an_acknowledgement_of_its_own_receipt_lets_it_go(house: House) -> None:
    row = await signed(house)
    house.tower.tamper = lambda word: sign_by_mallory(word.statement)
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("SIGNED", "LEASE")
    other = sign_statement(key("watchtower"), make_ack(make_receipt(make_intent())))
    house.tower.tamper = lambda _: other
    await house.step()
    assert (await house.row(row)).state == "SIGNED"
    house.tower.tamper = lambda word: word
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_without_a_lease_nothing_is_reserved_nor_asked(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.tower.leasing = False
    house.clock.ahead_ms += 2 * LEASE_MS
    await housekeeping.read_status(house.parts)
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("QUEUED", "LEASE")
    assert (house.gateway.asked, (await house.balance()).in_use) == ([], 0)
    house.tower.leasing = True
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_node_that_lies_about_a_nonce_does_not_make_it_advanced(house: House) -> None:
    """The watchtower counts the true values: what was advanced on a false one is not."""
    await house.ready()
    await house.recover()
    lied = False

    async def lie(*_: object) -> bytes:
        nonlocal lied
        lied = True
        return b"\x01" * 32

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SolanaNode, "nonce_value", lie)
        await housekeeping.read_status(house.parts)
        await advance.renew_pool(house.parts)
        await advance.advance(house.parts)
    assert lied
    await house.step()
    assert await house.sql("SELECT DISTINCT journal FROM nonce") == [(house.journal.name,)]
    assert await house.sql("SELECT count(*) FROM advance WHERE done") == [(8,)]
    balance = await house.balance()
    assert (balance.total, balance.in_use) == (await house.on_chain(house.wallet), 0)


async def test_a_killed_one_says_that_it_waits_for_the_watchtower_to_know_it(house: House) -> None:
    row = await signed(house)
    house.tower.silent = True
    await killed(house, row)
    await receipts.hand_over(house.parts)
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("ENDING", "LEASE")
    house.tower.silent = False
    await house.step()
    assert (await house.row(row)).state == "FAILED"


async def test_silence_of_the_watchtower_pauses_and_passes(house: House) -> None:
    row = await signed(house)
    house.tower.silent = True
    await house.step()
    waiting = await house.row(row)
    assert (waiting.state, waiting.waiting_for) == ("SIGNED", "LEASE")
    assert "sendTransaction" not in house.node_line.calls[-20:]
    house.tower.silent = False
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"
    assert await fail.certify(house.parts) is await advance.advance(house.parts) is False
