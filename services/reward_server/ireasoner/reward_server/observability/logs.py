"""Log lines: JSON objects or plain text, each with the id of its request."""

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from ireasoner.reward_server.observability.request_context import request_id, trace_id

LogFormat = Literal["json", "text"]
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s request_id=%(request_id)s"
_LEFT_OUT = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "request_id",
    "trace_id",
    "taskName",
    "color_message",  # uvicorn's message again, for terminals
}


def configure(level: str, log_format: LogFormat) -> None:
    """Writes everything at `level` and above to standard error."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_request)
    handler.setFormatter(_JsonLines() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _add_request(record: logging.LogRecord) -> bool:
    record.request_id, record.trace_id = request_id.get(), trace_id.get()
    return True


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
        line.update({name: value for name, value in vars(record).items() if name not in _LEFT_OUT})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
