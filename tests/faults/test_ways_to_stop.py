"""What a process needs is gone: it says what, keeps accepting what it can, and loses nothing."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import psycopg
import pytest

from custody import asks
from custody.client import CustodyClient, state_of
from custody.dev import processes
from custody.dev.genesis import NETWORK
from custody.dev.layout import WALLET
from custody.dev.pki import Authority
from custody.dev.system import System
from custody.errors import refusal_of
from custody.identity import Identity, Role
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.statements import Signed
from tests.faults.test_kill_points import SMALL, transactions, unused

STOP_SECONDS = 60.0
ANSWER_SECONDS = 60.0


# What PostgreSQL says to a write when its disk has no room: reads are answered.
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON withdrawal EXECUTE FUNCTION full_disk();
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON event EXECUTE FUNCTION full_disk();
"""


def intend(custody: CustodyClient, system: System, request_id: str) -> Signed:
    return custody.build_intent(
        request_id=request_id,
        wallet=WALLET,
        network=NETWORK,
        asset="SOL",
        address=system.customers[0],
        amount=SMALL,
    )


def ask(system: System, request_id: str) -> str:
    with system.client("exchange") as custody:
        return custody.submit(intend(custody, system, request_id)).name


def until_it_waits_for(system: System, name: str, what: str) -> None:
    with system.client("exchange") as custody:

        def look() -> bool | None:
            return custody.get_withdrawal(name).waiting_for == what or None

        system.until(f"it to wait for {what}", look)


def until_paid(system: System, *names: str) -> None:
    with system.client("exchange") as custody:

        def look() -> bool | None:
            states = [state_of(custody.get_withdrawal(name)) for name in names]
            return all(states) if all(state.ended for state in states) else None

        system.until("the ends", look)
        paid = [custody.get_withdrawal(name).state for name in names]
    assert paid == [wire.WITHDRAWAL_STATE_COMPLETED] * len(names)


def until_said(system: System, log: Path, start: int, *words: str) -> None:
    def look() -> bool | None:
        said = log.read_bytes()[start:].decode()
        return all(word in said for word in words) or None

    system.until(f"{log.name} to say {words}", look)


@pytest.fixture
def sent(system: System) -> Callable[[], int]:
    """How many transactions have been sent to the customer since."""
    system.until("every nonce", lambda: unused(system))
    before = len(transactions(system))
    return lambda: len(transactions(system)) - before


def test_the_signers_disk_is_full(system: System, sent: Callable[[], int]) -> None:
    log, pid = system.layout.logs / "signer.log", system.pid("signer")
    os.truncate(log, 0)  # it has room for its last words, and the journal none for a page
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
    first = ask(system, "disk-full")
    try:
        assert processes._children[pid].wait(STOP_SECONDS) == os.EX_SOFTWARE
        until_said(system, log, 0, "signer stopped: ", "disk", "then start signer serve again")
        second = ask(system, "disk-still-full")
        until_it_waits_for(system, second, "SIGNER")
    finally:
        system.stop("signer")
        system.start("signer")
    until_paid(system, first, second)
    assert sent() == 2


def test_the_signers_socket_is_gone(system: System, sent: Callable[[], int]) -> None:
    log = system.layout.logs / "relay.log"
    start = log.stat().st_size
    system.stop("signer")
    try:
        name = ask(system, "socket-gone")
        until_it_waits_for(system, name, "SIGNER")
        until_said(system, log, start, "signer not reached", "signer.sock", "start signer serve")
    finally:
        system.start("signer")
    until_paid(system, name)
    assert sent() == 1


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [("tokens", r"0 tokens .*'kura-hot'"), ("pin", "wrong PIN, not tried again")],
)
def test_the_token_is_missing_or_its_pin_is_wrong(
    system: System, sent: Callable[[], int], spoilt: str, words: str
) -> None:
    place = system.layout.signer / spoilt
    system.stop("signer")
    kept = place.rename(place.with_name(f"{spoilt}.kept"))
    if spoilt == "tokens":
        place.mkdir()
    else:
        place.touch(mode=0o600)
        place.write_text("0" * 64 + "\n")
    try:
        with pytest.raises(processes.ProcessError, match=words):
            system.start("signer")
        name = ask(system, f"spoilt-{spoilt}")
        until_it_waits_for(system, name, "SIGNER")
    finally:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        kept.rename(place)
        system.start("signer")
    until_paid(system, name)
    assert sent() == 1


def test_the_database_is_away(system: System, sent: Callable[[], int]) -> None:
    log = system.layout.logs / "worker.log"
    start = log.stat().st_size
    name = ask(system, "database-away")
    tls = Authority(system.layout.folder / "pki").issue(Identity(Role.AUDITOR, "auditor"))
    target = f"localhost:{system.layout.port('api')}"
    system.layout.postgres.stop()
    try:
        with grpc.secure_channel(target, tls.channel_credentials()) as channel:
            custody = custody_pb2_grpc.CustodyStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                custody.ListBalances(wire.ListBalancesRequest(), timeout=ANSWER_SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "database" in refused.value.details()
        until_said(system, log, start, "database not reached", "check that PostgreSQL runs")
    finally:
        system.layout.postgres.start()
    until_paid(system, name)
    assert sent() == 1


def test_the_databases_disk_is_full(system: System, sent: Callable[[], int]) -> None:
    log = system.layout.logs / "worker.log"
    start = log.stat().st_size
    first = ask(system, "database-fills-up")
    with psycopg.connect(system.layout.postgres.dsn, autocommit=True) as connection:
        connection.execute(FULL)
        try:
            until_said(system, log, start, "database not reached", "make room on the database's")
            with system.client("exchange") as custody:
                asked = asks.submit(intend(custody, system, "database-full"))
                with pytest.raises(grpc.RpcError) as told:  # asked once: a client has patience
                    getattr(custody._stub, asked.method)(asked.request, timeout=ANSWER_SECONDS)
                refusal = refusal_of(told.value)
                assert refusal
                assert "takes nothing: disk full" in refusal.message
                assert custody.get_withdrawal(first).name == first, "it needs no room"
        finally:
            connection.execute("DROP FUNCTION full_disk CASCADE")
    second = ask(system, "database-full")
    until_paid(system, first, second)
    assert sent() == 2
