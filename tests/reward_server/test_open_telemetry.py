"""With `--open-telemetry` a request is a span in its caller's trace, sent to a collector, here one of our own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ireasoner.clients import RewardClient
from tests.reward_server.requests import rollout
from tests.reward_server.test_process import DEADLINE_S, server

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class _Collector(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Collector)
        self.server.posted.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stays silent."""


@contextmanager
def _collector() -> Iterator[_Collector]:
    collector = _Collector()
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()


def test_a_request_is_a_span_of_its_callers_trace(compass: Path) -> None:
    with _collector() as collector:
        flags = ("--embedder", "token-mean", "--token-mean-checkpoint", str(compass), "--open-telemetry")
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        with server(*flags, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="100") as process:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("reward-server: listening on ").strip()
            with RewardClient(url) as client:
                client.wait_until_ready(DEADLINE_S, is_alive=lambda: process.poll() is None)
            answer = httpx.post(
                f"{url}/score/outcome",
                json={"groups": [{"id": "g", "rollouts": [{"id": "0", "text": rollout("7", "east")}]}]},
                headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
            )
            process.terminate()
            process.communicate(timeout=DEADLINE_S)
    spans = [
        span
        for body in collector.posted
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    (ours,) = [span for span in spans if span.trace_id.hex() == TRACE]
    assert ours.parent_span_id.hex() == CALLER
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{ours.span_id.hex()}-01"
