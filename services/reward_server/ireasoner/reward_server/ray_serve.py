"""The same app on Ray Serve, scaled over machines by the length of its queue.

There are two deployments. A `RewardReplica` runs the whole app, with its own batcher, embedder, cache and
cohorts. A `Front` takes HTTP and routes each request, whole, to a replica: calls of one cohort to the same
replica, by key, and all others to any. If a replica dies, its requests go to another one: scoring has no side
effects, so it can be repeated, and the callers of a lost cohort meet again at the replica that their key now
selects. `/metrics` merges the metrics of all replicas.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from ray import serve
from ray.exceptions import RayActorError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import Response

from ireasoner.reward_server.api import problems
from ireasoner.reward_server.api.arriving_body import ArrivingBody
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.cohorts.cohort_wire import COHORT_REQUESTS, prompt_keys
from ireasoner.reward_server.errors import NotReady, RequestError
from ireasoner.reward_server.ledger.lock import LedgerLocked
from ireasoner.reward_server.ledger.schema import LedgerUnusable
from ireasoner.reward_server.observability.metrics import CONTENT_TYPE
from ireasoner.reward_server.settings import RewardServerSettings

READY_DEADLINE_S = 600.0
"""Long enough to download a model first."""
RETRY_BUDGET_S = 60.0
"""Seconds that a request whose replicas die is sent to others."""
MAX_WAITING = 16_384
"""Requests that a replica holds at once: callers of cohorts mostly wait. The app bounds its queue itself."""
MAX_REPLICAS = 1_024
"""Of one machine, each with a ledger of its own."""
METRICS_DEADLINE_S = 5.0
"""Seconds that `/metrics` waits for a replica; a late one is left out."""
_POLL_S = 0.1
_HOP_BY_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding"})

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]


@dataclass(frozen=True)
class Exchange:
    """A request as it is sent to a replica."""

    method: str
    target: str
    headers: Headers
    body: bytes


def cohort_key(path: str, body: bytes) -> str:
    """The key that selects the replica of a call's cohort; empty if the call belongs to no cohort.

    It is the app's own cohort key without the URL's parameters and the token: calls of one cohort have equal
    keys. Different cohorts may share a key, which costs only balance. A body with several rollouts has the key
    of its first.
    """
    request = COHORT_REQUESTS.get(path)
    if request is None:
        return ""
    try:
        shared = prompt_keys(request.model_validate(json.loads(body)))[0]
    except (ValueError, RecursionError):
        return ""  # the app answers with the error
    return hashlib.sha256(f"{path} {shared}".encode()).hexdigest()


def create_replica(settings: RewardServerSettings, on_failure: Callable[[Exception], None]) -> FastAPI:
    """The app of one replica; its ledger is the first folder `replica-N` that no other replica of the machine has.

    Raises what `create_app` raises.
    """
    if settings.ledger is None:
        return create_app(settings, on_failure)
    for number in range(MAX_REPLICAS):
        with suppress(LedgerLocked):
            folder = settings.ledger / f"replica-{number}"
            return create_app(settings.model_copy(update={"ledger": folder}), on_failure)
    raise LedgerUnusable(f"{MAX_REPLICAS} processes record into {settings.ledger} already")


class RewardReplica:
    """One reward server: the app in a process of its own, called by Ray instead of over a socket."""

    async def __init__(self, options: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        self._failure: Exception | None = None
        self._app = create_replica(RewardServerSettings(**options), self._fail)
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
        """The app's response to one request."""
        response = await self._http.request(sent.method, sent.target, headers=sent.headers, content=sent.body)
        return response.status_code, response.headers.multi_items(), response.content

    async def named_answer(self, sent: Exchange) -> tuple[str, Answer] | None:
        """The replica's name and its response; None after `METRICS_DEADLINE_S`."""
        try:
            async with asyncio.timeout(METRICS_DEADLINE_S):
                return serve.get_replica_context().replica_tag, await self.answer(sent)
        except TimeoutError:
            return None

    async def check_health(self) -> None:
        """Called by Ray periodically; raises if the app cannot score. If that lasts, Ray replaces the replica."""
        readiness = await self._app.state.engine.readiness()
        if not readiness.ready:
            raise RuntimeError(readiness.reason)

    async def __del__(self) -> None:
        """Called by Ray when no request is in progress any more."""
        self._app.state.cohorts.close()
        await self._stack.aclose()

    def _fail(self, error: Exception) -> None:
        self._failure = error


class Front:
    """Takes HTTP and routes each request to a replica.

    Args:
        replicas: Ray's handle of the replicas.
        max_body_bytes: Largest body that the replicas take.
        body_timeout_s: Seconds that a body may take to arrive.
    """

    def __init__(self, replicas: DeploymentHandle, max_body_bytes: int, body_timeout_s: float) -> None:
        self._replicas = replicas
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s

    async def __call__(self, request: Request) -> Response:
        """The response of a replica; 503 if replicas keep dying for `RETRY_BUDGET_S`.

        A body that is too large or too slow is refused here as a replica would refuse it, and read no further.
        """
        request_id = request.headers.get("x-request-id", "-")
        try:
            arriving = ArrivingBody(
                request.headers, request.receive, self._max_body_bytes, self._body_timeout_s
            )
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
                    lost = NotReady(
                        f"no replica stayed alive to answer: {type(error).__name__}", retry_after_s=1
                    )
                    return problems.answer(lost, request_id)
                await asyncio.sleep(_POLL_S)
            else:
                return _response(status, answered, content)

    async def _metrics(self, sent: Exchange) -> Response:
        """The merged metrics of all replicas that respond, or the refusal of the first that refuses."""
        called = self._replicas.broadcast("named_answer", sent)
        results = await called.results_async(return_exceptions=True)
        answers: dict[str, Answer] = dict(each for each in results if isinstance(each, tuple))
        for status, answered, content in answers.values():
            if status != httpx.codes.OK:
                return _response(status, answered, content)
        texts = {replica: content.decode() for replica, (_, _, content) in answers.items()}
        return Response(merged(texts), media_type=CONTENT_TYPE)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def merged(texts: Mapping[str, str]) -> bytes:
    """The metrics of several replicas in one text of Prometheus' format; each sample gets the label `replica`.

    Args:
        texts: Prometheus text of each replica, by its name.
    """
    families: dict[str, Metric] = {}
    for replica, text in texts.items():
        for found in text_string_to_metric_families(text):
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            family.samples += [
                sample._replace(labels={**sample.labels, "replica": replica}) for sample in found.samples
            ]
    registry = CollectorRegistry()
    registry.register(_Families(families.values()))
    return generate_latest(registry)


def _response(status: int, headers: Headers, content: bytes) -> Response:
    """A replica's response, without the headers of its own connection."""
    return Response(content, status, {name: value for name, value in headers if name not in _HOP_BY_HOP})


def app(options: dict[str, Any]) -> Application:
    """The application that `serve run` and a config file name; `options` are reward server settings by name."""
    settings = RewardServerSettings(**options)  # reports an invalid setting here, not in every replica
    return _front.bind(_replicas.bind(options), settings.max_body_bytes, Limits().body_timeout_s)


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
    ray_actor_options={"num_cpus": 0},  # it only waits; a core reserved for it would be one replica fewer
)
