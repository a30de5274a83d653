"""OpenTelemetry traces: one trace for each withdrawal, through api, worker and relay.

A caller's W3C `traceparent` is taken from the call's metadata; the withdrawal keeps the one of the
span that created it, and whatever is done for it later is a child of that. The signer has no part
in it: it is alone, and a trace is a way in. Without an endpoint nothing is recorded or sent.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_FORM = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("kura")


@contextmanager
def exporting(service: str, endpoint: str) -> Iterator[None]:
    """Send this process's spans to an OTLP/HTTP collector, such as http://127.0.0.1:4318.

    What was not sent yet is sent at the end. "" for `endpoint`: none are made.
    """
    if not endpoint:
        yield
        return
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


@contextmanager
def span(name: str, parent: str, **attributes: str) -> Iterator[None]:
    """Make one span under a `traceparent`; a new trace when that is "" or none."""
    context = _FORM.extract({"traceparent": parent})
    with _TRACER.start_as_current_span(name, context, attributes=attributes):
        yield


@contextmanager
def spans(name: str, parents: Sequence[str]) -> Iterator[None]:
    """Make one span under each of these, for what is done for several at once."""
    made = [_TRACER.start_span(name, _FORM.extract({"traceparent": parent})) for parent in parents]
    try:
        yield
    finally:
        for each in made:
            each.end()


def current() -> str:
    """Return the present span's `traceparent`, "" when none is recorded."""
    carrier: dict[str, str] = {}
    _FORM.inject(carrier)
    return carrier.get("traceparent", "")


def name_of(work: Callable[..., object]) -> str:
    """Return what a span for this function is called."""
    return str(getattr(getattr(work, "func", work), "__name__", "work")).lstrip("_")
