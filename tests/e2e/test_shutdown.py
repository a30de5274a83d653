"""SIGTERM in the middle of a payment: each process ends by itself and hands back what it held."""

import os
import signal

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from custody.dev import processes
from custody.dev.pki import Authority
from custody.dev.system import System
from custody.identity import Identity, Role
from kura.custody.v1 import custody_pb2 as wire
from tests.e2e.test_processes import AMOUNT, ask

END_SECONDS = 60.0


def told_to_stop(system: System, name: str) -> int:
    """Tell a process to stop; return its exit code."""
    pid = system.pid(name)
    os.kill(pid, signal.SIGTERM)
    return processes._children[pid].wait(END_SECONDS)


@pytest.mark.parametrize("name", ["api", "worker", "relay", "signer", "watchtower"])
def test_a_process_that_is_told_to_stop_loses_nothing(system: System, name: str) -> None:
    log = system.layout.logs / f"{name}.log"
    before, words = system.balance(system.customers[0]), log.stat().st_size
    try:
        made = ask(system, f"stopped-{name}")
        assert told_to_stop(system, name) == 0
        assert b"Traceback" not in log.read_bytes()[words:]
    finally:
        system.stop(name)
        system.start(name)
    with system.client("exchange") as custody:
        assert custody.wait(made.name).state == wire.WITHDRAWAL_STATE_COMPLETED
    assert system.balance(system.customers[0]) == before + AMOUNT


def test_health_says_that_it_stops_before_it_does(system: System) -> None:
    tls = Authority(system.layout.folder / "pki").issue(Identity(Role.AUDITOR, "auditor"))
    target = f"localhost:{system.layout.port('api')}"
    pid = system.pid("api")
    try:
        with grpc.secure_channel(target, tls.channel_credentials()) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            os.kill(pid, signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert processes._children[pid].wait(END_SECONDS) == 0
    finally:
        system.stop("api")
        system.start("api")
