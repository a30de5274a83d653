"""The watchtower's process before a real signer: leases, orders of officers, kill -9, restarts."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from custody.client import CustodyRefused
from kura.signer.v1 import signer_pb2 as signer_wire
from policies.codes import Code
from policies.statements import Signed, digest
from tests.factories import HOUR, key, make_freeze, make_unfreeze, policy_file, sign
from tests.integration.test_signer_main import genesis
from tests.integration.tower import Tower, leased
from tests.signer_host import Host, now, temporary_host

STATUS = signer_wire.Job(status=signer_wire.Status())


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Host, str]]:
    """A host with a policy in force, and its audit key."""
    with temporary_host() as host:
        audit_key = host.done("init", "--so-pin-file", host.directory / "so-pin").split()[2]
        keygen = host.done("keygen", "hot-sol").split()
        address = keygen[keygen.index("address") + 1]
        genesis(host, policy_file(signer=audit_key, address=address))
        yield host, audit_key


@pytest.fixture
def host(made: tuple[Host, str]) -> Iterator[Host]:
    with temporary_host(made[0]) as copy:
        yield copy


@pytest.fixture
def tower(made: tuple[Host, str], tmp_path: Path) -> Iterator[Tower]:
    """A watchtower that is not started yet."""
    tower = Tower(tmp_path, made[1])
    try:
        yield tower
    finally:
        tower.close()


@contextmanager
def all_running(tower: Tower, host: Host) -> Iterator[None]:
    """Signer, relay and watchtower run, and the signer has a lease."""
    with host.serving():
        tower.start()
        with tower.relay(host.directory / "socket"):
            tower.until(leased)
            yield


def freeze(person: str = "alice", **changes: Any) -> Signed:
    return sign(key(person), make_freeze(person, **changes))


def lift(*freezes: Signed, epoch: str = "", people: tuple[str, ...] = ("alice", "carol")) -> Any:
    names = [digest(item.statement) for item in freezes]
    return [
        sign(key(person), make_unfreeze(person, *names, epoch=epoch, expires=now() + HOUR))
        for person in people
    ]


def frozen(host: Host) -> list[str]:
    return [item.digest for item in host.ask(STATUS).status.freezes]


def test_a_signer_gets_leases_for_as_long_as_the_node_lives(tower: Tower, host: Host) -> None:
    with all_running(tower, host):
        status = tower.until(lambda s: s.state == "RUNNING")
        until = host.ask(STATUS).status.lease_until
        assert 0 < status.signers[0].lease_until - until < 1_000  # by the signer's own clock
        os.kill(tower.devnet.process.pid, signal.SIGSTOP)
        paused = tower.until(lambda s: s.state == "PAUSED")
        assert paused.signers[0].problem == paused.reason
        assert "look at this node" in paused.reason
        os.kill(tower.devnet.process.pid, signal.SIGCONT)
        tower.until(lambda s: s.state == "RUNNING")
        assert [alarm.kind for alarm in tower.status().alarms] == ["NODE"]


def test_a_freeze_is_at_the_signer_at_once_and_a_quorum_lifts_it(tower: Tower, host: Host) -> None:
    order = freeze()
    with all_running(tower, host), tower.client() as officer:
        assert officer.create_freeze(order)
        assert frozen(host) == [digest(order.statement)]
        assert officer.create_freeze(order)  # again does no harm
        status = tower.until(lambda s: s.state == "FROZEN")
        assert "alice froze all wallets" in status.reason
        assert leased(status)  # what is allowed under freeze goes on
        with pytest.raises(CustodyRefused) as caught:
            officer.lift_freezes(lift(order, people=("alice",)))
        assert caught.value.refusal.code is Code.QUORUM_MISSING
        assert officer.lift_freezes(lift(order))
        assert frozen(host) == []
        assert officer.lift_freezes(lift(order))
        tower.until(lambda s: s.state == "RUNNING" and leased(s))
        with pytest.raises(CustodyRefused) as caught:
            officer.create_freeze(order)  # played again
        assert caught.value.refusal.code is Code.EPOCH_PASSED
        assert frozen(host) == []


def test_a_freeze_survives_kill_9_before_the_signer_had_it(tower: Tower, host: Host) -> None:
    order = freeze(wallet="hot-sol")
    with all_running(tower, host):
        pass  # now it knows the policy
    with tower.client() as officer:
        assert not officer.create_freeze(order)
    tower.kill()
    with host.serving():
        assert frozen(host) == []
        tower.start()
        assert tower.status().state == "FROZEN"
        with tower.relay(host.directory / "socket"):
            tower.until(leased)
            assert frozen(host) == [digest(order.statement)]
            assert tower.status().freezes[0].applied


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (sign(key("mallory"), make_freeze("alice")), Code.FREEZE_INVALID),
        (sign(key("mallory"), make_freeze("mallory")), Code.FREEZE_INVALID),
        (freeze(wallet="none"), Code.FREEZE_INVALID),
        (freeze(epoch="ab" * 32), Code.EPOCH_PASSED),
        (Signed(b"{}", bytes(64)), Code.FREEZE_INVALID),
    ],
)
def test_orders_that_are_none(tower: Tower, host: Host, order: Signed, code: Code) -> None:
    with all_running(tower, host), tower.client() as officer:
        with pytest.raises(CustodyRefused) as caught:
            officer.create_freeze(order)
        assert caught.value.refusal.code is code
        assert not tower.status().freezes
