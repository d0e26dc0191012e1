"""Log lines: JSON objects or plain text, each with the id of its request."""

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from ireasoner.reward_server.observability.request_context import request_id, trace_id

LogFormat = Literal["json", "text"]
MAX_SHOWN = 200
"""Characters of what a caller sent that a log line shows."""
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s %(fields)srequest_id=%(request_id)s"
_LEFT_OUT = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "request_id",
    "trace_id",
    "fields",
    "taskName",
    "color_message",  # uvicorn's message again, for terminals
}


def configure(level: str, log_format: LogFormat) -> None:
    """Writes everything at `level` and above to standard error."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_request)
    handler.setFormatter(_JsonLines() if log_format == "json" else _TextLines(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def one_line(sent: str) -> str:
    """What a caller sent, for a log line: cut to `MAX_SHOWN` characters; those that do not print are escaped."""
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in sent[:MAX_SHOWN])
    return shown + "..." if len(sent) > MAX_SHOWN else shown


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _LEFT_OUT}


def _add_request(record: logging.LogRecord) -> bool:
    record.request_id, record.trace_id = request_id.get(), trace_id.get()
    return True


class _TextLines(logging.Formatter):
    """A line of text with the fields given as `extra`, as JSON values: `status=422 code="malformed_request"`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record).items()
        record.fields = "".join(
            f"{name}={json.dumps(value, default=str, ensure_ascii=False)} " for name, value in fields
        )
        return super().format(record)


class _JsonLines(logging.Formatter):
    """One object per line: time, level, logger, message, request, and the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", "-"),
            "trace_id": getattr(record, "trace_id", "-"),
        }
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
