"""Several apis and workers on one database, restarted one by one under load: no error seen."""

import re
import threading
from collections.abc import Iterator

import pytest

from custody.client import CustodyClient
from custody.client_config import read_config
from custody.dev.genesis import NETWORK
from custody.dev.layout import WALLET
from custody.dev.processes import free_port
from custody.dev.system import BIN, System
from custody.keys import load_key
from kura.custody.v1 import custody_pb2 as wire

AMOUNT = 1_000_000
AFTER_THE_LAST = 4
PAUSE_SECONDS = 1.0  # four nonces are paid with in turn: more would only wait


def replica(system: System, process: str, number: int) -> str:
    """Start another `process` beside the first, on a port of its own; return its name."""
    name, first = f"{process}-{number}", system.layout.settings(process)
    settings = first.with_name(f"{name}.toml")
    port = free_port()
    text = re.sub(r'^listen = "127.0.0.1:\d+"', f'listen = "127.0.0.1:{port}"', first.read_text())
    settings.write_text(text)
    system.run(name, [BIN / "custody", "serve", process, "--settings", settings])
    return name


def listens(system: System, name: str) -> str:
    settings = system.layout.settings("api").with_name(f"{name}.toml")
    match = re.match(r'listen = "127.0.0.1:(\d+)"', settings.read_text())
    assert match
    return f"localhost:{match[1]}"


def restart(system: System, name: str) -> None:
    process, _, number = name.partition("-")
    system.stop(name)
    if number:
        settings = system.layout.settings(process).with_name(f"{name}.toml")
        system.run(name, [BIN / "custody", "serve", process, "--settings", settings])
    else:
        system.start(name)


def relay_to(system: System, workers: list[str]) -> None:
    """Let the relay dial these workers, and the watchtower, from which the leases come."""
    file = system.layout.settings("relay")
    named = ", ".join(f'"{listens(system, name)}"' for name in (*workers, "watchtower"))
    file.write_text(re.sub(r"gateways = \[.*\]", f"gateways = [{named}]", file.read_text()))
    system.stop("relay")
    system.start("relay")


class Load(threading.Thread):
    """One backend that asks for withdrawals through one api until it is told to stop."""

    def __init__(self, system: System, target: str, name: str) -> None:
        super().__init__()
        config = read_config(system.layout.client("exchange"))
        assert config.signing_key
        key = load_key(config.signing_key, lambda: b"")
        self.custody = CustodyClient(
            target, config.tls, key, "exchange", audit_keys=config.audit_keys
        )
        self.system, self.prefix = system, name
        self.stopping = threading.Event()
        self.made: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                made = self.custody.create_withdrawal(
                    request_id=f"{self.prefix}-{len(self.made)}",
                    wallet=WALLET,
                    network=NETWORK,
                    asset="SOL",
                    address=self.system.customers[0],
                    amount=AMOUNT,
                )
                self.made.append(made.name)
                self.custody.get_withdrawal(made.name)
                self.stopping.wait(PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - the test asserts that there was none
            self.error = error


def enough(load: Load) -> bool:
    assert load.error is None, load.error
    return len(load.made) > AFTER_THE_LAST


@pytest.fixture(params=[2, 3])
def replicas(system: System, request: pytest.FixtureRequest) -> Iterator[dict[str, list[str]]]:
    """As many apis and workers, the first of each being the system's own."""
    numbers = range(2, request.param + 1)
    names = {
        process: [process, *(replica(system, process, number) for number in numbers)]
        for process in ("api", "worker")
    }
    relay_to(system, names["worker"])
    yield names
    relay_to(system, ["worker"])
    for process in names:
        for name in names[process][1:]:
            system.stop(name)


def test_a_rolling_restart_under_load_shows_no_client_an_error(
    system: System, replicas: dict[str, list[str]]
) -> None:
    before = system.balance(system.customers[0])
    count = len(replicas["api"])
    loads = [
        Load(system, listens(system, name), f"rolling-{count}-{index}")
        for index, name in enumerate(replicas["api"])
    ]
    for load in loads:
        load.start()
    for name in (*replicas["api"], *replicas["worker"]):
        restart(system, name)
    system.until(
        "some more", lambda: all(len(each.made) > AFTER_THE_LAST for each in loads) or None
    )
    for load in loads:
        load.stopping.set()
        load.join()
    assert [load.error for load in loads] == [None] * len(loads)
    made = [name for load in loads for name in load.made]
    assert len({*made}) == len(made)
    paid = [loads[0].custody.wait(name) for name in made]
    assert {item.state for item in paid} == {wire.WITHDRAWAL_STATE_COMPLETED}
    assert len({item.transaction_id for item in paid}) == len(made)
    assert system.balance(system.customers[0]) - before == AMOUNT * len(made)
    for load in loads:
        load.custody.close()
