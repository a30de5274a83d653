"""One withdrawal is one trace through api, worker and relay, as a real OTLP collector gets it."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from custody.dev.system import BIN, System
from tests.e2e.test_processes import ask

TRACED = ("api", "worker", "relay")
EXPECTED = {
    ("kura-api", "CreateWithdrawal"),
    ("kura-worker", "claim"),
    ("kura-worker", "take"),
    ("kura-worker", "send"),
    ("kura-relay", "ask the signer"),
}


class Collector:
    """Keeps (service, span, trace id, withdrawal) of every span that arrives."""

    def __init__(self) -> None:
        self.spans: set[tuple[str, str, bytes, str]] = set()

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                for span in scope.spans:
                    about = {each.key: each.value.string_value for each in span.attributes}
                    withdrawal = about.get("withdrawal", "")
                    seen = (named["service.name"], span.name, span.trace_id, withdrawal)
                    self.spans.add(seen)


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_one_withdrawal_is_one_trace_through_three_processes(system: System) -> None:
    with collecting() as (collector, address):
        for name in TRACED:
            system.stop(name)
            variable = f"KURA_{name.upper()}_TRACING={address}"
            command = ["env", variable, str(BIN / "custody"), "serve", name]
            system.run(name, [*command, "--settings", str(system.layout.settings(name))])
        digest = ask(system, "traced").name.removeprefix("withdrawals/")
        with system.client("exchange") as custody:
            custody.wait(f"withdrawals/{digest}")
        for name in TRACED:
            system.stop(name)  # sends what is left
    (trace,) = {span[2] for span in collector.spans if span[3] == digest}
    ours = {(service, name) for service, name, of, _ in collector.spans if of == trace}
    assert ours >= EXPECTED, ours
    for name in TRACED:
        system.start(name)
