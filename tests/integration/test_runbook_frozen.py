"""docs/runbooks/frozen.md, followed in order on one whole system: out of every frozen state."""

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from custody.cli.tower import Watchtower
from custody.client import state_of
from custody.client_config import read_config
from custody.dev.genesis import NETWORK
from custody.dev.layout import OFFICERS, WALLET
from custody.dev.system import System, ready_nonces
from custody.words import digest_words
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies.freezes import epoch_after
from tests.runbooks import Reader, sections
from tests.thief import steal

PAGE = sections("frozen.md")
SOL = 10**9
WAIT = timedelta(seconds=60)


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    whole = System(tmp_path_factory.mktemp("k") / "up", print)
    try:
        whole.up()
        whole.until("the nonces", lambda: ready_nonces(whole.layout.postgres.dsn) == 4 or None)
        yield whole
    finally:
        whole.down()


@pytest.fixture
def reader(system: System, tmp_path: Path) -> Reader:
    """Somebody with every officer's settings and key, and the signer's host."""
    for person in OFFICERS:
        (tmp_path / f"{person}.toml").symlink_to(system.layout.client(person))
        shutil.copy(system.layout.key(person), tmp_path / f"{person}.pem")
    shutil.copy(system.layout.policy, tmp_path / "policy.toml")
    made = Reader(tmp_path, given=["--config", str(system.layout.signer_settings)])
    made.environment |= system.layout.environment
    return made


def test_every_frozen_state_is_left_by_quorum(system: System, reader: Reader) -> None:
    an_officer_has_frozen(system, reader)
    the_journal_went_back(system, reader)
    the_watchtowers_key_is_lost(system, reader)
    a_theft_is_proven(system, reader)


def test_no_part_is_left_out() -> None:
    assert [*PAGE] == [
        "An officer has frozen",
        "The journal went back",
        "Watchtower key lost or stolen",
        "A theft is proven",
    ]


def an_officer_has_frozen(system: System, reader: Reader) -> None:
    assert reader.run("custody --config bob.toml freeze create all")[1] == 0
    looked, lifted = PAGE["An officer has frozen"]
    reader.follow(looked)
    (frozen,) = watched(system).freezes
    reader.typed = digest_words(epoch_after("", [frozen.digest]))[0] + "\n"
    reader.follow(lifted)
    assert pay(system, "after-a-freeze") == "COMPLETED"


def the_journal_went_back(system: System, reader: Reader) -> None:
    """Token and journal of the same older moment: the signer alone notices nothing."""
    signer, older = system.layout.signer, reader.folder / "older"
    system.stop("signer")
    shutil.copytree(signer, older, ignore=shutil.ignore_patterns("*.sock"))
    system.start("signer")
    assert pay(system, "forgotten") == "COMPLETED"
    system.stop("signer")
    shutil.rmtree(signer)
    shutil.copytree(older, signer)
    system.start("signer")
    system.until("the alarm", lambda: state(system) == "FROZEN" or None)
    assert [alarm.kind for alarm in watched(system).alarms] == ["ROLLBACK"]
    looked, applied, submitted, resumed = PAGE["The journal went back"]
    reader.follow(looked)
    system.stop("signer")
    reader.follow(applied)
    reader.follow(submitted)
    system.start("signer")
    goes_on(system)
    reader.follow(resumed)
    assert [alarm.kind for alarm in watched(system).alarms] == ["ROLLBACK"], "no second one"


def the_watchtowers_key_is_lost(system: System, reader: Reader) -> None:
    part = PAGE["Watchtower key lost or stolen"]
    made, applied, submitted, resumed = part
    system.stop("watchtower")
    system.layout.watchtower_key.unlink()
    reader.follow(made)
    system.stop("signer")
    reader.follow(applied)
    shutil.copy(reader.folder / "watchtower-2.pem", system.layout.watchtower_key)
    system.start("watchtower")
    reader.follow(submitted)
    system.start("signer")
    goes_on(system)
    reader.follow(resumed)


def a_theft_is_proven(system: System, reader: Reader) -> None:
    before = system.balance(system.wallet_address)
    stolen = steal(system, 40 * SOL)
    cold = re.search(r'^to = "(.+)"', system.layout.policy.read_text(), re.MULTILINE)
    assert cold is not None
    swept = before - 41 * SOL
    system.until("the sweep", lambda: system.balance(cold[1]) > swept or None)
    assert stolen in {alarm.transaction_id for alarm in watched(system).alarms}
    looked, lifted = PAGE["A theft is proven"]
    reader.follow(looked)
    reader.follow(lifted)
    goes_on(system)


def watched(system: System) -> tower.GetStatusResponse:
    config = read_config(system.layout.client("alice"))
    assert config.watchtower
    with Watchtower(config.watchtower, config.tls, WAIT) as client:
        return client.get_status()


def state(system: System) -> str:
    return str(watched(system).state)


def goes_on(system: System) -> None:
    """Wait until the watchtower gives leases and every nonce can be used."""
    system.until("a lease", lambda: state(system) == "RUNNING" or None)


def pay(system: System, request_id: str) -> str:
    with system.client("exchange") as custody:
        made = custody.create_withdrawal(
            request_id=request_id,
            wallet=WALLET,
            network=NETWORK,
            asset="SOL",
            address=system.customers[0],
            amount=SOL // 10,
        )
        return str(state_of(custody.wait(made.name)))
