"""What the watchtower counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter

REGISTRY = CollectorRegistry()
ALARMS = Counter("kura_watchtower_alarms", "Raised.", ("kind",), registry=REGISTRY)
PAUSES = Counter(
    "kura_watchtower_pauses", "Leases stopped.", ("audit_key", "cause"), registry=REGISTRY
)
RECEIPTS = Counter("kura_watchtower_receipts", "Handed over.", ("outcome",), registry=REGISTRY)
REFUSED = Counter("kura_watchtower_refused_calls", "By code.", ("code",), registry=REGISTRY)
