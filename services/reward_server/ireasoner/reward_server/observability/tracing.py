"""W3C trace context: taken over from a request, told in its log lines, passed on in its answer.

With OpenTelemetry, which is off unless asked for, each request is also a span, sent to wherever the
environment's `OTEL_*` variables say.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A request's place in a trace: hexadecimal ids of the trace and of the server's own span."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def header(self) -> str:
        """As `traceparent` and `traceresponse` have it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def continued(traceparent: str | None) -> TraceContext:
    """A new span in the caller's trace, or in a new trace if there is none or it is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    span_id = secrets.token_hex(8)
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return TraceContext(secrets.token_hex(16), span_id, "00")
    return TraceContext(found[1], span_id, found[3])


class Tracer:
    """Gives each request its trace context, and a span of OpenTelemetry if `open_telemetry` is on."""

    def __init__(self, open_telemetry: bool) -> None:
        self._tracer = _open_telemetry_tracer() if open_telemetry else None

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str]) -> Iterator[TraceContext]:
        """The span of one request."""
        if self._tracer is None:
            yield continued(headers.get("traceparent"))
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(
            name, context=extract(dict(headers)), kind=SpanKind.SERVER
        ) as span:
            context = span.get_span_context()
            yield TraceContext(
                f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{int(context.trace_flags):02x}"
            )


def _open_telemetry_tracer() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "reward-server"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("ireasoner.reward_server")
