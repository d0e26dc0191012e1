"""The client for callers that block: a trainer, a script, a command line."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Self

import httpx

from ireasoner.clients.codec import decode_response, encode_request
from ireasoner.clients.errors import NotReady, RewardError
from ireasoner.clients.exchange import (
    JSON,
    READY_POLL_S,
    address,
    body_of,
    chunks,
    headers,
    limits,
    named_errors,
    timeouts,
    trusts_proxies,
)
from ireasoner.clients.retry import Retry
from ireasoner.clients.trace import trace_headers
from ireasoner.clients.wire import Config, Detail, Endpoint, Group, ScoreResponse


class RewardClient:
    """A reward server as seen by one caller; safe to share between threads, and a context manager.

    `timeout_s` bounds each try, and is told to the server, which drops what nobody waits for any more;
    `retry_budget_s` bounds all tries of one call together (0: one try only). `token` is the experiment's,
    where the server asks for one. Requests are part of OpenTelemetry's current span where that is loaded, else
    of the W3C `traceparent` if there is one.

    Raises ValueError if `base_url` is no address like `http://127.0.0.1:8010`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retry_budget_s: float = 120.0,
        max_connections: int = 16,
        traceparent: str | None = None,
    ) -> None:
        server = address(base_url)
        self._http = httpx.Client(
            base_url=server,
            headers=headers(token, traceparent, timeout_s),
            timeout=timeouts(timeout_s),
            limits=limits(max_connections),
            trust_env=trusts_proxies(server),
        )
        self._retry_budget_s = retry_budget_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the pooled connections; the client cannot be used any more."""
        self._http.close()

    def score(
        self,
        endpoint: Endpoint,
        groups: Sequence[Group],
        *,
        config: Config = "paper",
        progress: float | None = None,
        detail: Detail = "full",
    ) -> ScoreResponse:
        """Scores groups in one request; `progress`, in [0, 1], is for the endpoint `solver` only.

        Raises a RewardError (see `ireasoner.clients.errors`); a rollout is never given a reward that was not computed.
        """
        body = encode_request(groups, config, progress, detail)
        return Retry(self._retry_budget_s).call(
            lambda: decode_response(self._exchange(f"/score/{endpoint}", body))
        )

    def score_many(
        self,
        endpoint: Endpoint,
        groups: Iterable[Group],
        *,
        config: Config = "paper",
        progress: float | None = None,
        detail: Detail = "full",
        groups_per_request: int = 16,
        in_flight: int = 4,
    ) -> Generator[ScoreResponse, None, None]:
        """Scores any number of groups, several requests at a time.

        The responses' groups, one response after the other, are in the order of `groups`, which is read no
        further ahead than what is in flight. The first error ends the iteration.
        """
        with ThreadPoolExecutor(in_flight) as pool:
            flying: deque[Future[ScoreResponse]] = deque()
            try:
                for chunk in chunks(groups, groups_per_request):
                    if len(flying) == in_flight:
                        yield flying.popleft().result()
                    flying.append(
                        pool.submit(
                            copy_context().run,
                            partial(
                                self.score, endpoint, chunk, config=config, progress=progress, detail=detail
                            ),
                        )
                    )
                while flying:
                    yield flying.popleft().result()
            finally:
                for future in flying:
                    future.cancel()

    def wait_until_ready(self, deadline_s: float, *, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Returns when the server is ready to score; `is_alive` tells whether it is still worth waiting.

        Raises NotReady after `deadline_s` seconds, or as soon as `is_alive()` is false.
        """
        end_s = time.monotonic() + deadline_s
        while True:
            try:
                self._exchange("/readyz")
            except RewardError as error:
                if not is_alive():
                    raise NotReady(f"{self._http.base_url} died before it was ready: {error}") from error
                if time.monotonic() + READY_POLL_S > end_s:
                    raise NotReady(
                        f"{self._http.base_url} was not ready within {deadline_s} s: {error}"
                    ) from error
                time.sleep(READY_POLL_S)
            else:
                return

    def _exchange(self, path: str, body: bytes | None = None) -> bytes:
        """One try: a POST of `body` if there is one, else a GET."""
        with named_errors(str(self._http.base_url).rstrip("/") + path):
            if body is None:
                response = self._http.get(path)
            else:
                response = self._http.post(path, content=body, headers=JSON | trace_headers())
        return body_of(response)
