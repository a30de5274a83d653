"""A policy version through custody to the real signer: at once, delayed, vetoed, out of order."""

from typing import Any

import pytest

from custody import views
from custody.flows import policy_versions as versions
from custody.flows import sign as signing
from custody.flows.apply import apply_policy
from custody.flows.housekeeping import read_status
from custody.flows.policy_versions import Shown
from custody.flows.signature import statement
from custody.flows.status import gather, next_actions
from custody.store import policy_versions
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import Signed, Veto, digest
from tests.factories import CUSTOMER, HOT_ADDRESS, HOUR, SOL, key, public, sign
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.mischief import Crash

house = houses.house
LARGE = 20 * SOL
TIGHTER = ('cap = "50 SOL"', 'cap = "50 SOL"\n# tighter'), ('up_to = "1 SOL"', 'up_to = "0.5 SOL"')
LOOSER = (('up_to = "1 SOL"', 'up_to = "2 SOL"'),)
DAY = 24 * HOUR


def state(answer: object) -> str:
    assert isinstance(answer, Shown), answer
    return answer.row.state


def code(answer: object) -> Code:
    assert isinstance(answer, Refusal), answer
    return answer.code


async def now(house: House, file: bytes) -> Shown:
    found = await versions.get_policy_version(house.parts, digest(file))
    assert isinstance(found, Shown), found
    return found


async def to_do(house: House) -> str:
    """Return what is to be done about policy versions."""
    actions = next_actions(await gather(house.parts))
    return "\n".join(words for words in actions if "policy version" in words)


async def in_force(house: House) -> str:
    ((found,),) = await house.sql("SELECT policy_digest FROM signer")
    return str(found)


async def test_one_that_only_tightens_is_in_force_at_once(house: House) -> None:
    await house.ready()
    file = house.next_policy(*TIGHTER)
    assert state(await house.propose(file)) == "PENDING"
    await apply_policy(house.parts)
    assert await in_force(house) == digest(file)  # custody's copy follows right after
    assert (await now(house, file)).row.state == "APPLIED"
    assert state(await house.propose(file)) == "APPLIED"


async def test_one_that_the_watchtower_brought_to_the_signer_first_is_kept(house: House) -> None:
    await house.ready()
    file = house.next_policy(*TIGHTER)
    changes = [statement(change) for change in house.policy_changes(file)]
    version = wire.PolicyVersion(file=file, changes=changes)
    job = wire.Job(apply=wire.Apply(policy=version))
    (result,) = await house.parts.gateway.ask([job])
    assert result.HasField("applied"), result
    await read_status(house.parts)
    assert await in_force(house) == digest(file)
    assert code(await house.propose(file, ["alice"])) is Code.QUORUM_MISSING
    assert state(await house.propose(file)) == "PENDING"
    await apply_policy(house.parts)
    assert (await now(house, file)).row.state == "APPLIED"


async def test_one_that_loosens_waits_and_comes_into_force_by_itself(house: House) -> None:
    await house.ready()
    before, file = await in_force(house), house.next_policy(*LOOSER)
    await house.propose(file)
    await house.step()
    waiting = await now(house, file)
    assert waiting.row.state == "DELAYED"
    assert abs(waiting.row.earliest - house.clock.now() - DAY) < 60_000
    assert await in_force(house) == before
    assert f"custody policy proposals {digest(file)}" in await to_do(house)
    shown = views.status(await gather(house.parts)).signers[0].proposals[0]
    assert shown.name == f"policyVersions/{digest(file)}"
    assert shown.earliest_time.ToMilliseconds() == pytest.approx(waiting.row.earliest, abs=5_000)
    house.clock.ahead_ms += DAY
    await house.step()
    assert (await now(house, file)).row.state == "APPLIED"
    assert await in_force(house) == digest(file)
    assert not await to_do(house)


async def test_it_is_not_asked_about_again_before_its_time_unless_somebody_asks(
    house: House,
) -> None:
    await house.ready()
    file = house.next_policy(*LOOSER)
    await house.propose(file)
    assert await apply_policy(house.parts)
    assert not await apply_policy(house.parts)
    assert state(await house.propose(file)) == "PENDING"  # activate
    assert await apply_policy(house.parts)
    assert (await now(house, file)).row.state == "DELAYED"
    house.clock.ahead_ms += DAY
    assert not await apply_policy(house.parts)  # by the database's clock it is not time yet
    await house.propose(file)
    await apply_policy(house.parts)
    assert (await now(house, file)).row.state == "APPLIED"


async def test_a_veto_ends_it_and_is_told(house: House) -> None:
    await house.ready()
    file = house.next_policy(*LOOSER)
    await house.propose(file)
    await house.step()
    assert await house.veto(file, "bob") is False
    await house.step()
    assert await house.veto(file, "bob") is True
    vetoed = await now(house, file)
    assert (vetoed.row.state, vetoed.row.refusal_code) == ("REFUSED", "POLICY_VETOED")
    assert vetoed.vetoed_by == ("bob",)
    assert code(await house.propose(file)) is Code.POLICY_VETOED
    house.clock.ahead_ms += 2 * DAY
    await house.step()
    assert await in_force(house) == house.policy.digest
    assert not await to_do(house)


async def test_a_veto_that_comes_before_the_signer_saw_the_version(house: House) -> None:
    await house.ready()
    file = house.next_policy(*LOOSER)
    await house.propose(file)
    assert await house.veto(file, "alice") is False
    await house.step()
    assert (await now(house, file)).row.refusal_code == "POLICY_VETOED"


async def test_whom_a_version_removes_cannot_stop_it(house: House) -> None:
    await house.ready()
    text = house.next_policy().decode()
    start, end = text.index("[people.bob]"), text.index("[people.carol]")
    text = text[:start] + text[end:]
    file = text.replace('["alice", "bob"]', '["alice"]').replace('"1 SOL"', '"2 SOL"').encode()
    await house.propose(file)
    await house.step()
    await house.veto(file, "bob")
    await house.step()
    waiting = await now(house, file)
    assert (waiting.row.state, waiting.vetoed_by) == ("DELAYED", ())
    assert await to_do(house)
    house.clock.ahead_ms += DAY
    await house.step()
    assert await in_force(house) == digest(file)


async def test_vetoes_that_are_none(house: House) -> None:
    await house.ready()
    file, other = house.next_policy(*LOOSER), house.next_policy(('"1 SOL"', '"3 SOL"'))
    await house.propose(file)
    good = Veto(key=public("alice"), person="alice", change=digest(file))
    wrong = {
        "another's certificate": ("bob", sign(key("alice"), good)),
        "unsigned": ("alice", Signed(sign(key("alice"), good).statement, bytes(64))),
        "by another key": ("alice", sign(key("bob"), good)),
        "a requester": (
            "exchange",
            sign(key("exchange"), Veto(key=public("exchange"), person="exchange", change="0" * 64)),
        ),
        "another version": (
            "alice",
            sign(key("alice"), Veto(key=public("alice"), person="alice", change=digest(other))),
        ),
        "nothing": ("alice", Signed(b"{}", bytes(64))),
    }
    for name, (officer, signed) in wrong.items():
        answer = await versions.create_veto(house.parts, officer, digest(file), signed)
        assert code(answer) is Code.VETO_INVALID, name
    assert code(await house.veto(other, "alice")) is Code.NOT_FOUND
    assert code(await house.veto(house.file, "alice")) is Code.NOT_FOUND
    assert await house.sql("SELECT count(*) FROM veto") == [(0,)]
    tight = house.next_policy(*TIGHTER)
    await house.propose(tight)
    await house.step()
    assert code(await house.veto(tight, "alice")) is Code.TOO_LATE


async def test_what_custody_refuses_is_not_kept(house: House) -> None:
    await house.ready()
    file = house.next_policy(*LOOSER)
    other = house.policy_changes(house.next_policy(*TIGHTER))
    for name, answer, expected in (
        ("one officer", await house.propose(file, ["alice"]), Code.QUORUM_MISSING),
        ("one group", await house.propose(file, ["alice", "bob"]), Code.QUORUM_MISSING),
        ("nobody", await house.propose(file, []), Code.QUORUM_MISSING),
        (
            "of another",
            await versions.create_policy_version(house.parts, file, other),
            Code.QUORUM_MISSING,
        ),
        ("in force", await house.propose(house.file), Code.POLICY_OUT_OF_ORDER),
        (
            "too early",
            await house.propose(file.replace(b"version = 2", b"version = 3")),
            Code.POLICY_OUT_OF_ORDER,
        ),
        ("no policy", await house.propose(b"x = 1"), Code.POLICY_MALFORMED),
        ("too long", await house.propose(bytes(300_000)), Code.POLICY_MALFORMED),
    ):
        assert code(answer) is expected, name
    assert await house.sql("SELECT count(*) FROM policy_version") == [(0,)]


async def test_of_two_rivals_the_first_in_force_ends_the_other(house: House) -> None:
    await house.ready()
    looser, tighter = house.next_policy(*LOOSER), house.next_policy(*TIGHTER)
    await house.propose(looser)
    await house.step()
    await house.propose(tighter)
    await house.step()
    assert await in_force(house) == digest(tighter)
    ended = await now(house, looser)
    assert (ended.row.state, ended.row.refusal_code) == ("REFUSED", "POLICY_OUT_OF_ORDER")


async def test_signatures_that_lapse_on_the_way_are_replaced(house: House) -> None:
    await house.ready()
    file = house.next_policy(*LOOSER)
    await house.propose(file)
    await house.step()
    house.clock.ahead_ms += 50 * HOUR
    await house.step()
    assert (await now(house, file)).row.refusal_code == "QUORUM_MISSING"
    assert state(await house.propose(file)) == "PENDING"
    await house.step()
    assert await in_force(house) == digest(file)


async def test_only_so_many_wait(house: House) -> None:
    await house.ready()
    for number in range(versions.OPEN_MAX):
        file = house.next_policy(('"1 SOL"', f'"1.{number + 1} SOL"'))
        assert state(await house.propose(file)) == "PENDING"
    one_more = house.next_policy(('"1 SOL"', '"3 SOL"'))
    assert code(await house.propose(one_more)) is Code.RATE_EXCEEDED
    assert state(await house.propose(file)) == "PENDING"  # the same again is no more
    shown = await versions.list_policy_versions(house.parts, 2**62, 100)
    assert len(shown) == versions.OPEN_MAX


async def test_a_crash_between_the_signer_and_custodys_copy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ready()
    file = house.next_policy(*TIGHTER)
    await house.propose(file)

    async def dead(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(policy_versions, "settle", dead)
        assert await house.dies(apply_policy(house.parts))
    await house.step()
    assert (await now(house, file)).row.state == "APPLIED"


async def test_orders_are_in_the_audit_log_once(house: House) -> None:
    await house.ready()
    file = house.next_policy(*LOOSER)
    await house.propose(file)
    await house.propose(file)
    await house.veto(file, "bob")
    await house.veto(file, "bob")
    await house.step()
    events = await house.sql(
        "SELECT event, actor, subject, details->>'digest' FROM event WHERE kind = 'ORDER'"
        " AND event IN ('POLICY', 'VETO') ORDER BY sequence"
    )
    subject = f"policyVersions/{digest(file)}"
    assert [event[:3] for event in events][-1] == ("VETO", "bob", subject)
    assert ("POLICY", "alice,carol", subject, digest(file)) in events
    assert [event[0] for event in events].count("VETO") == 1


async def test_an_unreachable_signer_is_asked_later(house: House) -> None:
    await house.ready()
    file = house.next_policy(*TIGHTER)
    house.gateway.unreachable = True
    await house.propose(file)
    await house.veto(file, "bob")
    await house.step()
    assert (await now(house, file)).row.state == "PENDING"
    house.gateway.unreachable = False
    await house.step()
    assert (await now(house, file)).row.state == "APPLIED"


# What a new version does to withdrawals.


async def test_a_new_version_voids_approvals_and_asks_again(house: House) -> None:
    await house.ready(lamports=SOL // 2)
    pending, queued = await house.create(amount=LARGE), await house.create(amount=SOL)
    await house.decide(pending, "alice")
    await house.govern(*TIGHTER)
    house.pay(house.wallet, 100 * SOL)
    await house.step()
    for row in (pending, queued):
        assert (await house.row(row)).state == "PENDING_APPROVAL"
    for person in ("carol", "alice"):  # the approval under the old policy does not count
        assert (await house.row(pending)).state == "PENDING_APPROVAL"
        await house.decide(pending, person)
    await house.step()
    assert (await house.row(pending)).state == "COMPLETED"
    assert await house.on_chain(CUSTOMER.address) == LARGE


async def test_approvals_that_the_signer_calls_stale_ask_again(house: House) -> None:
    """The signer has the new version, custody has not heard of it."""
    await house.ready()
    row = await house.create(amount=LARGE)
    for person in ("alice", "carol"):
        await house.decide(row, person)
    file = house.next_policy(*TIGHTER)
    signed = house.policy_changes(file)
    frame = wire.PolicyVersion(file=file, changes=[statement(item) for item in signed])
    (answer,) = await house.gateway.ask([wire.Job(apply=wire.Apply(policy=frame))])
    assert answer.applied.digest == digest(file)
    await signing.claim(house.parts)
    await signing.ask(house.parts)
    asked = await house.row(row)
    assert (asked.state, asked.refusal_code) == ("PENDING_APPROVAL", "APPROVALS_STALE")
    assert (await house.balance()).in_use == 0


async def test_the_approvals_of_a_removed_officer_never_count(house: House) -> None:
    await house.ready()
    row = await house.create(amount=LARGE, expires=house.clock.now() + 100 * HOUR)
    await house.decide(row, "bob")
    text = house.file.decode()
    bob = text[text.index("[people.bob]") : text.index("[people.carol]")]
    await house.govern((bob, ""), ('["alice", "bob"]', '["alice"]'))
    assert code(await house.decide(row, "bob")) is Code.APPROVAL_INVALID
    await house.decide(row, "carol")
    await house.step()
    assert (await house.row(row)).state == "PENDING_APPROVAL"
    await house.decide(row, "alice")
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_version_that_asks_nobody_lets_go_what_waited_for_people(house: House) -> None:
    await house.ready()
    row = await house.create(amount=3 * SOL // 2, expires=house.clock.now() + 48 * HOUR)
    await house.govern(*LOOSER)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


def other_requester(house: House) -> tuple[tuple[str, str], ...]:
    """Return what replaces the exchange by another requester."""
    return (
        ("[requesters.exchange]", "[requesters.newcomer]"),
        (public("exchange"), public("newcomer")),
        ('requester = "exchange"', 'requester = "newcomer"'),
    )


async def test_the_withdrawals_of_a_removed_requester_end(house: House) -> None:
    await house.ready(lamports=2 * SOL)
    expires = house.clock.now() + 100 * HOUR
    pending = await house.create(amount=LARGE, expires=expires)
    approved = await house.create(amount=LARGE, expires=expires)
    for person in ("alice", "carol"):
        await house.decide(approved, person)
    file = house.next_policy(*other_requester(house))
    await house.propose(file)
    await house.step()
    house.clock.ahead_ms += DAY
    await house.step()
    assert await in_force(house) == digest(file)
    for row in (pending, approved):  # the one waited for people, the other for funds
        ended = await house.row(row)
        assert (ended.state, ended.refusal_code) == ("BLOCKED", "REQUESTER_UNKNOWN")
    house.policy = parse_policy(file)


def renamed_wallet(house: House) -> tuple[tuple[str, str], ...]:
    return (
        ("wallets.hot-sol", "wallets.other-sol"),
        ('wallet = "hot-sol"', 'wallet = "other-sol"'),
        (house.wallet, HOT_ADDRESS),
    )


async def test_a_removed_wallet_breaks_no_flow(house: House) -> None:
    await house.ready()
    expires = house.clock.now() + 100 * HOUR
    done = await house.create()
    await house.step()
    pending = await house.create(amount=LARGE, expires=expires)
    signing = await house.create(expires=expires)
    house.gateway.replies_lost = 10**6  # signed, and nobody knows
    file = house.next_policy(*renamed_wallet(house))
    await house.propose(file)
    await house.step()
    assert (await house.row(signing)).state == "SIGNING"
    house.clock.ahead_ms += DAY
    await house.step()
    house.gateway.replies_lost = 0
    await house.step()
    assert await in_force(house) == digest(file)
    assert (await house.row(done)).state == "COMPLETED"
    ended = await house.row(pending)
    assert (ended.state, ended.refusal_code) == ("BLOCKED", "WALLET_UNKNOWN")
    assert (await house.row(signing)).state == "COMPLETED"
    (old,) = await house.sql("SELECT total, in_use FROM balance WHERE wallet = 'hot-sol'")
    assert old[1] == 0
    assert not [words for words in next_actions(await gather(house.parts)) if "hot-sol" in words]


async def test_bytes_signed_under_a_dearer_policy_are_taken_after_it(house: House) -> None:
    await house.ready()
    row = await house.create()
    house.gateway.replies_lost = 1
    await signing.claim(house.parts)
    await signing.ask(house.parts)
    assert (await house.row(row)).state == "SIGNING"
    await house.propose(house.next_policy(('"0.001 SOL"', '"0.000005001 SOL"')))
    await apply_policy(house.parts)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_a_smaller_pool_offers_no_nonce_beyond_it(house: House) -> None:
    await house.ready()
    await house.govern(("nonce_pool = 4", "nonce_pool = 1"))
    rows = [await house.create() for _ in range(3)]
    await house.step()
    assert {(await house.row(row)).state for row in rows} == {"COMPLETED"}
    assert {job.solana.nonce_index for job in house.gateway.asked} == {0}
