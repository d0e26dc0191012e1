"""The blocking client, for trainers, scripts and the command line."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Self, TypeVar, Unpack

import httpx

from ireasoner.clients.arriving_answer import ArrivingAnswer
from ireasoner.clients.codec import cohort_path, config_path, encode_cohort_call, encode_request
from ireasoner.clients.deadline import DeadlineTransport, check_seconds, deadline
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
from ireasoner.clients.server_context import PUT_TIMEOUT_S, server_context
from ireasoner.clients.waits import OnWait, Waits
from ireasoner.clients.wire import Config, Endpoint, Group, ScoreOptions, ScoreRequest, ScoreResponse

T = TypeVar("T")


class RewardClient:
    """A connection pool to one reward server; a context manager that threads can share.

    Requests join the current OpenTelemetry span in a process that has loaded OpenTelemetry, else `traceparent`.

    Args:
        base_url: The address, like `http://127.0.0.1:8010`.
        token: The token of the experiment, if the server requires one.
        timeout_s: Seconds for one attempt, from the first byte sent to the last one received. The client sends it
            along, and the server drops work that has timed out.
        retry_budget_s: Seconds in which a new attempt of a call may start; 0 allows one attempt.
        max_connections: Size of the pool.
        traceparent: A W3C trace context.
        fingerprints: The fingerprints to compare with; None for those that this client receives.
        on_wait: Called while calls wait, at most every 30 s for all calls of the client, with the reason and the
            seconds in which another attempt may start. The first time is 10 s after a call began, or once it waits
            for more than a second after an error. Any thread may call it. What it raises is logged; the call goes on.

    Raises:
        ValueError: `base_url` is not an address, or a time is not a finite number of seconds.
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
        fingerprints: Fingerprints | None = None,
        on_wait: OnWait | None = None,
    ) -> None:
        check_seconds(timeout_s=timeout_s, retry_budget_s=retry_budget_s)
        server = address(base_url)
        tls = tls_context(server)

        def connected(connections: int) -> httpx.Client:
            return httpx.Client(
                base_url=server,
                headers=headers(token, traceparent, timeout_s),
                timeout=timeouts(timeout_s),
                transport=DeadlineTransport(tls, limits(connections), environment_proxy(server)),
            )

        self._connected = connected
        self._http = connected(max_connections)
        self._url = str(self._http.base_url).rstrip("/")
        self._timeout_s = timeout_s
        self._retry_budget_s = retry_budget_s
        self._fingerprints = fingerprints or Fingerprints()
        self._context = server_context(self._url, token)
        self._waits = Waits(self._url, on_wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the client cannot be used afterwards."""
        self._http.close()

    def score(
        self, endpoint: Endpoint, groups: Sequence[Group], **options: Unpack[ScoreOptions]
    ) -> ScoreResponse:
        """Scores groups in one request; see `ScoreOptions`.

        A server that does not take context scores without it.

        Raises RewardError (see `ireasoner.clients.errors`). Every reward that is returned was computed.
        """
        request = ScoreRequest(endpoint, groups, **options)
        sent = self._context.fitted(request)
        with self._waits.call(self._retry_budget_s) as retry:
            try:
                response = retry.call(self._attempt(sent))
            except RequestRefused as refusal:
                response = retry.call(self._attempt(self._context.bare_after(refusal, sent)))
                self._context.was_the_reason(refusal)
        self._fingerprints.check(self._url, request.config, response.fingerprint)
        return response

    def scoring_config(self, name: str) -> Mapping[str, object]:
        """The fields of a preset or registered config, by name. Raises RewardError."""
        path = config_path(name)
        with self._waits.call(self._retry_budget_s) as retry:
            return retry.call(
                lambda: self._exchange(
                    "GET", path, lambda answer: decode_config(answer.body()), self._timeout_s
                )
            )

    @property
    def takes_images(self) -> bool:
        """Whether it is worth encoding an image for `put_image`: not while the server is known to keep none."""
        return self._context.takes_images

    def put_image(self, image: bytes) -> str:
        """Gives the server an image for its ledger, and returns the SHA-256 by which groups name it.

        Each image is put once. Nothing is raised: a server without a ledger is asked again after ten minutes, and one
        that fails after its `Retry-After`, or a minute. An image that the server refuses is logged.
        """
        sha256 = hashlib.sha256(image).hexdigest()
        if self._context.wants(sha256):
            timeout_s = min(self._timeout_s, PUT_TIMEOUT_S)
            try:
                self._exchange(
                    "PUT", f"/ledger/images/{sha256}", ArrivingAnswer.accept, timeout_s, image, BYTES
                )
            except RewardError as error:
                self._context.not_put(sha256, error)
            else:
                self._context.has(sha256)
        return sha256

    def score_in_cohort(
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
        """Returns the `reward` of one rollout and its parts, once its siblings have arrived at the cohort endpoint.

        After `deadline_s` seconds the server scores the rollouts of `group_id` that have arrived, even if they are
        fewer than `group_size`; it must be less than `timeout_s`. A repeated attempt counts as the same rollout.
        `prompt`, `labels` and `source` are context, like that of `score`. Each call has a connection of its own: it
        waits for others, which must never wait behind it.

        Raises RewardError.
        """
        path = cohort_path(config, group_size, deadline_s, source)
        body = encode_cohort_call(group_id, text, prompt, labels)
        with self._connected(1) as http, self._waits.call(self._retry_budget_s, deadline_s) as retry:
            return retry.call(
                lambda: self._exchange(
                    "POST",
                    path,
                    lambda answer: decode_cohort_answer(answer.body(), group_size),
                    self._timeout_s,
                    body,
                    http=http,
                )
            )

    def score_many(
        self,
        endpoint: Endpoint,
        groups: Iterable[Group],
        *,
        groups_per_request: int = 16,
        in_flight: int = 4,
        **options: Unpack[ScoreOptions],
    ) -> Generator[ScoreResponse, None, None]:
        """Scores any number of groups with several requests in flight; see `ScoreOptions`.

        Responses come in the order of `groups`, which is read only as far as requests are sent. The first error ends
        the iteration.

        Args:
            endpoint: The reward to compute.
            groups: Any iterable, also one that does not fit into memory.
            groups_per_request: Groups in one request; a few more where a group's `voters` come right after it.
            in_flight: Requests at a time.
            options: Those of each request.
        """
        score = partial(self.score, endpoint, **options)
        with ThreadPoolExecutor(in_flight) as pool:
            flying: deque[Future[ScoreResponse]] = deque()
            try:
                for chunk in chunks(groups, groups_per_request):
                    if len(flying) == in_flight:
                        yield flying.popleft().result()
                    flying.append(pool.submit(copy_context().run, partial(score, chunk)))
                while flying:
                    yield flying.popleft().result()
            finally:
                for future in flying:
                    future.cancel()

    def wait_until_ready(self, deadline_s: float, *, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Returns once the server is ready to score.

        Raises NotReady after `deadline_s` seconds, or as soon as `is_alive()`, which says whether the server's process
        still runs, is false.
        """
        end_s = time.monotonic() + deadline_s
        while True:
            try:
                left_s = end_s - time.monotonic()
                self._exchange(
                    "GET", "/readyz", lambda answer: check_ready(answer.body()), min(left_s, self._timeout_s)
                )
            except RewardError as error:
                if not is_alive():
                    raise NotReady(f"{self._url} died before it was ready: {error}") from error
                if time.monotonic() + READY_POLL_S > end_s:
                    raise NotReady(f"{self._url} was not ready within {deadline_s} s: {error}") from error
                time.sleep(READY_POLL_S)
            else:
                return

    def _attempt(self, request: ScoreRequest) -> Callable[[], ScoreResponse]:
        body = encode_request(request)
        return lambda: self._exchange(
            "POST",
            f"/score/{request.endpoint}",
            lambda answer: decode_response(answer.body(), request),
            self._timeout_s,
            body,
        )

    def _exchange(
        self,
        method: str,
        path: str,
        read: Callable[[ArrivingAnswer], T],
        timeout_s: float,
        body: bytes = b"",
        kind: Mapping[str, str] = JSON,
        http: httpx.Client | None = None,
    ) -> T:
        """One attempt, by default over the pool; returns what `read` makes of the answer."""
        url = self._url + path
        with named_errors(url):
            with (
                deadline(timeout_s),
                (http or self._http).stream(
                    method, path, content=body, headers={**kind, **trace_headers()}
                ) as response,
            ):
                self._context.hear(response.headers.get("x-wire-version"))
                arriving = ArrivingAnswer(url, response, len(body))
                for part in response.iter_raw():
                    arriving.add(part)
            return read(arriving)
