"""Query parameters that a route does not know are refused: a misspelt one would silently be left at its default."""

from difflib import get_close_matches

from fastapi import Request

from ireasoner.reward_server import wire
from ireasoner.reward_server.errors import MalformedRequest


def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of routes with query parameters.

    Raises:
        MalformedRequest: The URL has a parameter that the OpenAPI document does not describe.
    """
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            known_ones = f"known are {', '.join(known)}" if known else "it takes none"
            reason = f"no such parameter of the URL; {f'did you mean {near[0]}?' if near else known_ones}"
            raise MalformedRequest(f"{name}: {reason}", faults=(wire.Fault(place=name, reason=reason),))
