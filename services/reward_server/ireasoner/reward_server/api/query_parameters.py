"""Query parameters that a route does not know are refused: a misspelt one would silently be left at its default."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from ireasoner.compat.spelling import did_you_mean
from ireasoner.reward_server.errors import MalformedRequest

_TOKEN = "token"
"""The parameter with which a caller may identify itself where it can set no header (`admission`)."""


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of routes with query parameters.

    Raises:
        MalformedRequest: The URL has a parameter that the route does not take.
    """
    known = list(_known(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in (*known, _TOKEN):
            known_ones = f"; known are {', '.join(known)}" if known else "; it takes none"
            reason = f"no such parameter of the URL{did_you_mean(name, known) or known_ones}"
            raise MalformedRequest.at(name, reason)


def _known(of: Dependant) -> Iterator[str]:
    """The names of the query parameters of a function and of its dependencies."""
    yield from (parameter.alias for parameter in of.query_params)
    for dependency in of.dependencies:
        yield from _known(dependency)
