"""kill -9 of a signer while it answers a theft: frozen at once, and the same sweep in the end."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from policies.receipts import open_receipt
from policies.statements import digest
from tests.factories import STRANGER, key, make_theft, policy_file
from tests.faults.dying import ALARM, last_words
from tests.integration.test_signer_main import genesis
from tests.signer_host import Host, temporary_host
from tests.signing import STATUS, alarm, hold_keys
from tests.softhsm import SoftHsm, opened

DYING = Path(__file__).with_name("dying.py")
DEATH_SECONDS = 60.0


@pytest.fixture(scope="module")
def made() -> Iterator[Host]:
    """A signer whose wallet's key the thief has, too."""
    with temporary_host() as host:
        audit = host.done("init", "--so-pin-file", host.directory / "so-pin").split()[2]
        with opened(SoftHsm(host.directory / "softhsm2.conf", "kura", pin=host.pin)) as token:
            hold_keys(token, "hot-sol")
        genesis(host, policy_file(signer=audit, sweep_count=8))
        yield host


def stolen() -> bytes:
    pair, recent = Keypair.from_seed(bytes(key("hot-sol"))), Hash(b"\x0d" * 32)
    pays = TransferParams(
        from_pubkey=pair.pubkey(), to_pubkey=Pubkey.from_string(STRANGER.address), lamports=1
    )
    message = Message.new_with_blockhash([transfer(pays)], pair.pubkey(), recent)
    return bytes(Transaction([pair], message, recent))


@pytest.mark.parametrize("point", ALARM)
def test_a_signer_that_dies_on_the_way(made: Host, point: str) -> None:
    job = alarm(make_theft(stolen()))
    with temporary_host(made) as host:
        with host.serving(sys.executable, DYING, point) as process:
            with pytest.raises((AssertionError, ConnectionError)):
                host.ask(job)
            assert process.wait(DEATH_SECONDS) in {-signal.SIGKILL, 128 + signal.SIGKILL}
            assert process.stdout
            assert process.stdout.readline() == f"{last_words(point)}\n"
        frozen = [digest(stolen())] if point != "signer-before-fsync-of-theft-freeze" else []
        with host.serving():
            status = host.ask(STATUS).status
            assert ([item.digest for item in status.freezes], status.locked) == (frozen, "")
            swept = host.ask(job).swept
            assert len(swept.transactions) == len(swept.receipts) == 8
            assert all(open_receipt([status.audit_key], data) for data in swept.receipts)
            assert host.ask(job).swept.transactions == swept.transactions
            assert [item.digest for item in host.ask(STATUS).status.freezes] == [digest(stolen())]
            more = make_theft(stolen(), blockhash="b1" * 32)
            assert host.ask(alarm(more)).refusal.code == "LIMIT_EXCEEDED", "counted once"
