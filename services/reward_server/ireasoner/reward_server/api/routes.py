"""The endpoints: each reads a request, has it scored and writes the response."""

import asyncio
import math
import time
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.docs_html import CONTENT_SECURITY_POLICY, as_html
from ireasoner.reward_server.api.json_body import ConfigRoute, MeasuredRoute
from ireasoner.reward_server.api.limits import Limits, check_size
from ireasoner.reward_server.api.problems import documented
from ireasoner.reward_server.api.tokens import limited_to, turns_of
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import (
    BodyTooSlow,
    CallerGone,
    ConfigInUse,
    ConfigNotSaved,
    ConfigUnreadable,
    DeadlineExceeded,
    EmbeddingFailed,
    FormulasUnavailable,
    HeadTooLarge,
    InternalError,
    MalformedRequest,
    NoSuchConfig,
    NotReady,
    Overloaded,
    RequestTooLarge,
    TooManyConfigs,
    Unauthorized,
)
from ireasoner.reward_server.ledger.recorder import Recorder, Scored
from ireasoner.reward_server.observability.metrics import CONTENT_TYPE, Metrics
from ireasoner.reward_server.scoring.registry import ConfigRegistry, NamedConfig
from ireasoner.reward_server.scoring.response import cut_to_rewards, written
from ireasoner.reward_server.scoring.scorer import Caller, Endpoint
from ireasoner.reward_server.scoring_config import as_json
from ireasoner.reward_server.settings import RewardServerSettings

router = APIRouter()
scoring_router = APIRouter(route_class=MeasuredRoute)
config_router = APIRouter(route_class=ConfigRoute)

T = TypeVar("T")

SCORING_ERRORS = (
    Unauthorized,
    BodyTooSlow,
    ConfigUnreadable,
    RequestTooLarge,
    MalformedRequest,
    HeadTooLarge,
    Overloaded,
    InternalError,
    NotReady,
    ConfigNotSaved,
    EmbeddingFailed,
    FormulasUnavailable,
    DeadlineExceeded,
)
SCORING_PROBLEMS = documented(*SCORING_ERRORS)
CONFIG_PROBLEMS = documented(Unauthorized, NoSuchConfig, ConfigUnreadable, HeadTooLarge, InternalError)
REGISTRATION_PROBLEMS = documented(
    Unauthorized,
    BodyTooSlow,
    MalformedRequest,
    RequestTooLarge,
    ConfigInUse,
    TooManyConfigs,
    ConfigUnreadable,
    HeadTooLarge,
    Overloaded,
    ConfigNotSaved,
    InternalError,
)
DELETION_PROBLEMS = documented(
    Unauthorized,
    NoSuchConfig,
    ConfigInUse,
    ConfigUnreadable,
    HeadTooLarge,
    ConfigNotSaved,
    InternalError,
)


def _engine(request: Request) -> Engine:
    return cast(Engine, request.app.state.engine)


class _Scoring:
    """What every scoring endpoint needs besides the body."""

    def __init__(
        self,
        request: Request,
        engine: Annotated[Engine, Depends(_engine)],
        x_request_timeout: Annotated[
            float | None,
            Header(
                gt=0,
                allow_inf_nan=False,
                description="Seconds that the caller waits; can only shorten the server's limit.",
            ),
        ] = None,
    ) -> None:
        self._request = request
        self._engine = engine
        self._limits = cast(Limits, request.app.state.limits)
        self._metrics = cast(Metrics, request.app.state.metrics)
        self._recorder = cast(Recorder | None, request.app.state.recorder)
        settings = cast(RewardServerSettings, request.app.state.settings)
        self._timeout_s = min(x_request_timeout or math.inf, settings.request_timeout_s)

    async def answer(self, endpoint: Endpoint, body: wire.ScoreRequest, progress: float = 1.0) -> Response:
        check_size(body, self._limits)
        state = self._request.state
        recorder = self._recorder if body.record else None
        caller = Caller(
            state.request_id,
            state.namespace,
            state.claim,
            turns=turns_of(state.experiment),
            wants_full=recorder is not None,
        )
        scoring = self._engine.scorer.score(endpoint, body, progress, caller)
        scores = await while_connected(self._request, scoring, self._timeout_s)
        self._metrics.scored(scores["groups"], state.experiment, body.config.config_label)
        answer = written(scores)
        if recorder is not None:
            recorder.record(self._scored(endpoint, body, progress), await self._request.body(), answer)
            if body.detail == "rewards":
                cut_to_rewards(scores)
                answer = written(scores)
        return Response(answer, media_type="application/json")

    def _scored(self, endpoint: Endpoint, body: wire.ScoreRequest, progress: float) -> Scored:
        state = self._request.state
        return Scored(
            experiment=state.experiment,
            endpoint=endpoint,
            progress=progress,
            config_label=body.config.config_label,
            config=as_json(self._engine.configs.use(body.config, state.namespace)),
            embedder=self._engine.scorer.embedder,
            groups=len(body.groups),
        )


async def while_connected(request: Request, working: Awaitable[T], timeout_s: float | None = None) -> T:
    """The result of `working`, which is cancelled if the caller leaves or the time is up.

    Args:
        request: Its connection is watched.
        working: What computes the result.
        timeout_s: Seconds since the request's arrival; None for no limit.

    Raises:
        CallerGone: The caller has closed the connection.
        DeadlineExceeded: There is no result yet after `timeout_s`.
    """
    result = asyncio.ensure_future(working)
    leaving = asyncio.create_task(_disconnected(request))
    both: list[asyncio.Future[Any]] = [result, leaving]
    left_s = None if timeout_s is None else max(0.0, request.state.arrived_s + timeout_s - time.monotonic())
    try:
        await asyncio.wait(both, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            raise CallerGone("the connection was closed")
        if not result.done():
            raise DeadlineExceeded(f"not scored within {timeout_s:g} s", retry_after_s=1)
        return result.result()
    finally:
        for each in both:
            each.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    """Returns when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


Scoring = Annotated[_Scoring, Depends()]


@scoring_router.post("/score/outcome", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_outcome(body: wire.ScoreRequest, scoring: Scoring) -> Response:
    """Scores each rollout's answer: its share of the group, less a length penalty."""
    return await scoring.answer("outcome", body)


@scoring_router.post("/score/trajectory", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_trajectory(body: wire.ScoreRequest, scoring: Scoring) -> Response:
    """Scores each rollout's steps: their agreement with the steps of the rollouts with the dominant answer."""
    return await scoring.answer("trajectory", body)


@scoring_router.post("/score/solver", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_solver(body: wire.SolverRequest, scoring: Scoring) -> Response:
    """Scores each rollout for the Solver: outcome and trajectory reward, mixed by the training's progress."""
    return await scoring.answer("solver", body, body.progress)


@scoring_router.post("/score/proposer", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_proposer(body: wire.ScoreRequest, scoring: Scoring) -> Response:
    """Scores each group's question for the Proposer by the entropy of its answers, highest at a target entropy."""
    return await scoring.answer("proposer", body)


def _configs(engine: Annotated[Engine, Depends(_engine)]) -> ConfigRegistry:
    return engine.configs


Configs = Annotated[ConfigRegistry, Depends(_configs)]


def _registered(named: NamedConfig) -> wire.RegisteredConfig:
    return wire.RegisteredConfig(name=named.name, used=named.used, config=named.config)


def _namespace(request: Request) -> str:
    return cast(str, request.state.namespace)


Namespace = Annotated[str, Depends(_namespace)]


@router.get("/configs", responses=documented(Unauthorized, HeadTooLarge))
async def list_configs(configs: Configs, namespace: Namespace) -> wire.RegisteredConfigs:
    """Lists every config that the experiment can name: the presets, its own and the shared configs."""
    return wire.RegisteredConfigs(configs=[_registered(named) for named in configs.all(namespace)])


@router.get("/configs/{name}", responses=CONFIG_PROBLEMS)
async def get_config(name: str, configs: Configs, namespace: Namespace) -> wire.RegisteredConfig:
    """Shows one config, with all of its fields."""
    return _registered(configs.get(name, namespace))


@config_router.put("/configs/{name}", responses=REGISTRATION_PROBLEMS)
async def put_config(
    name: str, body: wire.Config, configs: Configs, namespace: Namespace
) -> wire.RegisteredConfig:
    """Registers a config under a name, for the experiment of the token.

    The config of a name can change until something is scored with it. All experiments can name what is registered
    without a token, or with an operator's.
    """
    return _registered(configs.put(name, body, namespace))


@router.delete("/configs/{name}", responses=DELETION_PROBLEMS)
async def delete_config(name: str, configs: Configs, namespace: Namespace) -> wire.RegisteredConfig:
    """Deletes a config of the token's experiment that nothing was scored with, and returns it."""
    return _registered(configs.delete(name, namespace))


@router.get("/livez")
async def livez() -> wire.Alive:
    """Answers 200 while the process runs."""
    return wire.Alive()


@router.get("/readyz", responses={503: {"model": wire.Readiness, "description": "Not ready."}})
async def readyz(response: Response, engine: Annotated[Engine, Depends(_engine)]) -> wire.Readiness:
    """Shows whether requests can be scored now, judged by the embedder's last forward pass."""
    readiness = await engine.readiness()
    if not readiness.ready:
        response.status_code = 503
    return readiness


@router.get("/metrics", response_class=PlainTextResponse, responses=documented(Unauthorized, HeadTooLarge))
async def metrics(request: Request) -> Response:
    """Exposes counts and distributions in Prometheus' text format: with an experiment's token, its own ones only."""
    experiment = request.state.experiment
    only = limited_to(experiment)
    exposed = await cast(Metrics, request.app.state.metrics).exposition(only)
    return Response(exposed, media_type=CONTENT_TYPE)


@router.get("/", include_in_schema=False)
async def root(request: Request) -> RedirectResponse:
    """Redirects to the docs, or to the explorer of a server that only reads ledgers.

    The target is relative, for proxies that serve this server under another path.
    """
    return RedirectResponse(request.app.state.home)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document as a page; it loads nothing from elsewhere."""
    page = as_html(request.app.openapi(), str(request.base_url).rstrip("/"))
    return HTMLResponse(page, headers={"content-security-policy": CONTENT_SECURITY_POLICY})
