"""What the log lines of one request share, from its arrival to its answer."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request that is being worked on; `-` outside of requests."""

trace_id: ContextVar[str] = ContextVar("trace_id", default="-")
"""The W3C trace that the request belongs to; `-` outside of requests."""
