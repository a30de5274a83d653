"""A message that the signer has reserved keeps its nonce, whatever custody asks for later."""

import pytest
from structlog.testing import capture_logs

from custody.flows import decide, nonce_pool, sign
from custody.store.withdrawals import Row
from policies.statements import Cancel
from signer.requests import Requests
from tests.factories import CUSTOMER, SOL, key, public
from tests.factories import sign as sign_statement
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.mischief import crash_in

house = houses.house
LARGE = 20 * SOL


async def test_a_reserved_message_is_signed_with_its_own_nonce_after_approvals_lapsed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await lapsed(house, monkeypatch, dies=True)
    rival = await house.create()
    await sign.claim(house.parts)
    assert (await house.row(rival)).nonce_index == row.nonce_index
    for person in ("bob", "carol"):
        await house.decide(row, person)
    with capture_logs() as logs:
        await house.step()
    assert [(await house.row(each)).state for each in (row, rival)] == ["COMPLETED"] * 2
    assert not [entry for entry in logs if entry["log_level"] == "critical"]
    assert await house.on_chain(CUSTOMER.address) == row.amount + rival.amount


async def test_a_nonce_that_another_used_meanwhile_is_no_longer_wanted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await lapsed(house, monkeypatch, dies=False)
    rival = await house.create()
    await house.step()
    used = await house.row(rival)
    assert (used.state, used.nonce_index) == ("COMPLETED", row.nonce_index)
    for person in ("bob", "carol"):
        await house.decide(row, person)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_reserved_message_that_nobody_wants_any_more_holds_up_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await lapsed(house, monkeypatch, dies=True)
    cancel = sign_statement(key("exchange"), Cancel(key=public("exchange"), intent=row.digest))
    await decide.cancel_withdrawal(house.parts, "exchange", row.digest, cancel)
    rivals = [await house.create() for _ in range(2)]
    await house.step()
    assert [(await house.row(rival)).state for rival in rivals] == ["COMPLETED"] * 2


async def lapsed(house: House, monkeypatch: pytest.MonkeyPatch, *, dies: bool) -> Row:
    """Return a large one whose approvals lapsed after the signer was asked, and died or not."""
    await house.ready()
    row = await house.create(amount=LARGE)
    for person in ("alice", "carol"):
        await house.decide(row, person, expires=house.clock.now() + 60_000)
    await sign.claim(house.parts)
    claimed = await house.row(row)
    if dies:
        with monkeypatch.context() as patch:
            crash_in(Requests, "reserve", patch)
            assert await house.dies(sign.ask(house.parts))
    house.clock.ahead_ms = 120_000
    await sign.ask(house.parts)
    await nonce_pool.keep_pool(house.parts)
    assert (await house.row(row)).state == "PENDING_APPROVAL"
    assert (await house.balance()).in_use == 0
    return claimed
