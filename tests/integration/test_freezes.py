"""Freezes through custody to the real signer, and what lifts them; who ordered it is told."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from custody import views
from custody.calls_async import AsyncCustodyCalls
from custody.flows import freezes
from custody.flows.apply import apply_freeze
from custody.flows.freezes import Lifted, ShownFreeze
from custody.flows.housekeeping import read_status
from custody.flows.signature import statement
from custody.flows.status import gather, next_actions
from custody.identity import Identity, Role
from kura.custody.v1 import custody_pb2 as wire
from kura.signer.v1 import signer_pb2
from policies.codes import Code, Refusal
from policies.freezes import epoch_after
from policies.statements import Signed, digest
from tests.factories import HOUR, key, make_freeze, make_unfreeze, sign
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import Served, refused, served
from tests.integration.test_audit_events import log_of

house = houses.house
QUORUM = ("alice", "carol")


def freeze_by(person: str, **changes: Any) -> Signed:
    return sign(key(person), make_freeze(person, **changes))


def lift_by(house: House, *people: str, of: str, **changes: Any) -> list[Signed]:
    until = {"expires": house.clock.now() + HOUR, **changes}
    return [sign(key(person), make_unfreeze(person, of, **until)) for person in people]


def code(answer: object) -> Code:
    assert isinstance(answer, Refusal), answer
    return answer.code


async def create(house: House, signed: Signed, officer: str = "alice") -> ShownFreeze:
    made = await freezes.create_freeze(house.parts, officer, signed)
    assert isinstance(made, ShownFreeze), made
    return made


async def lift(house: House, orders: list[Signed]) -> Lifted:
    lifted = await freezes.lift_freezes(house.parts, orders)
    assert isinstance(lifted, Lifted), lifted
    return lifted


async def listed(house: House) -> tuple[list[ShownFreeze], str]:
    found = await freezes.list_freezes(house.parts)
    assert not isinstance(found, Refusal), found
    return found


async def to_do(house: House) -> list[str]:
    return [words for words in next_actions(await gather(house.parts)) if "frozen" in words]


async def test_an_officer_stops_every_payment_and_a_quorum_lets_them_go_on(house: House) -> None:
    await house.ready()
    signed = freeze_by("alice")
    made = await create(house, signed)
    assert not made.applied
    assert [item.applied for item in (await listed(house))[0]] == [False]
    assert await apply_freeze(house.parts)
    assert (await create(house, signed)).applied
    row = await house.create()
    await house.step()
    frozen = await house.row(row)
    assert (frozen.state, frozen.waiting_for) == ("QUEUED", "FROZEN")
    ((shown,), epoch) = await listed(house)
    assert (shown.digest, shown.wallet, shown.person) == (made.digest, "*", "alice")
    assert (shown.applied, epoch) == (True, "")
    assert any("every wallet is frozen by alice" in words for words in await to_do(house))
    orders = lift_by(house, *QUORUM, of=made.digest)
    after = epoch_after("", [made.digest])
    assert await lift(house, orders) == Lifted(applied=False, epoch=after)
    await house.step()
    assert await lift(house, orders) == Lifted(applied=True, epoch=after)
    assert await listed(house) == ([], after)
    assert (await house.row(row)).state == "COMPLETED"
    assert not await to_do(house)
    assert code(await freezes.create_freeze(house.parts, "bob", freeze_by("bob"))) is (
        Code.EPOCH_PASSED
    )


async def test_freezes_that_are_none_are_not_kept(house: House) -> None:
    await house.ready()
    good = freeze_by("alice")
    for name, officer, signed, field in (
        ("another's certificate", "bob", good, "freeze.person"),
        ("unsigned", "alice", Signed(good.statement, bytes(64)), "freeze.key"),
        ("by another key", "alice", sign(key("bob"), make_freeze("alice")), "freeze.key"),
        ("a requester", "exchange", freeze_by("exchange"), "freeze.key"),
        ("no wallet of ours", "alice", freeze_by("alice", wallet="hot-2"), "freeze.wallet"),
        ("nothing", "alice", Signed(b"{}", bytes(64)), "freeze.kind"),
        ("another epoch", "alice", freeze_by("alice", epoch="ab" * 32), "freeze.epoch"),
    ):
        answer = await freezes.create_freeze(house.parts, officer, signed)
        expected = Code.EPOCH_PASSED if field == "freeze.epoch" else Code.FREEZE_INVALID
        assert (code(answer), answer.field) == (expected, field), name  # type: ignore[union-attr]
    assert await house.sql("SELECT count(*) FROM freeze_order") == [(0,)]


async def test_what_is_no_quorums_lifts_nothing(house: House) -> None:
    await house.ready()
    name = (await create(house, freeze_by("alice"))).digest
    await house.step()
    good, other = lift_by(house, *QUORUM, of=name), lift_by(house, "carol", of="ab" * 32)
    late = {"expires": house.clock.now() - 1}
    for what, orders, expected in (
        ("one officer", good[:1], Code.QUORUM_MISSING),
        ("one officer twice", [good[0], good[0]], Code.QUORUM_MISSING),
        ("one group", lift_by(house, "alice", "bob", of=name), Code.QUORUM_MISSING),
        ("nobody", [], Code.UNFREEZE_INVALID),
        ("different lists", [good[0], *other], Code.UNFREEZE_INVALID),
        ("unsigned", [Signed(item.statement, bytes(64)) for item in good], Code.UNFREEZE_INVALID),
        ("expired", lift_by(house, *QUORUM, of=name, **late), Code.UNFREEZE_INVALID),
        ("not in force", lift_by(house, *QUORUM, of="ab" * 32), Code.UNFREEZE_INVALID),
        (
            "another epoch",
            lift_by(house, *QUORUM, of=name, epoch="ab" * 32),
            Code.EPOCH_PASSED,
        ),
    ):
        assert code(await freezes.lift_freezes(house.parts, orders)) is expected, what
    await house.step()
    assert [item.digest for item in (await listed(house))[0]] == [name]


async def test_what_the_signer_refuses_is_told_and_newer_signatures_are_taken(
    house: House,
) -> None:
    """The signer's no is played by its clock: signatures lapse between custody and signer."""
    await house.ready()
    name = (await create(house, freeze_by("alice"))).digest
    await house.step()
    orders = lift_by(house, *QUORUM, of=name, expires=house.clock.now() + 60_000)
    assert not (await lift(house, orders)).applied
    house.clock.ahead_ms += 2 * 60_000
    await house.step()
    assert code(await freezes.lift_freezes(house.parts, orders)) is Code.UNFREEZE_INVALID
    assert not (await lift(house, lift_by(house, *QUORUM, of=name))).applied
    await house.step()
    assert await listed(house) == ([], epoch_after("", [name]))


async def test_what_came_through_the_watchtower_is_known_and_told(
    house: House, tmp_path: Path
) -> None:
    """Both hand the same orders to the signer; whoever is later finds it done."""
    await house.ready()
    signed = freeze_by("alice", wallet="hot-sol")
    name, after = digest(signed.statement), epoch_after("", [digest(signed.statement)])
    orders = lift_by(house, *QUORUM, of=name)
    await tell(house, signer_pb2.Apply(freeze=statement(signed)))
    assert (await create(house, signed)).applied
    lifts = signer_pb2.Unfreeze(orders=map(statement, orders))
    assert not (await lift(house, orders)).applied
    await tell(house, signer_pb2.Apply(unfreeze=lifts))
    assert await lift(house, orders) == Lifted(applied=True, epoch=after)
    assert not await apply_freeze(house.parts)  # the signer would say that the epoch has passed
    async with served(house.parts, tmp_path / "pki") as api:
        told = {(event.event, event.subject, event.actor) for event in await log_of(api)}
    assert {
        ("FROZEN", f"freezes/{name}", "signer"),
        ("LIFTED", f"freezes/{name}", "signer"),
        ("UNFREEZE", f"epochs/{after}", "alice,carol"),
    } <= told


async def tell(house: House, apply: signer_pb2.Apply) -> None:
    """Hand an order to the signer by another way than custody."""
    (result,) = await house.gateway.ask([signer_pb2.Job(apply=apply)])
    assert result.HasField("applied"), result
    await read_status(house.parts)


async def test_a_freeze_waits_while_the_signer_is_away(house: House) -> None:
    await house.ready()
    signed = freeze_by("alice")
    house.gateway.unreachable = True
    await create(house, signed)
    assert not await apply_freeze(house.parts)
    assert [item.applied for item in (await listed(house))[0]] == [False]
    house.gateway.unreachable = False
    assert await apply_freeze(house.parts)
    assert (await create(house, signed)).applied


async def test_the_status_shows_lease_watchtower_and_freezes(house: House) -> None:
    await house.ready()
    await create(house, freeze_by("alice", wallet="hot-sol"))
    await house.step()
    (signer,) = views.status(await gather(house.parts)).signers
    assert signer.watchtower == house.policy.watchtower
    left = signer.lease_expire_time.ToMilliseconds() - house.clock.now()
    assert 0 < left <= 60_000
    assert [(item.wallet, item.person) for item in signer.freezes] == [("wallets/hot-sol", "alice")]
    house.tower.leasing = False  # and its last one was for the epoch before
    await lift(house, lift_by(house, *QUORUM, of=signer.freezes[0].name.removeprefix("freezes/")))
    assert await apply_freeze(house.parts)
    (signer,) = views.status(await gather(house.parts)).signers
    assert (signer.HasField("lease_expire_time"), list(signer.freezes)) == (False, [])
    paused = [words for words in next_actions(await gather(house.parts)) if "paused" in words]
    assert len(paused) == 1
    assert "watchtower" in paused[0]


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    await house.ready()
    async with served(house.parts, tmp_path / "pki") as made:
        yield made


async def test_the_way_of_a_freeze_over_the_wire(house: House, api: Served) -> None:
    tls = api.authority.issue(Identity(Role.OFFICER, "alice"))
    async with AsyncCustodyCalls(api.target, tls, timedelta(seconds=60)) as alice:
        made = await alice.create_freeze(freeze_by("alice", wallet="hot-sol"))
        assert (made.wallet, made.person, made.applied) == ("wallets/hot-sol", "alice", False)
        await house.step()
        (shown,) = (await alice.list_freezes()).freezes
        assert (shown.name, shown.applied) == (made.name, True)
        assert shown.create_time.ToMilliseconds() == pytest.approx(house.clock.now(), abs=60_000)
        orders = lift_by(house, *QUORUM, of=made.name.removeprefix("freezes/"))
        assert not (await alice.lift_freezes(orders)).applied
        await house.step()
        lifted = await alice.lift_freezes(orders)
        now = await alice.list_freezes()
        assert (lifted.applied, now.epoch, list(now.freezes)) == (True, lifted.epoch, [])


async def test_what_is_refused_names_status_and_field(house: House, api: Served) -> None:
    bobs = freeze_by("bob")
    envelope = wire.SignedStatement(statement=bobs.statement, signature=bobs.signature)
    async with api.stub(Role.OFFICER, "alice") as alice:
        status, refusal = await refused(
            alice.CreateFreeze(wire.CreateFreezeRequest(freeze=envelope))
        )
        assert (status, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "freeze.person")
        status, refusal = await refused(alice.LiftFreezes(wire.LiftFreezesRequest()))
        assert (status, refusal.code) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            Code.UNFREEZE_INVALID,
        )
