"""The FastAPI app, put together."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ireasoner.reward_server import wire
from ireasoner.reward_server.api import (
    cohort_routes,
    explorer_routes,
    image_routes,
    ledger_routes,
    problems,
    routes,
    security,
)
from ireasoner.reward_server.api.admission import Admission
from ireasoner.reward_server.api.examples import EXAMPLES
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.api.tokens import Tokens
from ireasoner.reward_server.cohorts.cohort import Cohorts
from ireasoner.reward_server.embedding.backend import Backend
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.ledger.audit_metrics import AuditMetrics
from ireasoner.reward_server.ledger.recorder import Recorder
from ireasoner.reward_server.memory import Memory
from ireasoner.reward_server.observability.metrics import Metrics
from ireasoner.reward_server.settings import RewardServerSettings


def create_app(
    settings: RewardServerSettings,
    on_failure: Callable[[Exception], None] = lambda error: None,
    limits: Limits | None = None,
    ledger_folders: Sequence[Path] = (),
    backend: Backend | None = None,
) -> FastAPI:
    """The app; its lifespan loads the embedder, and calls `on_failure` if that fails.

    It reads the ledgers of `ledger_folders`, else the one that it records into. It waits for `backend` if that loads
    the embedder already.

    Raises:
        UnusableTokens: The token file cannot be read.
        LedgerUnusable: Nothing can be recorded in the ledger's folder.
        ModuleNotFoundError: `settings.open_telemetry` is on and the extra `otel` is not installed.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = app.state.engine
        async with (
            AsyncExitStack() as stopping
        ):  # the last started stops first, and one that fails stops no other
            if recorder is not None:
                recorder.start()
                stopping.push_async_callback(recorder.stop)
            stopping.push_async_callback(app.state.ledger_reads.close)
            engine.start()
            stopping.push_async_callback(engine.stop)
            audits.start()
            stopping.push_async_callback(audits.stop)
            stopping.push_async_callback(app.state.ledger_changes.close)
            yield

    app = FastAPI(
        title="iReasoner reward server",
        version=wire.VERSION,
        description="Scores groups of rollouts by their agreement with themselves: no labels, no judge.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    limits = limits or Limits()
    metrics = Metrics()
    memory = Memory(settings.max_held_bytes)
    recorder = None
    if settings.ledger is not None:
        recorder = Recorder(settings.ledger, settings.ledger_max_bytes)
        metrics.watch_ledger(recorder)
    audits = AuditMetrics(settings.ledger)
    metrics.watch_audits(audits)
    app.state.settings = settings
    app.state.limits = limits
    app.state.metrics = metrics
    app.state.recorder = recorder
    app.state.home = "explore" if ledger_folders else "docs"
    app.state.engine = engine = Engine(settings, metrics, on_failure, backend)
    app.state.cohort_scoring = cohort_routes.CohortScoring(engine, metrics, memory, recorder)
    app.state.cohorts = Cohorts(app.state.cohort_scoring, limits.cohorts)
    metrics.watch_cohorts(app.state.cohorts)
    metrics.watch_memory(memory)
    app.include_router(routes.scoring_router)
    app.include_router(routes.config_router)
    app.include_router(routes.router)
    app.include_router(cohort_routes.router)
    app.include_router(explorer_routes.router)
    ledger_routes.install(app, ledger_folders or [folder for folder in [settings.ledger] if folder])
    image_routes.install(app)
    problems.install(app)
    tokens = Tokens(settings.tokens_file) if settings.tokens_file is not None else None
    tracer = None
    if settings.open_telemetry:
        from ireasoner.reward_server.observability.tracing import Tracer

        tracer = Tracer()
    app.add_middleware(
        Admission,
        settings=settings,
        limits=limits,
        metrics=metrics,
        tokens=tokens,
        tracer=tracer,
        engine=engine,
        memory=memory,
    )
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with an example of every endpoint.

    It shows which endpoints need a token. Problems have the media type that they are sent with. FastAPI's own 422 is
    left out: this server answers every invalid request with a problem.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for route, operations in document["paths"].items():
            for method, operation in operations.items():
                EXAMPLES[f"{method.upper()} {route}"].add_to(operation)
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _without_null(parameter["schema"])
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    schema = content.get("application/json", {}).get("schema", {})
                    if schema.get("$ref", "").endswith("/Problem"):
                        content[problems.MEDIA_TYPE] = content.pop("application/json")
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        security.add_to(document, app.state.settings)
        app.openapi_schema = document
    return app.openapi_schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an optional parameter: neither a URL nor a header can say null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1:
        return {**kinds[0], **{name: part for name, part in schema.items() if name != "anyOf"}}
    return {**schema, "anyOf": kinds} if kinds else schema
