"""The JSON body of a scoring request: measured before anything is built from it, then parsed at once."""

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

from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.errors import CallerGone, MalformedRequest, RequestTooLarge
from ireasoner.reward_server.wire import Fault

EXPLAINED_BYTES = 2**20
"""Largest body whose JSON error is explained in detail, which takes a slower parser."""
MAX_DEPTH = 1024
"""Nesting depth of objects and lists that orjson parses."""
_TOO_DEEP = "depth limit exceeded"
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


class ScoringRoute(APIRoute):
    """A route that takes groups; raises RequestTooLarge for a body of more objects than a request may have."""

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
        most = cast(Limits, self.app.state.limits).max_containers
        if body.count(b"{") + body.count(b"[") <= most:  # an upper bound: it counts brackets in texts too
            return
        if await asyncio.to_thread(has_more_containers, body, most):
            reason = f"more than {most} objects and lists"
            raise RequestTooLarge(f"body: {reason}", faults=(Fault(place="body", reason=reason),))

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            json.JSONDecodeError: The body is not JSON.
            HTTPException: It is nested too deeply.
        """
        body = await self.body()
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if error.msg == _TOO_DEEP:
                reason = f"the body is nested deeper than {MAX_DEPTH} objects and lists"
                raise HTTPException(MalformedRequest.status, reason) from None  # FastAPI passes it on
            if len(body) > EXPLAINED_BYTES:
                raise
            try:
                return json.loads(body)  # accepts NaN and lone surrogates, which validation then locates
            except RecursionError:  # json.loads allows less depth than orjson
                reason = "the body is nested too deeply to explain the error"
                raise json.JSONDecodeError(reason, error.doc, error.pos) from None


def has_more_containers(body: bytes, most: int) -> bool:
    """Whether a JSON text has more than `most` objects and lists; stops counting there."""
    count = start = 0
    for string in _STRING.finditer(body):
        count += body.count(b"{", start, string.start()) + body.count(b"[", start, string.start())
        if count > most:
            return True
        start = string.end()
    return count + body.count(b"{", start) + body.count(b"[", start) > most
