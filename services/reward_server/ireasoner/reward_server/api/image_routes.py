"""The endpoint through which callers give the ledger the images of their groups."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Path, Request
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
_decoding = ThreadPoolExecutor(1, "images")
"""One image at a time is read; even its head can take a second to parse."""
WAIT_DEADLINE_S = 30.0
"""Longest wait for the images before and for this one."""

T = TypeVar("T")


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
    found = await _in_thread(images.digest, data)
    if found != sha256:
        raise _malformed("sha256", f"the SHA-256 of the body is {found}, not {sha256[:80]!r}")
    try:
        pixels = await _in_thread(images.pixels, data)
        cast(Claim, request.state.claim).hold(images.PIXEL_BYTES * pixels)
        await _in_thread(images.check_whole, data)
    except images.TooManyPixels as error:
        raise RequestTooLarge(f"the image has {error}") from error
    except images.NotAnImage as error:
        raise _malformed("body", f"the body is {error}") from error
    if recorder.status.problem is not None or not recorder.put_image(request.state.experiment, sha256, data):
        raise LedgerUnavailable("the ledger cannot be written now; scoring goes on", retry_after_s=5)
    return wire.StoredImage(sha256=sha256, bytes=len(data), pixels=pixels)


async def _in_thread(read: Callable[[bytes], T], data: bytes) -> T:
    """What `read` finds in an image, while the event loop goes on; raises Overloaded if that takes too long."""
    try:
        async with asyncio.timeout(WAIT_DEADLINE_S):
            return await asyncio.get_running_loop().run_in_executor(_decoding, read, data)
    except TimeoutError:
        raise Overloaded(
            f"the image could not be decoded within {WAIT_DEADLINE_S:.0f} s; others are before it",
            retry_after_s=5,
        ) from None


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


def _malformed(place: str, reason: str) -> MalformedRequest:
    return MalformedRequest(reason, faults=(wire.Fault(place=place, reason=reason),))
