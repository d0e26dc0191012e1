"""With `--open-telemetry`, each request is a span in its caller's trace, sent here to a collector of the test's."""

import json
import subprocess
import sys
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
        """Logs nothing."""


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
            made = httpx.get(f"{url}/configs", headers={"traceparent": f"00-{'0' * 32}-{CALLER}-01"})
            process.terminate()
            _, errors = process.communicate(timeout=DEADLINE_S)
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
    version, trace, _, _ = made.headers["traceresponse"].split("-")
    assert version == "00"
    assert trace not in ("0" * 32, TRACE), "a malformed header begins a trace"
    logged = {line["message"]: line["trace_id"] for line in map(json.loads, errors.splitlines())}
    assert (logged["POST /score/outcome 200"], logged["GET /configs 200"]) == (TRACE, trace)


def test_without_open_telemetry_nothing_is_traced(compass_http: httpx.Client) -> None:
    answer = compass_http.get("/configs", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    assert "traceresponse" not in answer.headers


def test_open_telemetry_without_its_extra_is_refused() -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; "
        "from ireasoner.reward_server.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "--port", "0", "--open-telemetry"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == 1
    assert "reward-server --open-telemetry needs its extra" in ended.stderr
    assert "otel" in ended.stderr
