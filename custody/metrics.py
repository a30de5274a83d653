"""/metrics for Prometheus: the facts of `custody status`, and counters of this process.

Served on an address of its own without authentication: amounts and names of wallets are on it, no
withdrawal and no person. Keep it on loopback or behind the scraper's network.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from custody.flows.parts import Parts
from custody.flows.status import Facts, gather, next_actions

FACTS_SECONDS = 2.0
ANSWER_SECONDS = 5.0

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
CALLS = Counter("kura_calls", "Calls of the API.", ("method", "code"), registry=REGISTRY)
STEPS = Counter("kura_steps", "Steps of the worker.", ("line", "outcome"), registry=REGISTRY)


class StatusCollector(Collector):
    """Asks for the facts when it is scraped, at most every two seconds.

    When the database does not answer, `kura_up` is 0 and nothing else is told.
    """

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop) -> None:
        self._parts, self._loop = parts, loop
        self._facts: Facts | None = None
        self._until = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        facts = self._fresh()
        yield GaugeMetricFamily("kura_up", "1 when the database answers.", float(bool(facts)))
        if facts:
            yield from gauges(facts)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing beforehand: nobody is asked while the process starts."""
        return iter(())

    def _fresh(self) -> Facts | None:
        if time.monotonic() < self._until:
            return self._facts
        asked = asyncio.run_coroutine_threadsafe(gather(self._parts), self._loop)
        try:
            self._facts = asked.result(ANSWER_SECONDS)
        except Exception:  # noqa: BLE001 - whatever it is, the scrape says that we do not know
            asked.cancel()
            self._facts = None
        self._until = time.monotonic() + FACTS_SECONDS
        return self._facts


def gauges(facts: Facts) -> Iterator[GaugeMetricFamily]:
    """Yield the facts as gauges; amounts in base units, ages in seconds."""
    now = facts.now
    waiting = GaugeMetricFamily(
        "kura_withdrawals", "Not at their end.", labels=("state", "waiting_for")
    )
    oldest = GaugeMetricFamily(
        "kura_oldest_seconds", "Age of the oldest.", labels=("state", "waiting_for")
    )
    for queue in facts.queues:
        waiting.add_metric((queue.state, queue.waiting_for), queue.count)
        oldest.add_metric((queue.state, queue.waiting_for), (now - queue.oldest).total_seconds())
    seen = GaugeMetricFamily("kura_signer_seconds", "Since its last answer.", labels=("signer",))
    locked = GaugeMetricFamily(
        "kura_signer_locked", "1 when it signs nothing.", labels=("signer", "code")
    )
    proposals = GaugeMetricFamily("kura_policy_proposals", "That wait.", labels=("vetoed",))
    for signer in facts.signers:
        seen.add_metric((signer.audit_key,), (now - signer.seen).total_seconds())
        locked.add_metric((signer.audit_key, signer.locked), float(bool(signer.locked)))
    for vetoed in ("no", "yes"):
        waits = [p for s in facts.signers[:1] for p in s.proposals]
        proposals.add_metric((vetoed,), sum(bool(p.vetoed_by) == (vetoed == "yes") for p in waits))
    amounts = GaugeMetricFamily("kura_balance", "Base units.", labels=("wallet", "asset", "kind"))
    nonces = GaugeMetricFamily("kura_nonces", "Nonce accounts.", labels=("wallet", "kind"))
    for pool in facts.pools:
        amounts.add_metric((pool.wallet, pool.asset, "total"), pool.total)
        amounts.add_metric((pool.wallet, pool.asset, "in_use"), pool.in_use)
        nonces.add_metric((pool.wallet, "all"), pool.nonces)
        nonces.add_metric((pool.wallet, "free"), pool.nonces_free)
    lag = GaugeMetricFamily("kura_node_lag_seconds", "Behind our clock.", labels=("network",))
    answers = GaugeMetricFamily("kura_node_up", "1 when it answers.", labels=("network",))
    for node in facts.nodes:
        answers.add_metric((node.network,), float(node.block_time is not None))
        if node.block_time:
            lag.add_metric((node.network,), (now - node.block_time).total_seconds())
    policy = GaugeMetricFamily("kura_policy_version", "Of the policy in force.")
    if facts.policy:
        policy.add_metric((), facts.policy.version)
    todo = GaugeMetricFamily(
        "kura_next_actions", "How many `custody status` names.", len(next_actions(facts))
    )
    yield from (waiting, oldest, seen, locked, proposals, amounts, nonces)
    yield from (lag, answers, policy, todo)


@contextmanager
def serving(address: str, parts: Parts) -> Iterator[None]:
    """Serve /metrics of api or worker while inside; for use in the parts' event loop."""
    collector = StatusCollector(parts, asyncio.get_running_loop())
    with exposing(address, REGISTRY, collector):
        yield


@contextmanager
def exposing(address: str, registry: CollectorRegistry, collector: Collector) -> Iterator[None]:
    """Serve /metrics on host:port while inside; nowhere when `address` is "".

    OSError when it cannot listen.
    """
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    registry.register(collector)
    try:
        server, thread = start_http_server(int(port), host, registry)
    except OSError as error:
        registry.unregister(collector)
        raise OSError(f"cannot serve metrics on {address}: {error.strerror}") from error
    try:
        yield
    finally:
        registry.unregister(collector)
        server.shutdown()
        server.server_close()
        thread.join()
