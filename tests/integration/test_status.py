"""What the operator sees: facts from database and chain, and what to do in words."""

import re
from datetime import UTC, datetime, timedelta

from custody import views
from custody.flows.status import gather, next_actions
from tests.factories import SOL
from tests.integration import house as houses
from tests.integration.house import House

house = houses.house


async def actions(house: House) -> str:
    return "\n".join(next_actions(await gather(house.parts)))


async def test_a_sound_house_has_nothing_to_do_and_shows_its_facts(house: House) -> None:
    await house.ready()
    facts = await gather(house.parts)
    assert next_actions(facts) == []
    (signer,), (pool,), (node,) = facts.signers, facts.pools, facts.nodes
    assert signer.policy_digest == house.policy.digest
    assert pool.total == await house.on_chain(house.wallet)
    assert (pool.nonces, pool.nonces_free) == (4, 4)
    assert node.block_time
    assert abs(node.block_time - datetime.now(UTC)) < timedelta(minutes=1)
    shown = views.status(facts)
    assert shown.signers[0].policy_version == "1"
    assert not shown.queue


async def test_each_thing_that_waits_is_counted_with_what_to_do(house: House) -> None:
    await house.ready(lamports=2 * SOL)
    await house.create(amount=20 * SOL)
    for _ in range(3):
        await house.create(amount=9 * SOL // 10)
    await house.step()
    facts = await gather(house.parts)
    waiting = {(queue.state, queue.waiting_for): queue.count for queue in facts.queues}
    assert waiting == {("PENDING_APPROVAL", "APPROVALS"): 1, ("QUEUED", "FUNDS"): 1}
    words = await actions(house)
    assert f"refill {house.wallet}" in words
    assert "1 wait for officers" in words


async def test_a_silent_signer_and_a_dead_node_are_told_first(house: House) -> None:
    await house.ready()
    await house.sql("UPDATE signer SET seen = now() - interval '5 minutes'")
    house.node_line.cut = True
    silent, dead = (await actions(house)).split("\n")
    assert "signer is silent for 5 min" in silent
    assert "does not answer" in dead
    house.node_line.cut = False


async def test_a_lease_that_ran_out_points_to_the_watchtower(house: House) -> None:
    await house.ready()
    await house.sql("UPDATE signer SET lease_until = 1000 * extract(epoch FROM now()) - 90000")
    (words,) = next_actions(await gather(house.parts))
    assert re.search(r"it ran out 9\d s ago, at 20\d\d-.* UTC: look at the watchtower", words)
    assert words.endswith("start it: custody serve watchtower")
    await house.sql("UPDATE signer SET lease_until = 0")
    assert "the signer has no lease: look at the watchtower" in await actions(house)


async def test_before_any_signer_the_status_says_so(house: House) -> None:
    assert "no signer has ever answered" in await actions(house)
