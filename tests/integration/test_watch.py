"""WatchWithdrawals and the clients that follow it: every change once, in order, whatever breaks."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from custody import watching
from custody.client import CustodyClient, CustodyRefused, CustodyUnreachableError
from custody.client_async import AsyncCustodyClient
from custody.domain.audit import Kind
from custody.identity import Identity, Role
from custody.store import audit
from custody.store.withdrawals import Row
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from tests.factories import SOL
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import Served, refused, served

house = houses.house
SEED = random.randrange(2**32)
LAST = "the-last"  # withdrawal of all
PATIENCE = timedelta(seconds=60)
Response = wire.WatchWithdrawalsResponse


@dataclass
class Line:
    """A connection to the api that breaks after a few packets."""

    port: int
    chance: random.Random
    broken: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self.port)
        left = [self.chance.randrange(8, 60)]

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while left[0] and (data := await source.read(4096)):
                left[0] -= 1
                sink.write(data)
            self.broken += not left[0]
            for end in (writer, there[1]):
                end.transport.abort()

        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))


@asynccontextmanager
async def breaking(api: Served, chance: random.Random) -> AsyncIterator[tuple[str, Line]]:
    """Yield the address of a line to the api."""
    line = Line(int(api.target.rpartition(":")[2]), chance)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    async with server:
        yield f"localhost:{server.sockets[0].getsockname()[1]}", line


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Served]:
    await house.ready()
    async with served(house.parts, tmp_path / "pki") as api:
        yield api


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVENTS_AT_ONCE", 3)
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.05)


def following(api: Served, target: str = "", name: str = "exchange") -> AsyncCustodyClient:
    tls = api.authority.issue(Identity(Role.REQUESTER, name))
    return AsyncCustodyClient(target or api.target, tls, patience=PATIENCE)


def shown(responses: list[Response]) -> list[tuple[str, str]]:
    return [(item.withdrawal.name, item.event) for item in responses if item.event]


async def written(house: House) -> list[tuple[str, str]]:
    """Return what the audit log says happened to withdrawals, in order."""
    async with house.parts.database.transaction() as connection:
        head = await audit.seal_all(connection)
        events = await audit.steps(connection, 0, 10_000, upto=head)
    return [(event.subject, event.event) for event in events]


async def past(custody: AsyncCustodyClient, cursor: str = "") -> list[Response]:
    """Return what comes until nothing does."""
    responses = list[Response]()
    async with aclosing(custody.watch_withdrawals(cursor)) as stream:
        async for response in stream:
            responses.append(response)
            if not response.event:
                return responses
    raise AssertionError


@dataclass
class Seen:
    """What somebody saw until nothing came after `LAST`; that nothing came may be old news."""

    responses: list[Response] = field(default_factory=list)
    last: bool = False

    def ends(self, response: Response) -> bool:
        """Keep a response; tell whether it says that nothing came after the last withdrawal."""
        self.responses.append(response)
        self.last = self.last or response.withdrawal.request_id == LAST
        return self.last and not response.event


async def follow(custody: AsyncCustodyClient, chance: random.Random) -> list[Response]:
    """Leave off at random places, go on from the last cursor, end when nothing comes."""
    seen, cursor = Seen(), ""
    while True:
        left = chance.randrange(1, 9)
        async with aclosing(custody.watch_withdrawals(cursor)) as stream:
            async for response in stream:
                if seen.ends(response):
                    return seen.responses
                cursor, left = response.cursor, left - 1
                if left == 0:
                    break


def follow_in_thread(custody: CustodyClient) -> list[Response]:
    """Follow without ever leaving off."""
    seen = Seen()
    with custody, closing(custody.watch_withdrawals()) as stream:
        for response in stream:
            if seen.ends(response):
                return seen.responses
    raise AssertionError


async def test_every_change_once_in_order_over_any_breaks(house: House, api: Served) -> None:
    print(f"seed {SEED}")  # noqa: T201
    chance = random.Random(SEED)

    async def write() -> None:
        for _ in range(6):
            row = await house.create(amount=2 * SOL)  # waits for officers
            if chance.random() < 0.5:
                assert isinstance(await house.cancel(row), Row)
            await asyncio.sleep(chance.random() / 5)  # so that they come while it is waited for

    async def write_all() -> None:
        await asyncio.gather(write(), write(), write(), write())
        await house.create(request_id=LAST)

    tls = api.authority.issue(Identity(Role.REQUESTER, "exchange"))
    async with (
        asyncio.timeout(60),
        breaking(api, chance) as (target, line),
        following(api, target) as custody,
    ):
        thread = CustodyClient(target, tls, patience=PATIENCE)
        left_off, broken, _ = await asyncio.gather(
            follow(custody, chance),
            asyncio.to_thread(follow_in_thread, thread),
            write_all(),
        )
    log = await written(house)
    assert line.broken
    assert shown(left_off) == log
    assert shown(broken) == log


async def test_a_requester_follows_its_own_only(house: House, api: Served) -> None:
    await house.create()
    async with following(api, name="other") as other, following(api) as own:
        assert [item.event for item in await past(other)] == [""]
        assert len(await past(own)) == 2
    async with api.stub(Role.AUDITOR) as auditor:
        first = await auditor.WatchWithdrawals(wire.WatchWithdrawalsRequest()).read()
        assert first.event == "CREATED"


async def test_a_response_tells_the_event_and_the_withdrawal_as_it_is_now(
    house: House, api: Served
) -> None:
    row = await house.create(amount=2 * SOL)
    await house.cancel(row)
    async with following(api) as custody:
        created, cancelled, end = await past(custody)
    assert created.state == wire.WITHDRAWAL_STATE_PENDING_APPROVAL
    assert created.withdrawal.state == cancelled.state == wire.WITHDRAWAL_STATE_ENDING
    assert created.event_time.ToMilliseconds() <= cancelled.event_time.ToMilliseconds()
    assert end == Response(cursor=end.cursor)


async def test_from_now_on(house: House, api: Served) -> None:
    await house.create()
    async with following(api) as custody:
        stream = custody.watch_withdrawals(skip_past=True)
        responses = [await anext(stream)]
        row = await house.create()
        async with aclosing(stream):
            while not shown(responses):
                responses.append(await anext(stream))
    assert shown(responses) == [(f"withdrawals/{row.digest}", "CREATED")]


async def test_many_events_of_other_kinds_hold_nothing_up(
    house: House, api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "SEALED_AT_ONCE", 2)
    async with house.parts.database.transaction() as connection:
        for number in range(5):
            await audit.record(connection, Kind.REFUSAL, "R", actor="a", n=str(number))
    await house.create()
    async with following(api) as custody:
        assert [item.event for item in await past(custody)] == ["CREATED", ""]


@pytest.mark.parametrize("cursor", ["!!!", "MTIz=", "OTk5OTk5", "OTk5OTk5LTAwMDAwMDAw"])
async def test_a_cursor_that_is_none_or_lies_ahead_is_refused(api: Served, cursor: str) -> None:
    async with following(api) as custody:
        with pytest.raises(CustodyRefused) as caught:
            await anext(custody.watch_withdrawals(cursor))
    assert caught.value.refusal.code is Code.ARGUMENT_INVALID
    assert caught.value.refusal.field == "cursor"


async def test_a_cursor_of_before_a_restore_is_refused_however_far_the_log_went_on(
    house: House, api: Served
) -> None:
    await house.create()
    async with following(api) as custody:
        kept = (await past(custody))[-1].cursor
        await house.create()
        lost = (await past(custody))[-1].cursor
        await restore_to_one_event_less(house)
        row = await house.create()
        await house.create()
        await past(custody)
        with pytest.raises(CustodyRefused, match="restored from a backup"):
            await past(custody, lost)
        assert shown(await past(custody, kept))[0] == (f"withdrawals/{row.digest}", "CREATED")


async def restore_to_one_event_less(house: House) -> None:
    """Take the newest event out of the database, as a restore to the moment before it does."""
    await house.sql("ALTER TABLE event DISABLE TRIGGER only_added_to")
    await house.sql("DELETE FROM event WHERE position = (SELECT max(position) FROM event)")
    await house.sql("ALTER TABLE event ENABLE TRIGGER only_added_to")


async def test_a_fault_is_told_as_one(
    house: House, api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*_: Any, **__: Any) -> Any:
        raise LookupError

    monkeypatch.setattr(audit, "steps", faulty)
    async with api.stub(Role.AUDITOR) as auditor:
        status, refusal = await refused(auditor.WatchWithdrawals(wire.WatchWithdrawalsRequest()))
    assert (status, refusal.code) == (grpc.StatusCode.INTERNAL, Code.FAULT)


async def test_a_deadline_ends_the_stream(api: Served) -> None:
    async with api.stub(Role.AUDITOR) as auditor:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in auditor.WatchWithdrawals(wire.WatchWithdrawalsRequest(), timeout=0.3):
                pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_patience_with_a_custody_that_is_away_ends(api: Served) -> None:
    tls = api.authority.issue(Identity(Role.REQUESTER, "exchange"))
    patience = timedelta(seconds=0.5)
    with (
        CustodyClient("localhost:1", tls, patience=patience) as custody,
        pytest.raises(CustodyUnreachableError),
    ):
        next(custody.watch_withdrawals())
