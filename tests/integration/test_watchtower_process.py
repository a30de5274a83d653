"""The watchtower's process before a real signer: leases, orders of officers, kill -9, restarts."""

import base64
import itertools
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from solders.hash import Hash

from custody.chains.solana_checks import nonce_address
from custody.client import CustodyRefused
from custody.identity import ROLES, Role
from kura.signer.v1 import signer_pb2 as signer_wire
from kura.watchtower.v1 import watchtower_pb2
from policies.codes import Code
from policies.policy_file import parse_policy
from policies.receipts import statement_of
from policies.statements import Ack, Signed, Veto, decode, digest, verify
from tests.factories import (
    HOUR,
    SOL,
    key,
    make_change,
    make_freeze,
    make_unfreeze,
    policy_file,
    public,
    sign,
)
from tests.integration.test_recovery import arguments, lose_journal, prepare
from tests.integration.test_signer_main import genesis
from tests.integration.tower import Tower, leased, until
from tests.signer_host import Host, now, temporary_host
from tests.signing import nonce_open

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
def policy(host: Host) -> bytes:
    with host.serving():
        return host.ask(STATUS).status.policy


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


def alarms(status: watchtower_pb2.GetStatusResponse) -> list[str]:
    return [alarm.kind for alarm in status.alarms]


def frozen(host: Host) -> list[str]:
    return [item.digest for item in host.ask(STATUS).status.freezes]


def test_a_signer_gets_leases_for_as_long_as_the_node_lives(tower: Tower, host: Host) -> None:
    with all_running(tower, host):
        tower.until(lambda s: s.state == "RUNNING")

        def ends_alike(status: watchtower_pb2.GetStatusResponse) -> bool:
            """By the signer's own clock; between the two answers the next lease may have come."""
            until = host.ask(STATUS).status.lease_until
            return 0 < status.signers[0].lease_until - until < 1_000

        tower.until(ends_alike)
        os.kill(tower.devnet.process.pid, signal.SIGSTOP)
        paused = tower.until(lambda s: s.state == "PAUSED")
        assert paused.signers[0].problem == paused.reason
        assert "look at this node" in paused.reason
        tower.until(lambda s: bool(alarms(s)))  # once it lasts
        os.kill(tower.devnet.process.pid, signal.SIGCONT)
        assert alarms(tower.until(lambda s: s.state == "RUNNING")) == ["NODE"]


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


def test_a_journal_that_went_back_gets_no_lease_any_more(
    tower: Tower, host: Host, made: tuple[Host, str]
) -> None:
    """A copy of token and journal together: the signer itself cannot know."""
    with all_running(tower, host), tower.client() as officer:
        assert officer.create_freeze(freeze())
        tower.until(lambda s: s.signers[0].sequence == host.ask(STATUS).status.sequence)
    with (
        temporary_host(made[0]) as older,
        older.serving(),
        tower.relay(older.directory / "socket"),
    ):
        status = tower.until(lambda s: "went back" in s.reason)
        assert status.state == "FROZEN"
        assert not older.ask(STATUS).status.lease_until
    tower.kill()
    tower.start()
    with host.serving(), tower.relay(host.directory / "socket"):  # the right one is not enough
        status = tower.until(lambda s: bool(s.signers[0].journal))
        assert "went back" in status.signers[0].problem
        assert not host.ask(STATUS).status.lease_until
        assert alarms(tower.status()) == ["ROLLBACK"]


def test_policy_versions_wait_from_their_first_sight(
    tower: Tower, host: Host, made: tuple[Host, str]
) -> None:
    with all_running(tower, host), tower.client() as officer:
        before = host.ask(STATUS).status.policy
        file = next_version(before, "1 hour")
        with pytest.raises(CustodyRefused) as caught:
            officer.create_policy_version(file, changes(file, before, "alice"))
        assert caught.value.refusal.code is Code.QUORUM_MISSING
        earliest = officer.create_policy_version(file, changes(file, before, "alice", "carol"))
        assert earliest > now() + 23 * HOUR
        tower.kill()
        tower.start()
        assert officer.create_policy_version(file, []) == earliest
        assert [item.digest for item in tower.status().proposals] == [digest(file)]
        officer.create_veto(veto(file, "bob"))
        with pytest.raises(CustodyRefused) as caught:
            officer.create_policy_version(file, [])
        assert caught.value.refusal.code is Code.POLICY_VETOED
        with pytest.raises(CustodyRefused) as caught:
            officer.create_veto(veto(file, "bob", by="mallory"))
        assert caught.value.refusal.code is Code.VETO_INVALID


def test_a_version_may_follow_one_that_came_into_force_a_moment_ago(
    tower: Tower, host: Host
) -> None:
    """The watchtower hears of it from the signer every few seconds, and when it is asked."""
    with all_running(tower, host), tower.client() as officer:
        first = host.ask(STATUS).status.policy
        second = next_version(first, "48 hours")
        third = next_version(second, "1 hour")
        signed = changes(third, second, "alice", "carol")
        with pytest.raises(CustodyRefused) as caught:
            officer.create_policy_version(third, signed)
        assert caught.value.refusal.code is Code.POLICY_OUT_OF_ORDER
        version = signer_wire.PolicyVersion(file=second)
        for item in changes(second, first, "alice", "carol"):
            version.changes.add(statement=item.statement, signature=item.signature)
        apply = signer_wire.Job(apply=signer_wire.Apply(policy=version))
        assert host.ask(apply).HasField("applied")
        assert officer.create_policy_version(third, signed) > now() + 47 * HOUR


def next_version(before: bytes, delay: str) -> bytes:
    """Return a version that follows `before` with another change delay: a shorter one loosens."""
    policy, text = parse_policy(before), before.decode()
    text = text.replace(f"version = {policy.version}\n", f"version = {policy.version + 1}\n")
    text = text.replace(f'previous = "{policy.previous}"', f'previous = "{digest(before)}"')
    return re.sub(r'\ndelay = "\d+ hours"', f'\ndelay = "{delay}"', text, count=1).encode()


def changes(file: bytes, before: bytes, *people: str) -> list[Signed]:
    of = {"previous": digest(before), "expires": now() + HOUR}
    made = [make_change("policy", digest(file), person, **of) for person in people]
    return [sign(key(change.person), change) for change in made]


def veto(file: bytes, person: str, by: str = "") -> Signed:
    order = Veto(key=public(person), person=person, change=digest(file))
    return sign(key(by or person), order)


def test_receipts_and_a_recovery(tower: Tower, host: Host, policy: bytes) -> None:
    """After it, no lease before each nonce that the lost journal may have used has moved."""
    devnet, address = tower.devnet, parse_policy(policy).wallets["hot-sol"].address
    with all_running(tower, host), tower.client() as officer:
        devnet.call("requestAirdrop", [address, 10 * SOL])
        until(lambda: devnet.call("getBalance", [address])["value"], bool)
        opened = host.ask(nonce_open(blockhash=blockhash(tower)))
        [ack] = tower.submit([opened.receipt])
        said = decode(Ack, ack.statement)
        assert said.receipt == digest(statement_of(opened.receipt))
        assert verify(public("watchtower"), Signed(ack.statement, ack.signature))
        assert tower.submit([opened.receipt])[0].statement == ack.statement
        forged = bytearray(opened.receipt)
        forged[-9] ^= 1
        assert [bool(item.statement) for item in tower.submit([bytes(forged), b""])] == [False] * 2
        account = nonce_address(address, 0)
        tower.send(opened.signed.transaction)
        first = until(lambda: nonce_value(tower, account), bool)
        assert officer.create_freeze(freeze())
    lose_journal(host)
    file = prepare(host)
    host.done(*arguments(host, file, policy, "alice", "carol"))
    recover = file.read_bytes()
    with host.serving(), tower.relay(host.directory / "socket"), tower.client() as officer:
        tower.until(lambda s: "recover by quorum" in s.signers[0].problem)
        with pytest.raises(CustodyRefused) as caught:
            officer.create_recovery(recover, recovery_changes(recover, policy, "alice"))
        assert caught.value.refusal.code is Code.QUORUM_MISSING
        signed = recovery_changes(recover, policy, "alice", "carol")
        officer.create_recovery(recover, signed)
        officer.create_recovery(recover, signed)
        status = tower.until(lambda s: "1 nonces" in s.signers[0].problem)
        assert account in status.signers[0].problem
        assert not status.freezes  # they went with the journal
        assert not host.ask(STATUS).status.lease_until
        tower.kill()
        tower.start()
        tower.until(lambda s: "1 nonces" in s.signers[0].problem)
        assert first
        advanced = host.ask(nonce_advance(first))
        assert advanced.HasField("signed"), advanced
        assert tower.submit([advanced.receipt])[0].statement
        tower.send(advanced.signed.transaction)
        tower.until(leased)


def test_a_recovery_that_is_handed_over_after_the_nonces_were_advanced(
    tower: Tower, host: Host, policy: bytes
) -> None:
    """The worker advances as soon as the new journal serves; officers may come much later."""
    address = parse_policy(policy).wallets["hot-sol"].address
    with all_running(tower, host):
        tower.devnet.call("requestAirdrop", [address, 10 * SOL])
        until(lambda: tower.devnet.call("getBalance", [address])["value"], bool)
        opened = host.ask(nonce_open(blockhash=blockhash(tower)))
        assert tower.submit([opened.receipt])[0].statement
        account = nonce_address(address, 0)
        tower.send(opened.signed.transaction)
        first = until(lambda: nonce_value(tower, account), bool)
    lose_journal(host)
    file = prepare(host)
    host.done(*arguments(host, file, policy, "alice", "carol"))
    recover = file.read_bytes()
    with host.serving(), tower.relay(host.directory / "socket"), tower.client() as officer:
        tower.until(lambda s: "recover by quorum" in s.signers[0].problem)
        assert first
        advanced = host.ask(nonce_advance(first))
        assert tower.submit([advanced.receipt])[0].statement
        tower.send(advanced.signed.transaction)
        until(lambda: nonce_value(tower, account), lambda value: value not in {None, first})
        officer.create_recovery(recover, recovery_changes(recover, policy, "alice", "carol"))
        tower.until(leased)


def nonce_advance(value: bytes) -> signer_wire.Job:
    budget = signer_wire.ComputeBudget(unit_limit=1000, unit_price=0)
    job = signer_wire.NonceAdvance(wallet="hot-sol", index=0, nonce_value=value, budget=budget)
    return signer_wire.Job(nonce_advance=job)


def blockhash(tower: Tower) -> bytes:
    latest = tower.devnet.call("getLatestBlockhash", [{"commitment": "confirmed"}])
    return bytes(Hash.from_string(latest["value"]["blockhash"]))


def nonce_value(tower: Tower, account: str) -> bytes | None:
    """Return the finalised value of a nonce account."""
    options = {"commitment": "finalized", "encoding": "base64"}
    found = tower.devnet.call("getAccountInfo", [account, options])["value"]
    return base64.b64decode(found["data"][0])[40:72] if found else None


def recovery_changes(recover: bytes, policy: bytes, *people: str) -> list[Signed]:
    of = {"previous": digest(policy), "expires": now() + HOUR}
    made = [make_change("recover", digest(recover), person, **of) for person in people]
    return [sign(key(change.person), change) for change in made]


def test_each_method_is_for_its_roles(tower: Tower) -> None:
    tower.start()
    methods = [name for name in ROLES if name.startswith("/kura.watchtower")]
    assert len(methods) == len(watchtower_pb2.DESCRIPTOR.services_by_name["Watchtower"].methods)
    for name, role in itertools.product(methods, Role):
        code = tower.code_of(role, name.rpartition("/")[2])
        assert (code is not grpc.StatusCode.PERMISSION_DENIED) == (role in ROLES[name]), name


def test_one_process_at_a_time(tower: Tower) -> None:
    tower.start()
    second = tower.spawn("watchtower")
    words, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "is another watchtower serving from it?" in words


def test_a_relay_that_speaks_for_nobody_of_ours(tower: Tower, tmp_path: Path) -> None:
    with temporary_host() as other:
        audit_key = other.done("init", "--so-pin-file", other.directory / "so-pin").split()[2]
        keygen = other.done("keygen", "hot-sol").split()
        address = keygen[keygen.index("address") + 1]
        genesis(other, policy_file(signer=audit_key, address=address))
        tower.start()
        with other.serving(), tower.relay(other.directory / "socket"):
            until(tower.log, lambda log: f"{audit_key} is none of this watchtower's" in log)
            assert not other.ask(STATUS).status.lease_until
            assert tower.status().state == "PAUSED"


def test_its_metrics(tower: Tower, host: Host) -> None:
    with all_running(tower, host):
        tower.until(lambda s: s.state == "RUNNING" and bool(s.wallets))
        page = httpx.get(f"http://{tower.metrics}/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    audit_key = f'audit_key="{tower.audit_key}"'
    assert lines['kura_watchtower_state{state="RUNNING"}'] == "1.0"
    assert lines['kura_watchtower_state{state="PAUSED"}'] == "0.0"
    assert lines[f"kura_watchtower_paused{{{audit_key}}}"] == "0.0"
    assert 0 <= float(lines[f"kura_watchtower_lease_seconds{{{audit_key}}}"]) < 60
    assert 0 <= float(lines['kura_watchtower_behind_seconds{wallet="hot-sol"}']) < 60
    assert lines['kura_watchtower_unresolved{wallet="hot-sol"}'] == "0.0"
