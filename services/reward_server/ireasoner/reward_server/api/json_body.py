"""The JSON body of a scoring request: measured before anything is built of it, then read in one go."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, cast

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ireasoner.reward_server.errors import CallerGone, MalformedRequest, RequestTooLarge
from ireasoner.reward_server.settings import RewardServerSettings
from ireasoner.reward_server.wire import Fault

EXPLAINED_BYTES = 2**20
"""Of a body up to this size it is told in detail what is wrong with its JSON, which takes a slower reader."""
MOST_NESTED = 1024
"""Objects and lists within each other that orjson reads."""
_TOO_DEEP = "depth limit exceeded"
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


class ScoringRoute(APIRoute):
    """A page that takes groups; raises RequestTooLarge for a body of more parts than groups within limits have."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, for a request whose body is read here."""
        handle = super().get_route_handler()

        async def measured(request: Request) -> Response:
            body = _Body(request.scope, request.receive)
            await body.measure()
            return await handle(body)

        return measured


class _Body(Request):
    """A request whose body is JSON of bounded complexity."""

    async def measure(self) -> None:
        try:
            body = await self.body()
        except ClientDisconnect:
            raise CallerGone("the connection was closed") from None
        most = most_containers(cast(RewardServerSettings, self.app.state.settings))
        if body.count(b"{") + body.count(b"[") <= most:  # counts those in texts too
            return
        if await asyncio.to_thread(has_more_containers, body, most):
            reason = f"more than {most} objects and lists"
            raise RequestTooLarge(f"body: {reason}", faults=(Fault(place="body", reason=reason),))

    async def json(self) -> Any:
        """The body, read; raises json.JSONDecodeError, and HTTPException for one that is nested too deeply."""
        body = await self.body()
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if error.msg == _TOO_DEEP:
                reason = f"the body is nested deeper than {MOST_NESTED} objects and lists"
                raise HTTPException(MalformedRequest.status, reason) from None  # FastAPI passes it on
            if len(body) > EXPLAINED_BYTES:
                raise
            try:
                return json.loads(body)  # reads NaN and half surrogate pairs too, whose places are then told
            except RecursionError:  # it takes less than orjson
                reason = "it is nested too deeply for what is wrong with it to be told"
                raise json.JSONDecodeError(reason, error.doc, error.pos) from None


def most_containers(settings: RewardServerSettings) -> int:
    """Objects and lists in the largest request: one a rollout, one for its steps, two a group, three besides."""
    return 2 * settings.max_request_rollouts + 2 * settings.max_groups + 3


def has_more_containers(body: bytes, most: int) -> bool:
    """Whether a JSON text has more than `most` objects and lists; stops counting there."""
    count = start = 0
    for string in _STRING.finditer(body):
        count += body.count(b"{", start, string.start()) + body.count(b"[", start, string.start())
        if count > most:
            return True
        start = string.end()
    return count + body.count(b"{", start) + body.count(b"[", start) > most
