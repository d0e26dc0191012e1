"""The JSON body of a request: measured before anything is built from it, then parsed at once."""

import asyncio
import json
import math
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from ireasoner.reward_server.api.limits import MAX_CONFIG_BYTES, Limits
from ireasoner.reward_server.errors import CallerGone, MalformedRequest, RequestTooLarge
from ireasoner.reward_server.memory import Claim
from ireasoner.reward_server.wire import Fault

EXPLAINED_BYTES = 2**20
"""Largest body whose JSON error is explained in detail, which takes a slower parser."""
PART_BYTES = 2**18
"""Bytes that are counted at once, which takes about a millisecond."""
MAX_FIELDS = 64
"""Fields of an object: a config has about 30, and every unknown one becomes a fault in the answer."""
MAX_DEPTH = 200
"""Nesting depth of objects and lists: what pydantic validates and writes. Our own requests have 6."""
VALUE_BYTES = 100
CONTAINER_BYTES = 250
"""Memory of a parsed JSON value, and of an object or a list besides its values."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Size:
    """Objects and lists of a JSON text, and at most how many values it has, these included."""

    containers: int
    values: int

    def is_more_than(self, other: "Size") -> bool:
        """Whether either number is larger."""
        return self.containers > other.containers or self.values > other.values


class MeasuredRoute(APIRoute):
    """A route whose body is measured, counted as held memory and parsed here.

    Raises RequestTooLarge for a body of more objects or values than a request may have.
    """

    is_foreign: ClassVar[bool] = False
    """Whether another project defines the body, which may then be any JSON: all of it is checked."""
    max_bytes: ClassVar[int | None] = None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, for a request whose body is read here."""
        handle = super().get_route_handler()

        async def measured(request: Request) -> Response:
            body = _Body(request.scope, request.receive)
            await body.measure(self.max_bytes)
            with suppress(json.JSONDecodeError):  # FastAPI, which parses it again, answers with the error
                parsed = await body.json()
                if self.is_foreign:
                    _refuse(next(_unsendable(parsed), None))
                elif _has_wide_object(parsed):
                    raise _too_large(f"more than {MAX_FIELDS} fields in one object")
            return await handle(body)

        return measured


class ForeignRoute(MeasuredRoute):
    """A route whose body another project defines."""

    is_foreign = True


class ConfigRoute(MeasuredRoute):
    """A route whose body is a config."""

    max_bytes = MAX_CONFIG_BYTES


class _Body(Request):
    """A request whose body is JSON of bounded size."""

    async def measure(self, max_bytes: int | None) -> None:
        """Reads the body; raises RequestTooLarge or Overloaded if it is too large to be parsed."""
        try:
            body = await self.body()
        except ClientDisconnect:
            raise CallerGone("the connection was closed") from None
        if max_bytes is not None and len(body) > max_bytes:
            raise _too_large(f"more than {max_bytes} bytes")
        limits = cast(Limits, self.app.state.limits)
        most = Size(limits.max_containers, limits.max_values)
        count = size_with_texts
        size = count(body, most) if len(body) <= PART_BYTES else await asyncio.to_thread(count, body, most)
        if size.is_more_than(most):
            size = await asyncio.to_thread(size_outside_texts, body, most)
        if size.containers > most.containers:
            raise _too_large(f"more than {most.containers} objects and lists")
        if size.values > most.values:
            raise _too_large(f"more than {most.values} values")
        cast(Claim, self.state.claim).hold(VALUE_BYTES * size.values + CONTAINER_BYTES * size.containers)

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            json.JSONDecodeError: The body is not JSON.
            MalformedRequest: It is nested too deeply, or has a text or a number that JSON does not have.
        """
        if not hasattr(self, "_json"):
            self._json = self._parsed(await self.body())
        return self._json

    def _parsed(self, body: bytes) -> Any:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            if len(body) > EXPLAINED_BYTES:
                raise
        try:
            parsed = json.loads(body)  # accepts NaN and lone surrogates, which are located below
        except json.JSONDecodeError:
            raise
        except ValueError as error:  # not UTF-8, or a number with thousands of digits
            raise MalformedRequest.at("body", f"parsing it failed: {error}") from None
        except RecursionError:
            _refuse(_too_deep("body"))
        _refuse(next(_unsendable(parsed), None))
        return parsed


def _refuse(fault: Fault | None) -> None:
    """Raises MalformedRequest if there is a fault."""
    if fault is not None:
        raise MalformedRequest.at(fault.place, fault.reason)


def _size(text: bytes, start: int = 0, end: int | None = None) -> Size:
    """What a part of a JSON text adds to its size; a value that is no object or list follows `,`, `:` or `[`."""
    containers = text.count(b"{", start, end) + text.count(b"[", start, end)
    return Size(containers, containers + text.count(b",", start, end) + text.count(b":", start, end))


def size_with_texts(body: bytes, most: Size) -> Size:
    """An upper bound of the size of a JSON text: counts what is in texts too. Stops once it is more than `most`."""
    containers = values = 0
    for start in range(0, len(body), PART_BYTES):
        part = _size(body, start, start + PART_BYTES)
        containers, values = containers + part.containers, values + part.values
        if containers > most.containers or values > most.values:
            break
    return Size(containers, values)


def size_outside_texts(body: bytes, most: Size) -> Size:
    """The size of a JSON text; stops counting once it is more than `most`."""
    containers = values = start = 0
    for string in _STRING.finditer(body):
        part = _size(body, start, string.start())
        containers, values = containers + part.containers, values + part.values
        if containers > most.containers or values > most.values:
            return Size(containers, values)
        start = string.end()
    rest = _size(body, start)
    return Size(containers + rest.containers, values + rest.values)


def _unsendable(value: Any) -> Iterator[Fault]:
    """The parts of a parsed body that JSON cannot express, or that are nested too deeply to be written."""
    rest: list[tuple[str, int, Any]] = [("", 0, value)]
    while rest:
        place, depth, part = rest.pop()
        match part:
            case str() if not part.isascii():
                try:
                    part.encode()
                except UnicodeEncodeError as error:
                    reason = f"character {error.start} is half of a surrogate pair"
                    yield Fault(place=place or "body", reason=reason)
            case float() if not math.isfinite(part):
                yield Fault(place=place or "body", reason="the number should be finite")
            case dict() | list() if depth == MAX_DEPTH:
                yield _too_deep("body")
            case dict():
                rest += [(place, depth, key) for key in part]
                rest += [(f"{place}.{key}".removeprefix("."), depth + 1, each) for key, each in part.items()]
            case list():
                rest += [(f"{place}[{index}]", depth + 1, each) for index, each in enumerate(part)]


def _has_wide_object(value: Any) -> bool:
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            if len(part) > MAX_FIELDS:
                return True
            rest += part.values()
        elif isinstance(part, list):
            rest += part
    return False


def _too_deep(place: str) -> Fault:
    return Fault(place=place, reason=f"nested deeper than {MAX_DEPTH} objects and lists")


def _too_large(reason: str) -> RequestTooLarge:
    return RequestTooLarge(f"body: {reason}", faults=(Fault(place="body", reason=reason),))
