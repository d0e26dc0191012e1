"""The pages of the server: each reads a request, has it scored and writes the answer."""

import asyncio
import math
import time
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.docs_page import as_html
from ireasoner.reward_server.api.json_body import ScoringRoute
from ireasoner.reward_server.api.limits import check_size
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import (
    BodyTooSlow,
    CallerGone,
    ConfigInUse,
    ConfigNotSaved,
    DeadlineExceeded,
    EmbeddingFailed,
    FormulasUnavailable,
    InternalError,
    MalformedRequest,
    NoSuchConfig,
    NotReady,
    Overloaded,
    RequestTooLarge,
    ServiceError,
    TooManyConfigs,
    Unauthorized,
)
from ireasoner.reward_server.observability.metrics import CONTENT_TYPE, Metrics
from ireasoner.reward_server.scoring.registry import ConfigRegistry, NamedConfig
from ireasoner.reward_server.scoring.response import written
from ireasoner.reward_server.scoring.scorer import Endpoint
from ireasoner.reward_server.settings import RewardServerSettings

router = APIRouter()
scoring_router = APIRouter(route_class=ScoringRoute)


def _problems(*errors: type[ServiceError]) -> dict[int | str, dict[str, object]]:
    statuses = sorted({error.status for error in errors})
    return {
        status: {
            "model": wire.Problem,
            "description": " or ".join(f"`{error.code}`" for error in errors if error.status == status),
        }
        for status in statuses
    }


SCORING_PROBLEMS = _problems(
    Unauthorized,
    BodyTooSlow,
    RequestTooLarge,
    MalformedRequest,
    Overloaded,
    InternalError,
    NotReady,
    ConfigNotSaved,
    EmbeddingFailed,
    FormulasUnavailable,
    DeadlineExceeded,
)


def _engine(request: Request) -> Engine:
    return cast(Engine, request.app.state.engine)


class _Scoring:
    """What every scoring page needs besides the body."""

    def __init__(
        self,
        request: Request,
        engine: Annotated[Engine, Depends(_engine)],
        x_request_timeout: Annotated[
            float | None,
            Header(gt=0, allow_inf_nan=False, description="Seconds after which the answer is of no use."),
        ] = None,
    ) -> None:
        self._request = request
        self._engine = engine
        self._settings = cast(RewardServerSettings, request.app.state.settings)
        self._metrics = cast(Metrics, request.app.state.metrics)
        self._timeout_s = min(x_request_timeout or math.inf, self._settings.request_timeout_s)

    async def answer(self, endpoint: Endpoint, body: wire.ScoreRequest, progress: float = 1.0) -> Response:
        check_size(body, self._settings)
        state = self._request.state
        left_s = state.arrived_s + self._timeout_s - time.monotonic()
        scoring = asyncio.create_task(self._engine.scorer.score(endpoint, body, progress, state.request_id))
        leaving = asyncio.create_task(self._caller_gone())
        try:
            await asyncio.wait(
                (scoring, leaving), timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED
            )
            if scoring.done():
                scores = scoring.result()
            elif leaving.done():
                raise CallerGone("the connection was closed")
            else:
                raise DeadlineExceeded(f"not scored within {self._timeout_s:g} s", retry_after_s=1)
        finally:
            for task in (scoring, leaving):
                task.cancel()
            await asyncio.wait((scoring, leaving))
        self._metrics.scored(scores["groups"], state.experiment, config_label(body.config))
        return Response(written(scores), media_type="application/json")

    async def _caller_gone(self) -> None:
        """Returns when the caller has closed the connection."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


def config_label(config: wire.Config) -> str:
    """The config as metrics name it: `paper`, or `paper+` with any overrides."""
    return f"{config.preset}+" if config.model_fields_set - {"preset"} else config.preset


Scoring = Annotated[_Scoring, Depends()]


@scoring_router.post("/score/outcome", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_outcome(body: wire.ScoreRequest, scoring: Scoring) -> Response:
    """Reward of each answer: its share of the group, less a penalty for length."""
    return await scoring.answer("outcome", body)


@scoring_router.post("/score/trajectory", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_trajectory(body: wire.ScoreRequest, scoring: Scoring) -> Response:
    """Reward of each rollout's steps: their agreement with those of the rollouts that answer alike."""
    return await scoring.answer("trajectory", body)


@scoring_router.post("/score/solver", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_solver(body: wire.SolverRequest, scoring: Scoring) -> Response:
    """The Solver's reward: outcome and trajectory, mixed by the progress of the training."""
    return await scoring.answer("solver", body, body.progress)


@scoring_router.post("/score/proposer", response_model=wire.ScoreResponse, responses=SCORING_PROBLEMS)
async def score_proposer(body: wire.ScoreRequest, scoring: Scoring) -> Response:
    """The Proposer's reward for each group's question: highest where the answers are about half sure."""
    return await scoring.answer("proposer", body)


CONFIG_PROBLEMS = _problems(Unauthorized, NoSuchConfig, InternalError)
REGISTRATION_PROBLEMS = _problems(
    Unauthorized,
    BodyTooSlow,
    MalformedRequest,
    RequestTooLarge,
    ConfigInUse,
    TooManyConfigs,
    ConfigNotSaved,
    InternalError,
)


def _configs(engine: Annotated[Engine, Depends(_engine)]) -> ConfigRegistry:
    return engine.configs


Configs = Annotated[ConfigRegistry, Depends(_configs)]


def _registered(named: NamedConfig) -> wire.RegisteredConfig:
    return wire.RegisteredConfig(name=named.name, used=named.used, config=named.config)


@router.get("/configs", responses=_problems(Unauthorized))
async def list_configs(configs: Configs) -> wire.RegisteredConfigs:
    """Every config that a request can name: the presets, and those that were registered."""
    return wire.RegisteredConfigs(configs=[_registered(named) for named in configs.all()])


@router.get("/configs/{name}", responses=CONFIG_PROBLEMS)
async def get_config(name: str, configs: Configs) -> wire.RegisteredConfig:
    """One config, with all of its fields."""
    return _registered(configs.get(name))


@router.put("/configs/{name}", responses=REGISTRATION_PROBLEMS)
async def put_config(name: str, body: wire.Config, configs: Configs) -> wire.RegisteredConfig:
    """Registers a config. The name can be given another one until something was scored by it."""
    return _registered(configs.put(name, body))


@router.get("/livez")
async def livez() -> wire.Alive:
    """Answers as long as the process does."""
    return wire.Alive()


@router.get("/readyz", responses={503: {"model": wire.Readiness, "description": "Not ready."}})
async def readyz(response: Response, engine: Annotated[Engine, Depends(_engine)]) -> wire.Readiness:
    """Tells whether requests can be scored now, from the embedder's last pass."""
    readiness = await engine.readiness()
    if not readiness.ready:
        response.status_code = 503
    return readiness


@router.get("/metrics", response_class=PlainTextResponse, responses=_problems(Unauthorized))
async def metrics(request: Request) -> Response:
    """Counts and distributions, in Prometheus' text format."""
    shown = cast(Metrics, request.app.state.metrics).exposition()
    return Response(shown, media_type=CONTENT_TYPE)


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """Leads people to the docs; relative, for servers that a proxy shows under another path."""
    return RedirectResponse("docs")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document for people; nothing of it is fetched from elsewhere."""
    return HTMLResponse(as_html(request.app.openapi()))
