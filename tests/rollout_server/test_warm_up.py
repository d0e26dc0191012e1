"""The middleware on a small application: start-up completes only after the requests were answered."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from ireasoner.rollout_server.settings import WARM_UP_VARIABLE
from ireasoner.rollout_server.warm_up import WarmUp


def application(seen: list[dict[str, Any]], status: int = 200, key: str | None = None) -> FastAPI:
    """The part of vLLM that the middleware uses."""
    app = FastAPI()
    app.state.args = SimpleNamespace(api_key=[key] if key else None)

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": "the-base"}, {"id": "an-adapter"}]}

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"health": "good"}

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        seen.append({**await request.json(), "authorization": request.headers.get("Authorization")})
        return Response("no such thing", status_code=status)

    app.add_middleware(WarmUp)
    return app


def start_up(app: FastAPI, at_message: Callable[[str], None]) -> None:
    """Runs the application's start-up and shut-down as uvicorn does."""

    async def run() -> None:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, Any]:
            return next(messages)

        async def send(message: Any) -> None:
            at_message(message["type"])

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    asyncio.run(run())


@pytest.mark.parametrize(("kind", "parts"), [("image", [1, 2]), ("text", [1]), ("none", [])])
def test_start_up_completes_after_the_requests(
    monkeypatch: pytest.MonkeyPatch, kind: str, parts: list[int]
) -> None:
    monkeypatch.setenv(WARM_UP_VARIABLE, kind)
    seen: list[dict[str, Any]] = []
    events: list[tuple[str, int]] = []
    start_up(application(seen), lambda message: events.append((message, len(seen))))
    assert events[0] == ("lifespan.startup.complete", len(parts))
    assert [len(request["messages"][0]["content"]) for request in seen] == parts
    assert all(request["model"] == "the-base" and request["logprobs"] for request in seen)


def test_the_servers_own_key_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WARM_UP_VARIABLE, "text")
    seen: list[dict[str, Any]] = []
    start_up(application(seen, key="secret"), lambda _: None)
    assert seen[0]["authorization"] == "Bearer secret"


def test_a_request_that_fails_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WARM_UP_VARIABLE, "image")
    sent: list[str] = []
    with pytest.raises(Exception, match="with text got 400: no such thing"):
        start_up(application([], status=400), sent.append)
    assert sent == ["lifespan.startup.failed"]


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/health"])
def test_health_has_the_usual_aliases(path: str) -> None:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(application([]))
        async with httpx.AsyncClient(transport=transport, base_url="http://vllm") as client:
            return await client.get(path)

    assert asyncio.run(get()).json() == {"health": "good"}
