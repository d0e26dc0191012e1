"""The first stop of every request: its id and trace, its token, and the bounds on what is read and held."""

import asyncio
import logging
import re
import time
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ireasoner.reward_server.api import explorer_routes, problems
from ireasoner.reward_server.api.arriving_body import ArrivingBody
from ireasoner.reward_server.api.connection import MAX_HEAD_BYTES
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.api.tokens import NO_EXPERIMENT, Tokens, limited_to
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import HeadTooLarge, InternalError, NotReady, ServiceError, Unauthorized
from ireasoner.reward_server.memory import Claim, Memory
from ireasoner.reward_server.observability.logs import one_line
from ireasoner.reward_server.observability.metrics import Metrics
from ireasoner.reward_server.observability.request_context import request_id
from ireasoner.reward_server.scoring.registry import SHARED
from ireasoner.reward_server.settings import RewardServerSettings
from ireasoner.reward_server.wire import VERSION

if TYPE_CHECKING:
    from ireasoner.reward_server.observability.tracing import Tracer

log = logging.getLogger(__name__)

PROBES = frozenset({"/livez", "/readyz"})
"""Called every few seconds, and logged at debug only: the engine logs when its readiness changes."""
PAGES = explorer_routes.OPEN_ROUTES | {"/", "/docs", "/openapi.json"}
OPEN_ROUTES = PROBES | PAGES
"""Routes that need no token: they show nothing of any experiment."""
METRICS_ROUTE = "/metrics"
REQUEST_BYTES = 45_000
"""Memory of a request that waits for its scores, besides its head and its body (tracemalloc counts up to 41,000)."""
PAGE_BYTES = 2**19
"""Memory of a page that its caller does not read: its text, and the part that is being sent."""
TOKEN_IN_URL = ("/cohort/", "/verify")
"""Path prefixes under which `?token=` replaces the header, for callers that cannot send one."""
BODY_COST = 5
"""Memory of a body in units of its size: as it arrives, as texts, as steps, in the queue, and in the response."""
IMAGES = "/ledger/images/"
IMAGE_COST = 2
"""Memory of an image's body in units of its size: as it arrives, and as a whole; its pixels are counted apart."""
IMAGES_SHARE = 2 / 3
"""Share of the memory that images may take together: the rest is left for scoring, and the largest image still fits
into that of a server with the default size."""
HEAD_COST, HEADER_BYTES = 3, 300
"""Memory of a head in units of its size, and of a header besides."""
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
SENT_BYTES = 2**17
"""Bytes sent at once; before the next part the server waits until a slow caller has read on."""


def open_routes(settings: RewardServerSettings) -> frozenset[str]:
    """The routes that need no token on a server that has tokens."""
    return OPEN_ROUTES | ({METRICS_ROUTE} if settings.open_metrics else set())


class Admission:
    """ASGI middleware: identifies, authorises, bounds, logs and counts every request.

    It keeps a valid `X-Request-ID` or creates one, echoes it, and logs one line per request. Every request
    gets a response: an exception that no handler turned into a problem is a bug, logged with its traceback and
    answered as InternalError. While the server drains, each response closes its connection, so that the
    caller's next request goes to another server instead of meeting a connection that is being closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: RewardServerSettings,
        limits: Limits,
        metrics: Metrics,
        tokens: Tokens | None,
        tracer: "Tracer | None",
        engine: Engine,
        memory: Memory,
    ) -> None:
        self._app = app
        self._max_body_bytes = settings.max_body_bytes
        self._memory = memory
        self._images = Memory(int(IMAGES_SHARE * memory.max_bytes), whole=memory)
        self._limits = limits
        self._metrics = metrics
        self._tokens = tokens
        self._tracer = tracer
        self._engine = engine
        self._open_routes = open_routes(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on to the app, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent_id = headers.get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        state["experiment"] = NO_EXPERIMENT
        span = self._tracer.span(scope["method"], headers) if self._tracer else nullcontext()
        with span as traceresponse:
            token = request_id.set(state["request_id"])
            try:
                await _Exchange(self, scope, receive, send, headers, traceresponse).run()
            finally:
                request_id.reset(token)

    def experiment(self, scope: Scope, headers: Headers) -> str:
        """The experiment that the request's token belongs to; `-` if the request needs no token.

        Raises:
            Unauthorized: The request needs a token and has none that this server knows.
        """
        if self._tokens is None or scope["path"] in self._open_routes:
            return NO_EXPERIMENT
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            token = ""
        if not token and scope["path"].startswith(TOKEN_IN_URL):
            token = parse_qs(scope["query_string"].decode(errors="replace")).get("token", [""])[0]
        if not token:
            raise Unauthorized("the request needs the header authorization: Bearer TOKEN")
        experiment = self._tokens.experiment(token)
        if experiment is None:
            raise Unauthorized("the token is not known to this server")
        return experiment

    def arriving_body(self, headers: Headers, receive: Receive) -> ArrivingBody:
        """A request's body; raises RequestTooLarge if its declared length is over the limit."""
        return ArrivingBody(headers, receive, self._max_body_bytes, self._limits.body_timeout_s)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Has the app respond."""
        await self._app(scope, receive, send)

    def claim(self, scope: Scope) -> Claim:
        """What a request holds, in bytes."""
        return (self._images if brings_image(scope) else self._memory).claim()

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to end."""
        return self._engine.is_draining

    @property
    def write_timeout_s(self) -> float:
        """Seconds that a caller may stop reading."""
        return self._limits.write_timeout_s

    @property
    def metrics(self) -> Metrics:
        """Where requests are counted."""
        return self._metrics


def check_head(scope: Scope) -> None:
    """Raises HeadTooLarge if the path and the headers of a request exceed `MAX_HEAD_BYTES`."""
    if (size := _head_bytes(scope)) > MAX_HEAD_BYTES:
        raise HeadTooLarge(f"path and headers have {size} bytes; this server takes {MAX_HEAD_BYTES}")


def brings_image(scope: Scope) -> bool:
    """Whether the body of a request is an image."""
    return bool(scope["method"] == "PUT" and scope["path"].startswith(IMAGES))


def taken_bytes(scope: Scope) -> int:
    """Memory of a request besides its body; 0 for probes and metrics, which are answered however much others hold."""
    path = scope["path"]
    if path in PROBES or path == METRICS_ROUTE:
        return 0
    head = HEAD_COST * _head_bytes(scope) + HEADER_BYTES * len(scope["headers"])
    return head + (PAGE_BYTES if path in PAGES else REQUEST_BYTES)


def _head_bytes(scope: Scope) -> int:
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return target + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        admission: Admission,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        traceresponse: str | None,
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
        self._claim: Claim = admission.claim(scope)
        self._body_cost = IMAGE_COST if brings_image(scope) else BODY_COST
        self._started = False

    async def run(self) -> None:
        """Has the app respond, or refuses the request."""
        state = self._scope["state"]
        state["claim"] = self._claim
        try:
            with self._claim:
                check_head(self._scope)
                self._claim.hold(taken_bytes(self._scope))
                state["experiment"] = experiment = self._admission.experiment(self._scope, self._headers)
                state["namespace"] = limited_to(experiment) or SHARED
                self._body = self._admission.arriving_body(self._headers, self._receive)
                await self._admission.answer(self._scope, self._limited_receive, self._watched_send)
        except ServiceError as error:
            await self._refuse(error)
        except asyncio.CancelledError:  # the shutdown's time limit has passed
            if self._started:
                raise
            await self._refuse(NotReady("the server is shutting down", retry_after_s=1))
        except Exception:
            log.exception("%s %s failed", self._scope["method"], self._route)
            if self._started:
                raise
            await self._refuse(
                InternalError("the server failed; its log has the traceback under the request id")
            )

    async def _refuse(self, error: ServiceError) -> None:
        self._scope["state"]["refusal"] = error
        response = problems.answer(error, self._request_id)
        await response(self._scope, self._receive, self._watched_send)

    async def _limited_receive(self) -> Message:
        assert self._body is not None, "run() sets it before the app receives anything"
        message = await self._body.receive()
        self._claim.hold(self._body_cost * len(message.get("body", b"")))
        return message

    async def _watched_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            headers["x-wire-version"] = VERSION
            if self._traceresponse is not None:
                headers["traceresponse"] = self._traceresponse
            if "location" in headers:
                headers["location"] = _relative(headers["location"])
            is_arriving = self._body is None or self._body.is_arriving  # the rest is not read
            if self._admission.is_draining or is_arriving:
                headers["connection"] = "close"
            self._report(message["status"])
        body = memoryview(message.get("body", b""))
        while len(body) > SENT_BYTES:
            await self._send_on({**message, "body": bytes(body[:SENT_BYTES]), "more_body": True})
            body = body[SENT_BYTES:]
        await self._send_on({**message, "body": bytes(body)} if "body" in message else message)

    async def _send_on(self, message: Message) -> None:
        """Sends once the caller has read most of the previous part; raises TimeoutError if it does not."""
        async with asyncio.timeout(self._admission.write_timeout_s):
            await self._send(message)

    def _report(self, status: int) -> None:
        """Logs and counts the request; the line of a refused one says why."""
        experiment = self._scope["state"]["experiment"]
        seconds = time.monotonic() - self._arrived_s
        self._admission.metrics.answered(self._route, status, experiment, seconds)
        extra = {"status": status, "ms": round(1e3 * seconds, 1), "experiment": experiment}
        if (error := self._scope["state"].get("refusal")) is not None:
            extra |= {"path": one_line(self._path), **_reason(error)}
        level = logging.DEBUG if self._route in PROBES and status in (200, 503) else logging.INFO
        log.log(level, "%s %s %d", self._scope["method"], self._route, status, extra=extra)

    @property
    def _path(self) -> str:
        """The path as it was sent, without the query, which can contain a token."""
        return bytes(self._scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")

    @property
    def _route(self) -> str:
        """The template of the route, `none` if no route matched: a requested path could be anything."""
        route = self._scope.get("route")
        return route.path if route is not None else "none"


def _reason(error: ServiceError) -> dict[str, str]:
    """The code of an error, and its first fault or else its detail."""
    if error.faults:
        return {
            "code": error.code,
            "place": one_line(error.faults[0].place),
            "reason": one_line(error.faults[0].reason),
        }
    return {"code": error.code, "reason": one_line(error.detail)}


def _relative(location: str) -> str:
    """A redirect's target without scheme and host, which a proxy may have changed: `../livez` seen from `/livez/`."""
    target = urlsplit(location)
    if not target.netloc:
        return location
    name = target.path.rpartition("/")[2]
    return f"../{name}?{target.query}" if target.query else f"../{name}"
