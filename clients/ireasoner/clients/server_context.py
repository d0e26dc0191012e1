"""What one server takes of the context of groups, which is for people: no fault of it ever fails a call."""

import logging
import math
import threading
import time
from collections import OrderedDict
from functools import lru_cache

from ireasoner.clients.errors import RequestRefused, RewardError
from ireasoner.clients.wire import ScoreRequest

PUT_TIMEOUT_S = 10.0
"""Most seconds for one image."""

_FIRST_VERSION = (2, 1)
"""The wire's first version with context; before it, a server refuses unknown fields."""
_MAY_BE_FOR_THE_CONTEXT = (413, 422)
_WITHOUT_LEDGER = (401, 403, 404, 405)
_WITHOUT_LEDGER_S = 600.0
_AFTER_FAILURE_S = 60.0
_KNOWN_IMAGES = 4096
_KNOWN_FOR_S = 3600.0
"""An image is put again after this time: meanwhile the server may have evicted it, or be another one."""

log = logging.getLogger(__name__)


class ServerContext:
    """Which context fields and which images one server takes, as its answers have shown. Threads can share it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._takes_fields = True
        self._names_version = False
        self._reported: set[str] = set()
        self._images_from_s = -math.inf
        self._images: OrderedDict[str, float] = OrderedDict()
        """When each image was put, by its SHA-256."""
        self._lock = threading.Lock()

    def hear(self, version: str | None) -> None:
        """Reads from an answer which version of the wire the server speaks; None changes nothing."""
        parts = (version or "").split(".")[:2]
        if len(parts) == 2 and all(part.isdecimal() and len(part) < 9 for part in parts):
            self._names_version = True
            self._takes_fields = tuple(map(int, parts)) >= _FIRST_VERSION

    def fitted(self, request: ScoreRequest) -> ScoreRequest:
        """The request as the server takes it."""
        return request if self._takes_fields else request.without_context()

    def bare_after(self, refusal: RequestRefused, sent: ScoreRequest) -> ScoreRequest:
        """The request to send after one was refused; raises the refusal if its context cannot be the reason."""
        if refusal.status not in _MAY_BE_FOR_THE_CONTEXT or not sent.has_context:
            raise refusal
        return sent.without_context()

    def was_the_reason(self, refusal: RequestRefused) -> None:
        """The bare request was taken: context alone was the reason for the refusal."""
        if not self._names_version:
            self._takes_fields = False
        if self._takes_fields:
            self._report("fields", f"{self._url} refused context, which is left out: {refusal}")

    @property
    def takes_images(self) -> bool:
        """Whether images can be put now, for all that is known."""
        return self._takes_fields and time.monotonic() >= self._images_from_s

    def wants(self, sha256: str) -> bool:
        """Whether an image should be put now."""
        with self._lock:
            put_s = self._images.get(sha256, -math.inf)
        return self.takes_images and time.monotonic() - put_s > _KNOWN_FOR_S

    def has(self, sha256: str) -> None:
        """The server has the image, or does not want it."""
        with self._lock:
            self._images[sha256] = time.monotonic()
            self._images.move_to_end(sha256)
            if len(self._images) > _KNOWN_IMAGES:
                self._images.popitem(last=False)

    def not_put(self, sha256: str, error: RewardError) -> None:
        """An image could not be put: it is not wanted, or no image is put for a while."""
        status = error.status if isinstance(error, RequestRefused) else None
        if status in _WITHOUT_LEDGER:
            self._images_from_s = time.monotonic() + _WITHOUT_LEDGER_S
            log.info("%s keeps no images: %s", self._url, error)
        elif status is not None:
            self.has(sha256)
            self._report("image", f"the ledger will lack an image, which was refused: {error}")
        else:
            pause_s: float = getattr(error, "retry_after_s", None) or _AFTER_FAILURE_S
            self._images_from_s = time.monotonic() + min(pause_s, _WITHOUT_LEDGER_S)
            self._report("images", f"the ledger may lack images: {error}")

    def _report(self, what: str, message: str) -> None:
        """Logs the first message of a kind."""
        if what not in self._reported:
            self._reported.add(what)
            log.warning("%s", message)


@lru_cache(maxsize=64)
def server_context(url: str, token: str | None) -> ServerContext:
    """That of the server at `url`; clients of one process share it, because adapters make a client for every batch.

    Images belong to the experiment of a token.
    """
    return ServerContext(url)
