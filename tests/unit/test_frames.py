"""What a frame's bytes may say, before any of it is acted on."""

from collections.abc import Callable, Sequence

import pytest

from kura.signer.v1 import signer_pb2 as wire
from signer.frames import FRAME_BYTES_MAX, JOBS_MAX, reply_to

UNKNOWN = b"\xf8\x07\x01"  # field 127, varint 1
SIGNED = wire.SignedStatement(statement=b"{}", signature=b"s" * 64)
TRANSFER = wire.Transfer(
    intent=SIGNED,
    approvals=[SIGNED, SIGNED],
    solana=wire.SolanaParameters(budget=wire.ComputeBudget(unit_limit=1)),
)


def echo(jobs: Sequence[wire.Job]) -> list[wire.Result]:
    return [wire.Result(applied=wire.Applied(digest=job.nonce_open.wallet)) for job in jobs]


def never(jobs: Sequence[wire.Job]) -> list[wire.Result]:
    raise AssertionError("a frame that was not understood reached the guard")


def request(*jobs: wire.Job) -> bytes:
    return wire.Request(id=7, jobs=jobs).SerializeToString()


def wrapped(field: int, content: bytes) -> bytes:
    """Length-delimited field `field` (below 16): how a message of any content is nested."""
    assert len(content) < 2**14
    length = bytes((len(content) & 0x7F | 0x80, len(content) >> 7))
    return bytes((field << 3 | 2,)) + length + content


def test_jobs_are_answered_in_order() -> None:
    names = [f"wallet-{number}" for number in range(JOBS_MAX)]
    jobs = [wire.Job(nonce_open=wire.NonceOpen(wallet=name)) for name in names]
    reply = wire.Reply.FromString(reply_to(request(*jobs), echo))
    assert [result.applied.digest for result in reply.results] == names
    assert (reply.id, reply.fault) == (7, "")


@pytest.mark.parametrize(
    ("size", "count", "fits"),
    [(4_000, 250, True), (300_000, 3, True), (300_000, 4, False), (FRAME_BYTES_MAX, 1, False)],
)
def test_a_reply_always_fits_into_a_frame(size: int, count: int, *, fits: bool) -> None:
    def long(jobs: Sequence[wire.Job]) -> list[wire.Result]:
        return [wire.Result(status=wire.SignerStatus(policy=bytes(size))) for _ in jobs]

    frame = reply_to(request(*[wire.Job(status=wire.Status())] * count), long)
    reply = wire.Reply.FromString(frame)
    assert (len(frame) <= FRAME_BYTES_MAX, reply.id) == (True, 7)
    assert len(reply.results) == (count if fits else 0)
    assert reply.fault.endswith("" if fits else "ask for fewer jobs at once")
    assert bool(reply.fault) != fits


@pytest.mark.parametrize("count", [0, JOBS_MAX + 1])
def test_an_empty_request_and_one_with_too_many_jobs_do_nothing(count: int) -> None:
    frame = request(*[wire.Job(status=wire.Status())] * count)
    assert len(frame) < FRAME_BYTES_MAX
    reply = wire.Reply.FromString(reply_to(frame, never))
    assert (reply.id, len(reply.results)) == (7, 0)
    assert reply.fault == "a request has 1 to 250 jobs"


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff",
        b"not protobuf",
        request(wire.Job(transfer=TRANSFER))[:-1],
        b"\x0a\x01a",  # id as text
        wrapped(2, wrapped(2, b"\x0a\x02\xff\xff")),  # a wallet's name that is no UTF-8
        wrapped(2, b"\x0b" * 200),  # groups without end
    ],
)
def test_what_is_no_request_gets_a_fault(frame: bytes) -> None:
    reply = wire.Reply.FromString(reply_to(frame, never))
    assert reply.fault
    assert not reply.results


def at_the_top() -> bytes:
    return request(wire.Job(status=wire.Status())) + UNKNOWN


def in_the_second_job() -> bytes:
    job = wire.Job(transfer=TRANSFER).SerializeToString()
    return wrapped(2, job) + wrapped(2, job + UNKNOWN)


def in_a_verb_without_fields() -> bytes:
    return wrapped(2, wrapped(4, UNKNOWN))


def in_the_last_approval() -> bytes:
    transfer = TRANSFER.SerializeToString() + wrapped(2, SIGNED.SerializeToString() + UNKNOWN)
    return wrapped(2, wrapped(1, transfer))


def in_the_budget() -> bytes:
    solana = wrapped(3, wrapped(3, wire.ComputeBudget(unit_limit=1).SerializeToString() + UNKNOWN))
    return wrapped(2, wrapped(1, TRANSFER.SerializeToString() + solana))


def a_verb_of_later() -> bytes:
    return wrapped(2, wrapped(15, b""))


def a_subject_of_later() -> bytes:
    return wrapped(2, wrapped(3, wrapped(15, b"")))


@pytest.mark.parametrize(
    "make",
    [
        at_the_top,
        in_the_second_job,
        in_a_verb_without_fields,
        in_the_last_approval,
        in_the_budget,
        a_verb_of_later,
        a_subject_of_later,
    ],
)
def test_unknown_fields_are_refused_wherever_they_stand(make: Callable[[], bytes]) -> None:
    """Protobuf would keep them and go on: a newer custody would ask for more than is checked."""
    frame = make()
    wire.Request.FromString(frame)  # it decodes
    reply = wire.Reply.FromString(reply_to(frame, never))
    assert reply.fault == "the request has fields that this signer does not know"
    assert not reply.results


def test_a_fault_keeps_the_requests_id() -> None:
    frame = wire.Request(id=2**64 - 1).SerializeToString() + UNKNOWN
    assert wire.Reply.FromString(reply_to(frame, never)).id == 2**64 - 1
