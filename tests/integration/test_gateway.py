"""Gateway and relay over mutual TLS, with a real signer's process at the far end."""

import asyncio
import gc
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest

from custody import gateway as gateways
from custody import relay as relays
from custody.dev.pki import Authority
from custody.errors import refusal_of
from custody.gateway import SignerUnreachableError
from custody.identity import Role
from kura.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from tests.frame_server import serving
from tests.integration.link import SECONDS_MAX, Answer, Link, ask, first_answer, reply

Frame = gateway_pb2.ConnectResponse
NOT_IN_TIME = "did not answer in time"


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Link:
    monkeypatch.setattr(relays, "RECONNECT_SECONDS", 0.01)
    return Link(Authority(tmp_path / "pki"), tmp_path / "signer")


async def test_frames_go_through_and_each_gets_its_own_answer(link: Link) -> None:
    with serving() as signer:
        link.socket.symlink_to(signer.path)
        async with link.worker() as gateway, link.relay():
            assert await first_answer(gateway) == "hot"
            pairs = [[f"wallet-{n}", f"other-{n}"] for n in range(20)]
            assert await asyncio.gather(*(ask(gateway, *pair) for pair in pairs)) == pairs


async def test_without_a_relay_the_answer_comes_at_once(link: Link) -> None:
    async with link.worker() as gateway:
        with pytest.raises(SignerUnreachableError, match="no relay is connected"):
            await ask(gateway, "hot")


async def test_the_relay_outlives_the_signer(link: Link) -> None:
    async with link.worker() as gateway, link.relay():
        assert "cannot reach the signer: FileNotFoundError" in await first_answer(gateway)
        for _ in range(2):
            with serving() as signer:
                link.socket.unlink(missing_ok=True)
                link.socket.symlink_to(signer.path)
                assert await first_answer(gateway, "cannot reach the signer") == "hot"
            assert "cannot reach the signer" in await first_answer(gateway)


async def test_the_relay_outlives_the_worker(link: Link) -> None:
    with serving() as signer:
        link.socket.symlink_to(signer.path)
        async with link.relay():
            for _ in range(3):
                async with link.worker() as gateway:
                    assert await first_answer(gateway) == "hot"


async def test_a_newer_relay_takes_over_and_the_older_one_takes_nothing_away(link: Link) -> None:
    async with link.worker() as gateway, AsyncExitStack() as older:
        await older.enter_async_context(link.hand_made_relay(lambda frame: [reply(frame, "old")]))
        assert await first_answer(gateway) == "old"
        async with link.hand_made_relay(lambda frame: [reply(frame, "new")]):
            assert await first_answer(gateway, "old") == "new"
            await older.aclose()
            assert [await ask(gateway, "hot") for _ in range(3)] == [["new"]] * 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f: [gateway_pb2.ConnectRequest(id=f.id, reply=b"\xff")], "is no reply"),
        (lambda f: [gateway_pb2.ConnectRequest(id=f.id)], "does not fit"),
        (lambda f: [reply(f)], "does not fit"),
        (lambda f: [reply(f, "one", "two")], "does not fit"),
        (lambda f: [of(f, wire.Reply(id=f.id + 1, results=[wire.Result()]))], "does not fit"),
        (lambda f: [of(f, wire.Reply(id=f.id, fault="too many"))], "too many"),
        (lambda f: [gateway_pb2.ConnectRequest(id=f.id, unreachable="gone")], "gone"),
        (lambda _: [], NOT_IN_TIME),
        (lambda _: [reply(Frame(id=4711), "other")], NOT_IN_TIME),
        (lambda f: [reply(Frame(id=4711), "other"), reply(f, "good")], "good"),
        (lambda f: [reply(f, "good"), reply(f, "bad")], "good"),
    ],
)
async def test_a_relay_that_lies_is_no_signer(
    link: Link, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    if words == NOT_IN_TIME:
        monkeypatch.setattr(gateways, "ANSWER_SECONDS", 0.3)
    async with link.worker() as gateway, link.hand_made_relay(answer):
        assert words in await first_answer(gateway)
        (again,) = await asyncio.gather(ask(gateway, "hot"), return_exceptions=True)
        assert words in str(again) or "no relay is connected" in str(again)


def of(frame: Frame, whole: wire.Reply) -> gateway_pb2.ConnectRequest:
    return gateway_pb2.ConnectRequest(id=frame.id, reply=whole.SerializeToString())


async def test_who_waits_hears_at_once_that_the_relay_is_gone(
    link: Link, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "ANSWER_SECONDS", 2 * SECONDS_MAX)  # first_answer gives up before
    seen = asyncio.Event()

    def swallow(_: Frame) -> list[gateway_pb2.ConnectRequest]:
        seen.set()
        return []

    async with link.worker() as gateway:
        async with link.hand_made_relay(swallow):
            waiting = asyncio.create_task(first_answer(gateway))
            await seen.wait()
        assert await waiting == "the relay disconnected"
    gc.collect()
    assert not caplog.records  # no task was left behind


async def test_a_reply_that_is_too_large_and_the_next_one(link: Link) -> None:
    with serving() as signer:
        link.socket.symlink_to(signer.path)
        async with link.worker() as gateway, link.relay():
            assert await first_answer(gateway) == "hot"
            with pytest.raises(SignerUnreachableError, match="fill more than a frame"):
                await gateway.ask([wire.Job(status=wire.Status())])
            assert await ask(gateway, "hot") == ["hot"]


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (struct.pack(">I", relays.FRAME_BYTES_MAX + 1), "reply is too long"),
        (struct.pack(">I", 2**32 - 1), "reply is too long"),
        (struct.pack(">I", 100) + b"cut", "TimeoutError"),
        (b"", "TimeoutError"),
    ],
)
async def test_a_signer_that_is_none(
    link: Link, monkeypatch: pytest.MonkeyPatch, says: bytes, words: str
) -> None:
    if words == "TimeoutError":
        monkeypatch.setattr(relays, "SIGNER_SECONDS", 0.3)
    async with impostor(link.socket, says), link.worker() as gateway, link.relay():
        assert words in await first_answer(gateway)


@asynccontextmanager
async def impostor(path: Path, says: bytes) -> AsyncIterator[None]:
    """Something on the signer's socket that says the same to everybody, and then nothing."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        with suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    async with await asyncio.start_unix_server(talk, path):
        yield


async def test_only_a_relay_may_connect(link: Link) -> None:
    async with link.worker() as gateway:
        for role in set(Role) - {Role.RELAY}:
            async with link.channel(role) as channel:
                stub = gateway_pb2_grpc.SignerGatewayStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Connect(iter([gateway_pb2.ConnectRequest()])).read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            refusal = refusal_of(caught.value)
            assert refusal
            assert refusal.code is Code.ROLE_DENIED
        with pytest.raises(SignerUnreachableError, match="no relay is connected"):
            await ask(gateway, "hot")


@asynccontextmanager
async def deaf_relay(link: Link) -> AsyncIterator[None]:
    """A relay that opens its stream and reads nothing: a large frame for it is never gone."""

    async def silence() -> AsyncIterator[gateway_pb2.ConnectRequest]:
        yield gateway_pb2.ConnectRequest()
        await asyncio.Event().wait()

    async with link.channel(Role.RELAY) as channel:
        call = gateway_pb2_grpc.SignerGatewayStub(channel).Connect(silence())
        yield
        call.cancel()


async def large_frames(gateway: gateways.Gateway, count: int) -> list[str]:
    """Ask for so many at once, in frames of half a megabyte, and return why none was answered."""
    asks = (ask(gateway, "x" * 500_000) for _ in range(count))
    return [str(error) for error in await asyncio.gather(*asks, return_exceptions=True)]


async def test_a_relay_that_reads_nothing_is_let_go_with_all_that_waits_for_it(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "ANSWER_SECONDS", 0.3)
    async with link.worker() as gateway, deaf_relay(link):
        await relay_is_there(gateway)
        most = gateways.FRAMES_MAX
        answers = await large_frames(gateway, 3 * most)
        assert sum("takes no more frames" in answer for answer in answers) >= most
        assert "no relay is connected" in (await large_frames(gateway, 1))[0]
        monkeypatch.setattr(gateways, "ANSWER_SECONDS", SECONDS_MAX)
        async with link.hand_made_relay(lambda frame: [reply(frame, "sound")]):
            assert await first_answer(gateway) == "sound"


async def test_an_older_frame_that_is_not_answered_leaves_a_newer_relay_alone(link: Link) -> None:
    async with link.worker() as gateway, deaf_relay(link):
        await relay_is_there(gateway)
        older, late = gateway._outgoing, asyncio.create_task(large_frames(gateway, 1))
        async with link.hand_made_relay(lambda frame: [reply(frame, "sound")]):
            await relay_is_there(gateway, older)
            (waiting,) = gateway._waiting.values()
            waiting.set_exception(TimeoutError())  # as when ANSWER_SECONDS are over
            assert NOT_IN_TIME in (await late)[0]
            assert await ask(gateway, "hot") == ["sound"]


async def relay_is_there(gateway: gateways.Gateway, older: object = None) -> None:
    """Wait until a relay's stream has come up after `older`, without asking it for anything."""
    async with asyncio.timeout(SECONDS_MAX):
        while gateway._outgoing in {None, older}:  # noqa: ASYNC110 - others' doing
            await asyncio.sleep(0.01)
