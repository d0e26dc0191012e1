"""The explorer's page and its files. They show nothing of any experiment, so they need no token."""

from fastapi import APIRouter, Request, Response

from ireasoner.reward_server.errors import NoSuchRoute
from ireasoner.reward_server.explorer.static_files import PAGE, StaticFile, static_files

router = APIRouter(include_in_schema=False)

PAGE_ROUTE = "/explore"
FILES_ROUTE = "/explore/static"
OPEN_ROUTES = frozenset({PAGE_ROUTE, f"{PAGE_ROUTE}/", *(f"{FILES_ROUTE}/{name}" for name in static_files())})

_HEADERS = {
    "cache-control": "no-cache",  # a browser asks each time and mostly gets 304: no old scripts after an upgrade
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@router.get(PAGE_ROUTE)
async def page(request: Request) -> Response:
    """The page that shows the ledger."""
    return _answer(request, static_files()[PAGE])


@router.get(FILES_ROUTE + "/{name}")
async def file(request: Request, name: str) -> Response:
    """A script, a style sheet or the icon."""
    if name not in static_files():
        raise NoSuchRoute(f"the explorer has no file {name!r}")
    return _answer(request, static_files()[name])


def _answer(request: Request, found: StaticFile) -> Response:
    headers = _HEADERS | {"etag": found.etag}
    known = request.headers.get("if-none-match", "")
    if found.etag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
