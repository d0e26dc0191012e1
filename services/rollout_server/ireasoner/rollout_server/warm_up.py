"""ASGI middleware for vLLM's own process: it makes the engine answer real requests before the server listens."""

import base64
import io
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from ireasoner.rollout_server.settings import WARM_UP_VARIABLE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH_ALIASES = ("/readyz", "/livez")
IMAGE_SIDE_PX = 56


class WarmUpError(Exception):
    """The engine did not answer a warm-up request, which fails the start-up."""


class WarmUp:
    """Warms the engine up during ASGI start-up, and serves `/readyz` and `/livez` as aliases of `/health`.

    uvicorn opens its socket once start-up is complete, so no client reaches an engine that is not warm.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def send_once_warm(message: Message) -> None:
                if message["type"] == "lifespan.startup.complete":
                    await _warm_up(scope["app"], os.environ[WARM_UP_VARIABLE])
                await send(message)

            await self._app(scope, receive, send_once_warm)
            return
        if scope["type"] == "http" and scope["path"] in HEALTH_ALIASES:
            scope = {**scope, "path": "/health", "raw_path": b"/health"}
        await self._app(scope, receive, send)


async def _warm_up(vllm: Any, kind: str) -> None:
    """Requests two samples with log-probabilities per prompt from `vllm`, the whole FastAPI application."""
    if kind == "none":
        return
    key = (vllm.state.args.api_key or [os.environ.get("VLLM_API_KEY")])[0]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # The launcher's start-up deadline bounds this wait.
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(vllm), base_url="http://vllm", headers=headers, timeout=None
    ) as client:
        models = await client.get("/v1/models")
        models.raise_for_status()
        model = models.json()["data"][0]["id"]
        for content in ["text", "image"] if kind == "image" else ["text"]:
            response = await client.post("/v1/chat/completions", json=_request(model, content))
            if response.status_code != httpx.codes.OK:
                raise WarmUpError(
                    f"the warm-up request with {content} got {response.status_code}: {response.text}"
                )


def _request(model: str, content: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What is this?"}]
    if content == "image":
        parts.insert(0, {"type": "image_url", "image_url": {"url": _grey_square()}})
    return {
        "model": model,
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": 2,
        "n": 2,
        "temperature": 1.0,
        "logprobs": True,
        "return_token_ids": True,
    }


def _grey_square() -> str:
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (IMAGE_SIDE_PX, IMAGE_SIDE_PX), "grey").save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
