"""The asynchronous client."""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import Self, TypeVar, Unpack

import httpx

from ireasoner.clients.arriving_answer import ArrivingAnswer
from ireasoner.clients.codec import cohort_path, config_path, encode_cohort_call, encode_request
from ireasoner.clients.deadline import check_seconds
from ireasoner.clients.errors import NotReady, RequestRefused, RewardError
from ireasoner.clients.exchange import (
    BYTES,
    JSON,
    READY_POLL_S,
    address,
    chunks,
    environment_proxy,
    headers,
    limits,
    named_errors,
    timeouts,
    tls_context,
    trace_headers,
)
from ireasoner.clients.fingerprints import Fingerprints
from ireasoner.clients.response import check_ready, decode_cohort_answer, decode_config, decode_response
from ireasoner.clients.retry import Retry
from ireasoner.clients.server_context import PUT_TIMEOUT_S, server_context
from ireasoner.clients.turns import Turns
from ireasoner.clients.waits import OnWait, Waits
from ireasoner.clients.wire import (
    Config,
    Endpoint,
    Group,
    ScoreOptions,
    ScoreRequest,
    ScoreResponse,
)

T = TypeVar("T")


class AsyncRewardClient:
    """A connection pool to one reward server, for one event loop; an async context manager. See `RewardClient`.

    At most `max_connections` calls are in progress at a time, images included, in the order in which they began. httpx
    would look at every call that waits for a connection whenever one is freed: with thousands of them it did little
    else. The others wait for their turn: their time begins with it as long as the server answers (see `Turns`).

    Each call to a cohort endpoint has a connection of its own and is not counted: it waits for others, which must never
    wait behind it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retry_budget_s: float = 120.0,
        max_connections: int = 64,
        traceparent: str | None = None,
        fingerprints: Fingerprints | None = None,
        on_wait: OnWait | None = None,
    ) -> None:
        check_seconds(timeout_s=timeout_s, retry_budget_s=retry_budget_s)
        server = address(base_url)
        tls = tls_context(server)

        def connected(connections: int) -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=server,
                headers=headers(token, traceparent, timeout_s),
                timeout=timeouts(timeout_s),
                transport=httpx.AsyncHTTPTransport(
                    verify=tls or False, limits=limits(connections), proxy=environment_proxy(server)
                ),
            )

        self._connected = connected
        self._http = connected(max_connections)
        self._url = str(self._http.base_url).rstrip("/")
        self._timeout_s = timeout_s
        self._retry_budget_s = retry_budget_s
        self._fingerprints = fingerprints or Fingerprints()
        self._context = server_context(self._url, token)
        self._waits = Waits(self._url, on_wait)
        self._turns = Turns(self._url, max_connections, retry_budget_s, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; the client cannot be used afterwards."""
        await self._http.aclose()

    async def score(
        self, endpoint: Endpoint, groups: Sequence[Group], **options: Unpack[ScoreOptions]
    ) -> ScoreResponse:
        """Scores groups in one request; see `RewardClient.score`."""
        request = ScoreRequest(endpoint, groups, **options)
        sent = self._context.fitted(request)
        async with self._call() as retry:
            try:
                response = await retry.call_async(self._attempt(sent))
            except RequestRefused as refusal:
                response = await retry.call_async(self._attempt(self._context.bare_after(refusal, sent)))
                self._context.was_the_reason(refusal)
        self._fingerprints.check(self._url, request.config, response.fingerprint)
        return response

    async def scoring_config(self, name: str) -> Mapping[str, object]:
        """The fields of a preset or registered config; see `RewardClient.scoring_config`."""
        path = config_path(name)
        async with self._call() as retry:
            return await retry.call_async(
                lambda: self._exchange(
                    "GET", path, lambda answer: decode_config(answer.body()), self._timeout_s
                )
            )

    @property
    def takes_images(self) -> bool:
        """Whether it is worth encoding an image for `put_image`: not while the server is known to keep none."""
        return self._context.takes_images

    async def put_image(self, image: bytes) -> str:
        """Gives the server an image for its ledger; see `RewardClient.put_image`."""
        sha256 = hashlib.sha256(image).hexdigest()
        if self._context.wants(sha256):
            try:
                async with self._turns.turn():
                    await self._put(sha256, image)
            except RewardError as error:
                self._context.not_put(sha256, error)
        return sha256

    async def score_in_cohort(
        self,
        group_id: str,
        text: str,
        *,
        group_size: int,
        deadline_s: float,
        config: Config = "paper",
        prompt: str | None = None,
        labels: Sequence[str] | None = None,
        source: str | None = None,
    ) -> dict[str, float]:
        """Returns the `reward` of one rollout and its parts; see `RewardClient.score_in_cohort`."""
        path = cohort_path(config, group_size, deadline_s, source)
        body = encode_cohort_call(group_id, text, prompt, labels)
        async with self._connected(1) as http:
            with self._waits.call_async(self._retry_budget_s, deadline_s) as retry:
                return await retry.call_async(
                    lambda: self._exchange(
                        "POST",
                        path,
                        lambda answer: decode_cohort_answer(answer.body(), group_size),
                        self._timeout_s,
                        body,
                        http=http,
                    )
                )

    async def score_many(
        self,
        endpoint: Endpoint,
        groups: Iterable[Group],
        *,
        groups_per_request: int = 16,
        in_flight: int = 4,
        **options: Unpack[ScoreOptions],
    ) -> AsyncGenerator[ScoreResponse, None]:
        """Scores any number of groups with several requests in flight; see `RewardClient.score_many`."""
        score = partial(self.score, endpoint, **options)
        flying: deque[asyncio.Task[ScoreResponse]] = deque()
        try:
            for chunk in chunks(groups, groups_per_request):
                if len(flying) == in_flight:
                    yield await flying.popleft()
                flying.append(asyncio.create_task(score(chunk)))
            while flying:
                yield await flying.popleft()
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    async def wait_until_ready(
        self, deadline_s: float, *, is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        """Returns once the server is ready to score; see `RewardClient.wait_until_ready`."""
        end_s = time.monotonic() + deadline_s
        while True:
            try:
                left_s = end_s - time.monotonic()
                await self._exchange(
                    "GET", "/readyz", lambda answer: check_ready(answer.body()), min(left_s, self._timeout_s)
                )
            except RewardError as error:
                if not is_alive():
                    raise NotReady(f"{self._url} died before it was ready: {error}") from error
                if time.monotonic() + READY_POLL_S > end_s:
                    raise NotReady(f"{self._url} was not ready within {deadline_s} s: {error}") from error
                await asyncio.sleep(READY_POLL_S)
            else:
                return

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[Retry]:
        """The turn of one call, and its retries."""
        async with self._turns.turn() as budget_s:
            with self._waits.call_async(budget_s) as retry:
                yield retry

    async def _put(self, sha256: str, image: bytes) -> None:
        """Puts an image unless that has changed nothing since the wait for its turn began."""
        if self._context.wants(sha256):
            timeout_s = min(self._timeout_s, PUT_TIMEOUT_S)
            await self._exchange(
                "PUT", f"/ledger/images/{sha256}", ArrivingAnswer.accept, timeout_s, image, BYTES
            )
            self._context.has(sha256)

    def _attempt(self, request: ScoreRequest) -> Callable[[], Awaitable[ScoreResponse]]:
        body = encode_request(request)
        return lambda: self._exchange(
            "POST",
            f"/score/{request.endpoint}",
            lambda answer: decode_response(answer.body(), request),
            self._timeout_s,
            body,
        )

    async def _exchange(
        self,
        method: str,
        path: str,
        read: Callable[[ArrivingAnswer], T],
        timeout_s: float,
        body: bytes = b"",
        kind: Mapping[str, str] = JSON,
        http: httpx.AsyncClient | None = None,
    ) -> T:
        """One attempt, by default over the pool; returns what `read` makes of the answer."""
        url = self._url + path
        with named_errors(url):
            async with (
                asyncio.timeout(timeout_s),
                (http or self._http).stream(
                    method, path, content=body, headers={**kind, **trace_headers()}
                ) as response,
            ):
                self._context.hear(response.headers.get("x-wire-version"))
                arriving = ArrivingAnswer(url, response, len(body))
                async for part in response.aiter_raw():
                    arriving.add(part)
            return read(arriving)
