"""The caller's trace, passed on in every request, so that the server's spans and log lines are part of it."""

import sys


def trace_headers() -> dict[str, str]:
    """What the propagators of OpenTelemetry say of the current span (by default W3C `traceparent`).

    Nothing in a process that has not loaded OpenTelemetry: it is not loaded for this.
    """
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.propagate import inject

    carried: dict[str, str] = {}
    inject(carried)
    return carried
