"""What the log lines of one request have in common."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the current request; `-` outside requests."""

trace_id: ContextVar[str] = ContextVar("trace_id", default="-")
"""The trace of the current request; `-` outside requests, and without OpenTelemetry."""
