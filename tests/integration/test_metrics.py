"""/metrics: the same facts as the status, asked when scraped, and honest when there are none."""

import asyncio
from pathlib import Path
from urllib.request import urlopen

import pytest

from custody.cli.serve import app as serve_app
from custody.dev.processes import free_port
from custody.flows.status import gather, next_actions
from custody.identity import Role
from custody.metrics import serving
from kura.custody.v1 import custody_pb2 as wire
from tests.factories import SOL
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import served

house = houses.house


def scraped(address: str) -> dict[str, float]:
    text = urlopen(f"http://{address}/metrics", timeout=60).read().decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_facts_and_counters_are_scraped(house: House, tmp_path: Path) -> None:
    assert serve_app
    await house.ready(lamports=2 * SOL)
    await house.create(amount=20 * SOL)
    async with served(house.parts, tmp_path / "pki") as api, api.stub(Role.AUDITOR) as auditor:
        await auditor.ListWithdrawals(wire.ListWithdrawalsRequest())
    address = f"127.0.0.1:{free_port()}"
    with serving(address, house.parts):
        seen = await asyncio.to_thread(scraped, address)
    waiting = 'kura_withdrawals{state="PENDING_APPROVAL",waiting_for="APPROVALS"}'
    assert (seen["kura_up"], seen[waiting]) == (1, 1)
    total = 'kura_balance{asset="SOL",kind="total",wallet="hot-sol"}'
    assert seen[total] == await house.on_chain(house.wallet)
    assert seen['kura_nonces{kind="free",wallet="hot-sol"}'] == 4
    assert seen['kura_balance{asset="SOL",kind="in_use",wallet="hot-sol"}'] == 0
    assert seen['kura_nonces{kind="all",wallet="hot-sol"}'] == 4
    assert 0 <= seen[waiting.replace("kura_withdrawals", "kura_oldest_seconds")] < 60
    assert 0 <= seen[f'kura_signer_seconds{{signer="{house.audit_key}"}}'] < 60
    assert seen['kura_node_up{network="solana:devnet"}'] == 1
    assert 'kura_node_lag_seconds{network="solana:devnet"}' in seen
    assert seen["kura_policy_version"] == 1
    assert seen["kura_next_actions"] == len(next_actions(await gather(house.parts))) > 0
    assert seen['kura_calls_total{code="OK",method="ListWithdrawals"}'] >= 1


async def test_without_the_database_it_says_that_it_knows_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise OSError

    monkeypatch.setattr("custody.metrics.gather", away)
    address = f"127.0.0.1:{free_port()}"
    with serving(address, house.parts):
        seen = await asyncio.to_thread(scraped, address)
    assert seen["kura_up"] == 0
    assert not [name for name in seen if name.startswith("kura_balance")]
