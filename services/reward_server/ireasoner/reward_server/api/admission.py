"""What every request passes first: its id and trace, its token, and the limits on what is read and held."""

import asyncio
import logging
import re
import time
import uuid
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ireasoner.reward_server.api import problems
from ireasoner.reward_server.api.arriving_body import ArrivingBody, BodyLimits
from ireasoner.reward_server.api.tokens import Tokens
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import (
    InternalError,
    NotReady,
    Overloaded,
    RequestError,
    ServiceError,
    Unauthorized,
)
from ireasoner.reward_server.observability.metrics import Metrics
from ireasoner.reward_server.observability.request_context import request_id, trace_id
from ireasoner.reward_server.observability.tracing import Tracer
from ireasoner.reward_server.settings import RewardServerSettings

log = logging.getLogger(__name__)

PROBES = frozenset({"/livez", "/readyz"})
"""Asked every few seconds: that all is well is logged at debug only."""
OPEN_PAGES = PROBES | {"/", "/docs", "/openapi.json"}
"""What needs no token: nothing on them is anybody's."""
METRICS_PAGE = "/metrics"
TOKEN_IN_URL = ("/cohort/", "/verify")
"""Under these, `?token=` is as good as the header, for callers that cannot send one."""
NO_EXPERIMENT = "-"
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_RETRY_AFTER_S = 1
SENT_BYTES = 2**17
"""Sent in one go; the server waits between two of them for a caller that reads slowly."""


class Admission:
    """ASGI middleware: keeps a sane `X-Request-ID` or makes one, echoes it, logs one line a request.

    Nothing escapes it unanswered: what no handler has made a problem of is a bug, is logged with its
    traceback and answered as InternalError. The bodies of all requests together are held to a limit.
    Once the server drains, callers are told to take their next request elsewhere: a connection that stays
    open could be closed as that is on its way.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: RewardServerSettings,
        metrics: Metrics,
        tokens: Tokens | None,
        engine: Engine,
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._tokens = tokens
        self._engine = engine
        self._tracer = Tracer(settings.open_telemetry)
        self._open_pages = OPEN_PAGES | ({METRICS_PAGE} if settings.open_metrics else set())
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, unless it is not to be let in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked_id = headers.get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = asked_id if _REQUEST_ID.fullmatch(asked_id) else uuid.uuid4().hex
        state["experiment"] = NO_EXPERIMENT
        with self._tracer.span(scope["method"], headers) as trace:
            tokens = (request_id.set(state["request_id"]), trace_id.set(trace.trace_id))
            try:
                await _Exchange(self, scope, receive, send, headers, trace.header).run()
            finally:
                trace_id.reset(tokens[1])
                request_id.reset(tokens[0])

    def experiment(self, scope: Scope, headers: Headers) -> str:
        """Who asks; raises Unauthorized if that has to be known and is not."""
        if self._tokens is None or scope["path"] in self._open_pages:
            return NO_EXPERIMENT
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            token = ""
        if not token and scope["path"].startswith(TOKEN_IN_URL):
            token = parse_qs(scope["query_string"].decode(errors="replace")).get("token", [""])[0]
        if not token:
            raise Unauthorized("this server takes requests with the header authorization: Bearer TOKEN only")
        experiment = self._tokens.experiment(token)
        if experiment is None:
            raise Unauthorized("the token is not one of this server's")
        return experiment

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Has the app answer."""
        await self._app(scope, receive, send)

    def hold(self, count: int) -> None:
        """Counts bytes of a body that is held from now on; raises HTTPException if they are too many."""
        if self._held_bytes + count > self._settings.max_held_bytes:
            raise HTTPException(
                Overloaded.status,
                f"requests of {self._held_bytes} bytes are being worked on, and no more than "
                f"{self._settings.max_held_bytes} are taken",
                {"retry-after": str(_RETRY_AFTER_S)},
            )
        self._held_bytes += count

    def release(self, count: int) -> None:
        """Takes back what `hold` has counted."""
        self._held_bytes -= count

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to end."""
        return self._engine.is_draining

    @property
    def settings(self) -> RewardServerSettings:
        """The server's options."""
        return self._settings

    @property
    def metrics(self) -> Metrics:
        """Where requests are counted."""
        return self._metrics


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        admission: Admission,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        traceresponse: str,
    ) -> None:
        self._admission = admission
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = headers
        self._traceresponse = traceresponse
        self._request_id: str = scope["state"]["request_id"]
        self._arrived_s = scope["state"]["arrived_s"] = time.monotonic()
        self._body: ArrivingBody | None = None
        self._held_bytes = 0
        self._started = False

    async def run(self) -> None:
        """Lets the app answer, or refuses."""
        try:
            self._scope["state"]["experiment"] = self._admission.experiment(self._scope, self._headers)
            limits = BodyLimits.of(self._admission.settings)
            self._body = ArrivingBody(self._headers, self._receive, limits)
            await self._admission.answer(self._scope, self._limited_receive, self._watched_send)
        except ServiceError as error:
            await self._refuse(error)
        except asyncio.CancelledError:  # the time that a shutdown leaves was not enough
            if self._started:
                raise
            await self._refuse(NotReady("the server is shutting down", retry_after_s=1))
        except Exception:
            log.exception("%s %s failed", self._scope["method"], self._page)
            if self._started:
                raise
            await self._refuse(InternalError("a fault of the server; its log has it under this request's id"))
        finally:
            self._admission.release(self._held_bytes)

    async def _refuse(self, error: ServiceError) -> None:
        response = problems.answer(error, self._request_id)
        await response(self._scope, self._receive, self._watched_send)

    async def _limited_receive(self) -> Message:
        assert self._body is not None, "run() makes it before the app is asked"
        try:
            message = await self._body.receive()
        except RequestError as error:
            raise HTTPException(error.status, error.detail) from None  # FastAPI lets no other error through
        count = len(message.get("body", b""))
        self._admission.hold(count)
        self._held_bytes += count
        return message

    async def _watched_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            headers["traceresponse"] = self._traceresponse
            if self._admission.is_draining:
                headers["connection"] = "close"
            self._tell(message["status"])
        body = memoryview(message.get("body", b""))
        while len(body) > SENT_BYTES:
            await self._send_on({**message, "body": bytes(body[:SENT_BYTES]), "more_body": True})
            body = body[SENT_BYTES:]
        await self._send_on({**message, "body": bytes(body)} if "body" in message else message)

    async def _send_on(self, message: Message) -> None:
        """Sends, as soon as the caller has read most of what was sent before."""
        async with asyncio.timeout(self._admission.settings.write_timeout_s):
            await self._send(message)

    def _tell(self, status: int) -> None:
        """Logs and counts the request."""
        experiment = self._scope["state"]["experiment"]
        seconds = time.monotonic() - self._arrived_s
        self._admission.metrics.answered(self._page, status, experiment, seconds)
        told = {"status": status, "ms": round(1e3 * seconds, 1), "experiment": experiment}
        level = logging.DEBUG if self._page in PROBES and status < 400 else logging.INFO
        log.log(level, "%s %s %d", self._scope["method"], self._page, status, extra=told)

    @property
    def _page(self) -> str:
        """The template of the route that answers; a path that was asked for could be anything."""
        route = self._scope.get("route")
        return route.path if route is not None else "none"
