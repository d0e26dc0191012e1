"""What every request passes first: it gets its id, and its body is held to its limit."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.reward_server import problems
from services.reward_server.errors import InternalError, RequestTooLarge

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class Admission:
    """ASGI middleware: keeps a sane `X-Request-ID` or makes one, echoes it, logs one line a request.

    Nothing escapes it unanswered: what no handler has made a problem of is a bug, is logged with its
    traceback and answered as InternalError.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, unless it says itself that it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked_id = headers.get("x-request-id", "")
        request_id = asked_id if _REQUEST_ID.fullmatch(asked_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started_s = time.monotonic()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["x-request-id"] = request_id
                log.info(
                    "%s %s %d %.1f ms request_id=%s",
                    scope["method"],
                    scope["path"],
                    message["status"],
                    1e3 * (time.monotonic() - started_s),
                    request_id,
                )
            await send(message)

        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_body_bytes:
            response = problems.answer(RequestTooLarge(self._too_large()), request_id)
            await response(scope, receive, send_with_id)
            return
        try:
            await self._app(scope, self._limited(receive), send_with_id)
        except Exception:
            log.exception("%s %s failed request_id=%s", scope["method"], scope["path"], request_id)
            if started:
                raise
            bug = InternalError("a fault of the server; its log has it under this request's id")
            await problems.answer(bug, request_id)(scope, receive, send_with_id)

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise HTTPException(RequestTooLarge.status, self._too_large())
            return message

        return receive_within_limit

    def _too_large(self) -> str:
        return f"the body is larger than {self._max_body_bytes} bytes"
