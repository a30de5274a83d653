"""/metrics of the watchtower: its state and each lease, asked for when it is scraped."""

import asyncio
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from custody.watchtower.parts import Chain, Parts
from custody.watchtower.status import problem_of, state_of
from policies.statements import LEASE_MS

ANSWER_SECONDS = 5.0
STATES = ("RUNNING", "PAUSED", "FROZEN")


class WatchtowerCollector(Collector):
    """Reads in the event loop that the parts belong to, since the database is used by no other."""

    def __init__(self, parts: Parts, chain: Chain) -> None:
        self._parts, self._chain = parts, chain
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        yield from asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(ANSWER_SECONDS)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing beforehand: nobody is asked while the process starts."""
        return iter(())

    async def _read(self) -> list[GaugeMetricFamily]:
        return list(gauges(self._parts, self._chain))


def gauges(parts: Parts, chain: Chain) -> Iterator[GaugeMetricFamily]:
    """Yield the gauges; amounts in base units, ages in seconds."""
    now, present = parts.clock(), state_of(parts).name
    state = GaugeMetricFamily("kura_watchtower_state", "1 for the present one.", labels=("state",))
    for name in STATES:
        state.add_metric((name,), float(name == present))
    lease = GaugeMetricFamily(
        "kura_watchtower_lease_seconds", "Since the last lease.", labels=("audit_key",)
    )
    paused = GaugeMetricFamily(
        "kura_watchtower_paused", "1 when it gets no lease.", labels=("audit_key",)
    )
    for audit_key in sorted(parts.audit_keys):
        link = parts.links.get(audit_key)
        if link and link.lease_until:
            lease.add_metric((audit_key,), (now - (link.lease_until - LEASE_MS)) / 1000)
        paused.add_metric((audit_key,), float(bool(problem_of(parts, audit_key))))
    behind = GaugeMetricFamily(
        "kura_watchtower_behind_seconds", "Behind the chain.", labels=("wallet",)
    )
    open_ = GaugeMetricFamily(
        "kura_watchtower_unresolved", "Signed, not final.", labels=("wallet",)
    )
    for wallet in chain.wallets():
        behind.add_metric((wallet.name,), (now - wallet.seen_until) / 1000)
        open_.add_metric((wallet.name,), int(wallet.signed) - int(wallet.resolved))
    yield from (state, lease, paused, behind, open_)
