"""The same app on Ray Serve, on as many machines as the queue asks for.

Two deployments. A `RewardReplica` runs the whole app: its own batcher, embedder, cache and cohorts. A `Front`
takes HTTP and hands each request, whole, to a replica: calls of one cohort to one replica by key, all others to
any. If the replica dies the request goes to another one: scoring changes nothing, so it can be repeated, and
callers of a cohort that is lost meet again where their key leads now. `/metrics` is asked of every replica.
"""

import asyncio
import hashlib
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
from ray import serve
from ray.exceptions import RayActorError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import Response

from ireasoner.reward_server.api import problems
from ireasoner.reward_server.api.arriving_body import ArrivingBody, BodyLimits
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.cohorts.cohort_wire import COHORT_PAGES, prompt_keys
from ireasoner.reward_server.errors import NotReady, RequestError
from ireasoner.reward_server.observability.metrics import CONTENT_TYPE
from ireasoner.reward_server.observability.replica_metrics import merged
from ireasoner.reward_server.settings import RewardServerSettings

READY_DEADLINE_S = 600.0
"""For a model that has to be fetched first."""
RETRY_BUDGET_S = 60.0
"""How long a request whose replicas die goes on from one to the next."""
MAX_WAITING = 16_384
"""Requests that a replica holds at once: callers of cohorts mostly wait. The app bounds its queue itself."""
METRICS_DEADLINE_S = 5.0
"""How long `/metrics` waits for the replicas; one that is late is left out."""
_POLL_S = 0.1
_HOP_BY_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding"})

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]


@dataclass(frozen=True)
class Exchange:
    """A request as it travels to a replica."""

    method: str
    target: str
    headers: Headers
    body: bytes


def cohort_key(path: str, body: bytes) -> str:
    """What leads a call to the replica of its cohort; empty if it belongs to none.

    It is what the app knows siblings by, less what the URL and the token say: calls of one cohort have equal
    keys. Calls of several may, too, which costs nothing but balance. Of a body with several rollouts the first
    leads.
    """
    page = COHORT_PAGES.get(path)
    if page is None:
        return ""
    try:
        shared = prompt_keys(page.model_validate(json.loads(body)))[0]
    except (ValueError, RecursionError):
        return ""  # the app says what is wrong with it
    return hashlib.sha256(f"{path} {shared}".encode()).hexdigest()


class RewardReplica:
    """One reward server: the app in a process of its own, asked by Ray instead of over a socket."""

    async def __init__(self, options: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        self._failure: Exception | None = None
        self._app = create_app(RewardServerSettings(**options), self._fail)
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self._app.router.lifespan_context(self._app))
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=None)
        deadline_s = time.monotonic() + READY_DEADLINE_S
        while not (await self._app.state.engine.readiness()).ready:
            if self._failure is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the replica is not ready: {self._failure or 'out of time'}")
            await asyncio.sleep(_POLL_S)

    async def answer(self, sent: Exchange) -> Answer:
        """The app's answer to one request."""
        response = await self._http.request(sent.method, sent.target, headers=sent.headers, content=sent.body)
        return response.status_code, response.headers.multi_items(), response.content

    async def named_answer(self, sent: Exchange) -> tuple[str, Answer] | None:
        """The answer, and which replica gave it; None past `METRICS_DEADLINE_S`."""
        try:
            async with asyncio.timeout(METRICS_DEADLINE_S):
                return serve.get_replica_context().replica_tag, await self.answer(sent)
        except TimeoutError:
            return None

    async def check_health(self) -> None:
        """Asked by Ray now and then; raises if the app cannot score, and is replaced if that lasts."""
        readiness = await self._app.state.engine.readiness()
        if not readiness.ready:
            raise RuntimeError(readiness.reason)

    async def __del__(self) -> None:
        """Called by Ray once nothing is under way any more."""
        self._app.state.cohorts.close()
        await self._stack.aclose()

    def _fail(self, error: Exception) -> None:
        self._failure = error


class Front:
    """Takes HTTP and leads each request to a replica."""

    def __init__(self, replicas: DeploymentHandle, limits: BodyLimits) -> None:
        self._replicas = replicas
        self._limits = limits

    async def __call__(self, request: Request) -> Response:
        """The answer of a replica that lived to give one; 503 past the budget.

        A body that is too large or too slow for the replicas is refused as they would, and not read on.
        """
        request_id = request.headers.get("x-request-id", "-")
        try:
            arriving = ArrivingBody(request.headers, request.receive, self._limits)
            body = await Request(request.scope, arriving.receive).body()
        except RequestError as error:
            return problems.answer(error, request_id)
        query = request.url.query
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        target = f"{request.url.path}?{query}" if query else request.url.path
        sent = Exchange(request.method, target, headers, body)
        if request.url.path == "/metrics":
            return await self._metrics(sent)
        replicas = self._replicas.options(session_id=cohort_key(request.url.path, body))
        deadline_s = time.monotonic() + RETRY_BUDGET_S
        while True:
            try:
                status, answered, content = await replicas.answer.remote(sent)
            except (RayActorError, BackPressureError) as error:
                if time.monotonic() > deadline_s:
                    lost = NotReady(f"no replica lived to answer: {type(error).__name__}", retry_after_s=1)
                    return problems.answer(lost, request_id)
                await asyncio.sleep(_POLL_S)
            else:
                return _response(status, answered, content)

    async def _metrics(self, sent: Exchange) -> Response:
        """The page of every replica that lives to answer, as one; or what the first says that refuses."""
        called = self._replicas.broadcast("named_answer", sent)
        told = await called.results_async(return_exceptions=True)
        answers: dict[str, Answer] = dict(each for each in told if isinstance(each, tuple))
        for status, answered, content in answers.values():
            if status != httpx.codes.OK:
                return _response(status, answered, content)
        pages = {replica: content.decode() for replica, (_, _, content) in answers.items()}
        return Response(merged(pages), media_type=CONTENT_TYPE)


def _response(status: int, headers: Headers, content: bytes) -> Response:
    """A replica's answer as HTTP sends it on."""
    return Response(content, status, {name: value for name, value in headers if name not in _HOP_BY_HOP})


def app(options: dict[str, Any]) -> Application:
    """What `serve run` and a config file name: the options are those of the reward server, by field name."""
    settings = RewardServerSettings(**options)  # tells what is wrong with them here, not in every replica
    return _front.bind(_replicas.bind(options), BodyLimits.of(settings))


_replicas = serve.deployment(
    RewardReplica,
    name="RewardReplica",
    max_ongoing_requests=MAX_WAITING,
    graceful_shutdown_timeout_s=60,
    request_router_config=RequestRouterConfig(
        request_router_class="ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"
    ),
    autoscaling_config=AutoscalingConfig(min_replicas=2, max_replicas=16, target_ongoing_requests=8),
)
_front = serve.deployment(
    Front,
    name="Front",
    max_ongoing_requests=MAX_WAITING,
    graceful_shutdown_timeout_s=60,
    ray_actor_options={"num_cpus": 0},  # it waits; a core of its own would be one replica fewer
)
