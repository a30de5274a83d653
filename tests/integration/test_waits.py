"""What a withdrawal waits for, until when, and what it holds meanwhile: nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from custody import views
from custody.domain.states import Waiting
from custody.flows import sign
from custody.flows.nonce_pool import keep_pool
from custody.flows.status import gather, next_actions, waiting_words
from custody.flows.waits import waiting_for
from custody.store.withdrawals import Row
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from tests.factories import HOUR, SOL
from tests.integration import house as houses
from tests.integration.house import House

house = houses.house
LARGE = 20 * SOL
MINUTE = 60_000


def refusal(code: Code, earliest: int = 0) -> wire.Refusal:
    return wire.Refusal(code=code, message="not now", earliest_time=earliest)


async def refused(house: House, row: Row, said: wire.Refusal) -> Row:
    """Let the signer answer that to the one withdrawal, and return what became of it."""
    house.gateway.refuse = [said]
    await sign.claim(house.parts)
    await sign.ask(house.parts)
    assert not house.gateway.refuse
    return await house.row(row)


def ahead(row: Row) -> float:
    """Return after how many seconds it was to be tried again."""
    return (row.retry_at - row.update_time).total_seconds()


@pytest.mark.parametrize(
    ("code", "waiting"),
    [
        (Code.WINDOW_EXCEEDED, "WINDOW"),
        (Code.RECALL_EXCEEDED, "RECALL"),
        (Code.HOURS_CLOSED, "HOURS"),
        (Code.COOLING, "COOLING"),
        (Code.DELAY, "DELAY"),
        (Code.WALLET_DISABLED, "POLICY"),
        (Code.CLOCK_DIFFERS, "SIGNER"),
        (Code.JOURNAL_BEHIND, "SIGNER"),
        (Code.JOURNAL_FOREIGN, "SIGNER"),
        (Code.FACT_MISSING, "SIGNER"),
    ],
)
async def test_it_waits_until_the_signers_time_and_holds_nothing(
    house: House, code: Code, waiting: str
) -> None:
    await house.ready()
    before = await house.balance()
    row = await house.create()
    said = refusal(code, house.clock.now() + 10 * MINUTE)
    seen = await refused(house, row, said)
    assert (seen.state, seen.waiting_for, seen.refusal_code) == ("QUEUED", waiting, code)
    assert ahead(seen) == pytest.approx(600, abs=10)
    shown = views.withdrawal(seen, [], [])
    assert shown.waiting_for == waiting
    assert shown.earliest_time.ToMilliseconds() == pytest.approx(said.earliest_time, abs=10_000)
    assert (seen.reserved, seen.set_aside) == (0, 0)
    assert await house.balance() == before
    assert not await house.sql("SELECT 1 FROM nonce WHERE holder IS NOT NULL")
    assert not await sign.claim(house.parts)  # not before its time
    another = await house.create()
    await house.sql("UPDATE withdrawal SET retry_at = '9999-01-01' WHERE digest = %s", row.digest)
    for _ in range(6):
        await sign.claim(house.parts)
        await sign.ask(house.parts)
    assert (await house.row(another)).state == "SIGNED"
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_it_is_tried_again_when_it_expires_at_the_latest_and_never_at_once(
    house: House,
) -> None:
    await house.ready()
    row = await house.create(expires=house.clock.now() + 30 * MINUTE)
    late = await refused(house, row, refusal(Code.WINDOW_EXCEEDED, house.clock.now() + 9 * HOUR))
    assert late.retry_at.timestamp() == pytest.approx(row.expires / 1000, abs=10)
    for earliest in (0, 1, house.clock.now() - 1, house.clock.now() + 1):
        await due_again(house)
        seen = await refused(house, row, refusal(Code.WINDOW_EXCEEDED, earliest))
        assert 0 < ahead(seen) <= 1, earliest
    await due_again(house)
    forever = await refused(house, row, refusal(Code.WINDOW_EXCEEDED, 2**64 - 1))
    assert forever.retry_at.timestamp() == pytest.approx(row.expires / 1000, abs=10)


async def due_again(house: House) -> None:
    """Make nonces known and the withdrawal due."""
    await keep_pool(house.parts)
    await house.sql("UPDATE withdrawal SET retry_at = now()")


async def test_windows_of_the_real_signer_let_one_through_when_there_is_room(house: House) -> None:
    await house.ready()
    small = ('amount = "100 SOL"', 'amount = "0.8 SOL"')
    await house.govern(small)
    first, second = await house.create(), await house.create()
    await house.step()
    states = {(await house.row(row)).state for row in (first, second)}
    assert states == {"COMPLETED", "QUEUED"}
    (waits,) = [row for row in (first, second) if (await house.row(row)).state == "QUEUED"]
    seen = await house.row(waits)
    assert (seen.waiting_for, seen.refusal_rule) == ("WINDOW", "wallets.hot-sol.windows.wallet")
    assert (await house.balance()).in_use == 0
    actions = "\n".join(next_actions(await gather(house.parts)))
    assert "wait for WINDOW: find out who asks for so much" in actions


async def test_a_delay_counts_from_when_the_signer_was_shown_it(house: House) -> None:
    """Before anybody approves: an officer who is slow does not make it slower."""
    await house.ready()
    await house.govern(
        ('person sits in one seat\ndelay = "0 hours"', 'person sits in one seat\ndelay = "2 hours"')
    )
    row = await house.create(amount=LARGE, expires=house.clock.now() + 20 * HOUR)
    await house.step()
    house.clock.ahead_ms += HOUR
    for person in ("alice", "carol"):
        await house.decide(row, person, expires=house.clock.now() + 9 * HOUR)
    await house.step()
    seen = await house.row(row)
    assert (seen.state, seen.waiting_for) == ("QUEUED", "DELAY")
    await house.sql("UPDATE withdrawal SET retry_at = now()")
    house.clock.ahead_ms += HOUR + MINUTE
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_closed_hours_refuse_neither_creation_nor_an_approval(house: House) -> None:
    await house.ready()
    opens = datetime.fromtimestamp(house.clock.now() / 1000, UTC) + timedelta(hours=26)
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[opens.weekday()]
    hours = f"{day}-{day} {opens:%H}:00-{opens:%H}:59 UTC"
    await house.govern(('hours = "always"', f'hours = "{hours}"'))
    expires = house.clock.now() + 100 * HOUR
    small = await house.create(expires=expires)
    assert small.state == "QUEUED"
    large = await house.create(amount=LARGE, expires=expires)
    for person in ("alice", "carol"):
        await house.decide(large, person, expires=expires)
    assert (await house.row(large)).state == "QUEUED"
    await house.step()
    for row in (small, large):
        seen = await house.row(row)
        assert (seen.state, seen.waiting_for, seen.refused_by) == ("QUEUED", "HOURS", "custody")
        earliest = seen.retry_at.timestamp() - datetime.now(UTC).timestamp()
        assert earliest < 0 or earliest < 26 * 3600
    assert not house.gateway.asked
    assert len(house.gateway.shown) == 2  # so that delays and coolings count meanwhile
    assert "wait for HOURS" not in "\n".join(next_actions(await gather(house.parts)))


async def test_a_disabled_wallet_lets_what_is_there_wait_for_the_policy(house: House) -> None:
    await house.ready(lamports=SOL // 2)
    row = await house.create(amount=SOL, expires=house.clock.now() + 100 * HOUR)
    await house.step()
    assert (await house.row(row)).waiting_for == "FUNDS"
    house.pay(house.wallet, SOL // 10)
    await house.step()
    assert (await house.row(row)).set_aside > 0
    await house.govern(("enabled = true", "enabled = false"))
    seen = await house.row(row)
    assert (seen.waiting_for, seen.refusal_code, seen.set_aside) == ("POLICY", "WALLET_DISABLED", 0)
    house.pay(house.wallet, 10 * SOL)
    await house.govern(("enabled = false", "enabled = true"))
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_locked_signer_is_not_asked_and_is_told_of(house: House) -> None:
    await house.ready()
    row = await house.create()
    clock = house.gateway.guard._clock
    honest = clock._look

    def off() -> object:
        seen = honest()
        return type(seen)(seen.wall + 5 * MINUTE, seen.steady, seen.boot, seen.tick)

    clock._look = off  # type: ignore[assignment]
    await house.step()
    seen = await house.row(row)
    assert (seen.state, seen.waiting_for, seen.refusal_code) == (
        "QUEUED",
        "SIGNER",
        "CLOCK_DIFFERS",
    )
    moves = await house.sql("SELECT count(*) FROM event WHERE event IN ('RESERVED', 'RETURNED')")
    await house.step()
    assert moves == await house.sql(
        "SELECT count(*) FROM event WHERE event IN ('RESERVED', 'RETURNED')"
    )
    facts = await gather(house.parts)
    assert facts.signers[0].locked == "CLOCK_DIFFERS"
    assert "the signer signs nothing (CLOCK_DIFFERS: " in "\n".join(next_actions(facts))
    assert views.status(facts).signers[0].locked_message
    clock._look = honest
    await house.step()
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


def test_every_refusal_that_waits_has_something_to_wait_for() -> None:
    for code in Code:
        assert waiting_for(code) in set(Waiting) - {Waiting.NOTHING, Waiting.FUNDS}


async def test_every_wait_is_told_in_words(house: House) -> None:
    await house.ready()
    await house.create(amount=LARGE)
    (queue,) = (await gather(house.parts)).queues
    for waiting in (*Waiting, "APPROVALS"):
        words = waiting_words(type(queue)("QUEUED", waiting, 1, queue.oldest, 0, queue.oldest))
        assert bool(words) == bool(waiting)
