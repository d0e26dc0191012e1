"""OpenTelemetry: with `--open-telemetry`, each request is a span in its caller's trace.

The `OTEL_*` environment variables say where spans are sent. Needs the extra `otel`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from ireasoner.reward_server.observability.request_context import trace_id


class Tracer:
    """Makes a span of each request and sends it to the collector."""

    def __init__(self) -> None:
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "reward-server"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("ireasoner.reward_server")

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str]) -> Iterator[str]:
        """The span of one request, whose log lines carry its trace id; yields the header `traceresponse`.

        It continues the trace of the header `traceparent`; if that is missing or malformed, it begins a new one.
        """
        parent = extract(dict(headers))
        with self._tracer.start_as_current_span(name, context=parent, kind=SpanKind.SERVER) as span:
            context = span.get_span_context()
            trace = f"{context.trace_id:032x}"
            token = trace_id.set(trace)
            try:
                yield f"00-{trace}-{context.span_id:016x}-{int(context.trace_flags):02x}"
            finally:
                trace_id.reset(token)
