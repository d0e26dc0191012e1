"""The endpoint through which callers give the ledger the images of their groups."""

from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, FastAPI, Path, Request
from starlette.requests import ClientDisconnect

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.problems import documented
from ireasoner.reward_server.errors import (
    BodyTooSlow,
    CallerGone,
    HeadTooLarge,
    InternalError,
    LedgerUnavailable,
    MalformedRequest,
    NoLedger,
    Overloaded,
    RequestTooLarge,
    Unauthorized,
)
from ireasoner.reward_server.ledger import images
from ireasoner.reward_server.ledger.decoding import Decoding
from ireasoner.reward_server.ledger.recorder import Recorder
from ireasoner.reward_server.memory import Claim

router = APIRouter()

IMAGE_PROBLEMS = documented(
    Unauthorized,
    NoLedger,
    BodyTooSlow,
    RequestTooLarge,
    MalformedRequest,
    HeadTooLarge,
    Overloaded,
    InternalError,
    LedgerUnavailable,
)
_SHA256 = "^[0-9a-f]{64}$"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def install(app: FastAPI) -> None:
    """Adds the endpoint, with a thread that decodes, to the app."""
    app.state.put_images = Decoding("images")
    app.include_router(router)


@router.put("/ledger/images/{sha256}", responses=IMAGE_PROBLEMS, openapi_extra=_BODY)
async def put_image(
    request: Request,
    sha256: Annotated[
        str,
        Path(
            description="SHA-256 of the body, in hexadecimal.",
            json_schema_extra={"pattern": _SHA256},
        ),
    ],
) -> wire.StoredImage:
    """Gives the ledger an image, which groups of the same experiment can then name.

    The body is the file: PNG, JPEG, WebP, GIF or BMP, of at most 16 MiB and 16,777,216 pixels. Putting it again
    changes nothing. The ledger keeps it as long as a group of the experiment names it. When space is needed, one that
    no group names can be removed after ten minutes, or earlier if nothing older is left to remove.
    """
    recorder = cast(Recorder | None, request.app.state.recorder)
    if recorder is None:
        raise NoLedger("this server keeps no ledger; its operator can turn it on with --ledger")
    data = await _body(request)
    claim = cast(Claim, request.state.claim)
    decoding = cast(Decoding, request.app.state.put_images)
    found = await decoding.run(partial(images.digest, data), claim)
    if found != sha256:
        raise MalformedRequest.at("sha256", f"the SHA-256 of the body is {found}, not {sha256[:80]!r}")
    try:
        pixels = await decoding.run(partial(images.pixels, data), claim)
        claim.hold(images.PIXEL_BYTES * pixels)
        await decoding.run(partial(images.check_whole, data), claim)
    except images.TooManyPixels as error:
        raise RequestTooLarge(f"the image has {error}") from error
    except images.NotAnImage as error:
        raise MalformedRequest.at("body", str(error)) from error
    if recorder.status.problem is not None or not recorder.put_image(request.state.experiment, sha256, data):
        raise LedgerUnavailable("the ledger cannot be written now; scoring goes on", retry_after_s=5)
    return wire.StoredImage(sha256=sha256, bytes=len(data), pixels=pixels)


async def _body(request: Request) -> bytes:
    """The body; raises RequestTooLarge as soon as it is too large for an image."""
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > images.MAX_BYTES:
                raise RequestTooLarge(f"an image may have {images.MAX_BYTES} bytes")
    except ClientDisconnect:
        raise CallerGone("the connection was closed") from None
    return bytes(data)
