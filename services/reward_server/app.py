"""The FastAPI app, put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.reward_server import cohort_routes, problems, routes
from services.reward_server.admission import Admission
from services.reward_server.cohort import CohortLimits, Cohorts
from services.reward_server.engine import Engine
from services.reward_server.settings import RewardServerSettings

VERSION = "1.0.0"
"""Of the wire: what is sent and answered. The first number rises when an old client would fail."""


def create_app(
    settings: RewardServerSettings, on_failure: Callable[[Exception], None] = lambda error: None
) -> FastAPI:
    """The app; its lifespan loads the embedder, and `on_failure` hears of it if that fails."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine(settings, on_failure)
        app.state.engine = engine
        limits = CohortLimits(settings.max_cohort_callers, settings.max_cohort_mib * 2**20)
        app.state.cohorts = Cohorts(cohort_routes.CohortScoring(engine), limits)
        engine.start()
        try:
            yield
        finally:
            await engine.stop()

    app = FastAPI(
        title="iReasoner reward server",
        version=VERSION,
        description="Scores groups of rollouts by their agreement with themselves: no labels, no judge.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.settings = settings
    app.include_router(routes.router)
    app.include_router(cohort_routes.router)
    app.add_exception_handler(cohort_routes.ClientGone, cohort_routes.on_client_gone)
    problems.install(app)
    app.add_middleware(Admission, max_body_bytes=settings.max_body_bytes)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with problems under the media type that they are sent with."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for operations in document["paths"].values():
            for operation in operations.values():
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    schema = content.get("application/json", {}).get("schema", {})
                    if schema.get("$ref", "").endswith("/Problem"):
                        content[problems.MEDIA_TYPE] = content.pop("application/json")
        app.openapi_schema = document
    return app.openapi_schema
