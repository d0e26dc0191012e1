"""Every error leaves the server as an RFC 9457 problem."""

from collections.abc import Mapping, Sequence
from http import HTTPMethod
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ireasoner.compat.spelling import did_you_mean
from ireasoner.reward_server.errors import (
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NoSuchRoute,
    ServiceError,
    Unauthorized,
)
from ireasoner.reward_server.wire import Fault, Problem

MEDIA_TYPE = "application/problem+json"
_SHOWN_FAULTS = 20
_KINDS = {kind.status: kind for kind in (NoSuchRoute, MethodNotAllowed)}


def install(app: FastAPI) -> None:
    """Registers the handlers that turn every error of `app` into a problem."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_malformed)
    app.add_exception_handler(HTTPException, _on_http_error)


def documented(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """The errors of a route as FastAPI's `responses`: a problem per status, with the codes that it can have."""
    return {
        status: {
            "model": Problem,
            "description": " or ".join(f"`{kind.code}`" for kind in kinds if kind.status == status),
        }
        for status in sorted({kind.status for kind in kinds})
    }


def answer(error: ServiceError, request_id: str) -> Response:
    """The response for `error`."""
    problem = Problem(
        type=f"urn:ireasoner:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        retryable=error.retryable,
        errors=list(error.faults),
        request_id=request_id,
    )
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return Response(problem.model_dump_json(), error.status, headers, MEDIA_TYPE)


def path(location: Sequence[int | str]) -> str:
    """A location in the body as a path: `groups[0].rollouts[1].text`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")


def _refuse(request: Request, error: ServiceError) -> Response:
    """The response for `error`, which is kept for the request's log line."""
    request.state.refusal = error
    return answer(error, request.state.request_id)


async def _on_service_error(request: Request, error: Exception) -> Response:
    return _refuse(request, cast(ServiceError, error))


async def _on_malformed(request: Request, error: Exception) -> Response:
    found = cast(RequestValidationError, error).errors()
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        reason = "the request needs the header content-type: application/json"
        return _refuse(request, MalformedRequest.at("body", reason))
    faults = tuple(_fault(entry) for entry in found[:_SHOWN_FAULTS])
    others = len(found) - 1
    more = f", and {others} more fault{'s' if others > 1 else ''}" if others else ""
    listed = f"; the first {_SHOWN_FAULTS} are listed" if len(found) > _SHOWN_FAULTS else ""
    detail = f"{faults[0].place}: {faults[0].reason}{more}{listed}"
    return _refuse(request, MalformedRequest(detail, faults=faults))


def _fault(entry: Mapping[str, Any]) -> Fault:
    location = entry["loc"]
    if entry["type"] == "json_invalid":
        reason = f"not JSON: {entry['ctx']['error'].removesuffix(' at')}"
        return Fault(place=f"character {location[-1]}", reason=reason)
    return Fault(place=path(location[1:]) or "body", reason=entry["msg"].removeprefix("Value error, "))


async def _on_http_error(request: Request, error: Exception) -> Response:
    raised = cast(HTTPException, error)
    kind = _KINDS.get(raised.status_code, MalformedRequest if raised.status_code < 500 else InternalError)
    meant = did_you_mean(request.url.path, request.app.openapi()["paths"]) if kind is NoSuchRoute else ""
    response = _refuse(request, kind(f"{request.method} {request.url.path}: {raised.detail}{meant}"))
    response.headers.update(raised.headers or {})
    if raised.status_code == MethodNotAllowed.status:
        response.headers["allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """The methods that the request's path takes; Starlette lists those of the first route with that path.

    Every route is asked, because what `app.routes` holds differs between versions of FastAPI.
    """
    asked = ((method, {**request.scope, "method": method}) for method in HTTPMethod)
    return {
        method.value
        for method, scope in asked
        if any(route.matches(scope)[0] == Match.FULL for route in request.app.routes)
    }
