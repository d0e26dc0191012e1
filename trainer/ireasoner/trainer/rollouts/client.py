"""Rollouts and adapters over the OpenAI-compatible API of a running vLLM."""

import base64
import contextlib
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast
from weakref import WeakSet

import httpx

from ireasoner.clients.retry import Retry
from ireasoner.trainer.errors import (
    PolicyMissingError,
    RolloutRequestRefused,
    RolloutServerError,
    RolloutServerUnavailable,
)
from ireasoner.trainer.rollouts.busy_clock import BusyClock
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract

Sampled = TypeVar("Sampled")

CHAT = "/v1/chat/completions"
_RETRIED_STATUS = frozenset({429, 502, 503, 504})
_REFUSED_STATUS = frozenset({400, 413, 422})
_LONGEST_DELAY_S = 15.0
_CONNECTIONS = 64
"""Requests in flight; a server with fewer slots queues the rest."""
_ENGINE = re.compile(r'^vllm:num_requests_running\{engine="(\d+)"', re.MULTILINE)


class RolloutClient:
    """Talks to one rollout server.

    Args:
        base_url: Address of the server, without `/v1`.
        api_key: Sent as a bearer token if given.
        timeout_s: Timeout of one request.
        retry_budget_s: Seconds to retry a request while the server is unreachable or overloaded.
        on_wait: Called with a message before a retry that may take longer than a second.
        is_alive: Whether the server can still answer; false ends every wait at once.

    Attributes:
        sampling: The time in which the server had rollouts to sample.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 300.0,
        retry_budget_s: float = 300.0,
        on_wait: Callable[[str], None] = lambda _: None,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._retry_budget_s = retry_budget_s
        self._on_wait = on_wait
        self._is_alive = is_alive
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=timeout_s,
            limits=limits,
            trust_env=False,
        )
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._retries = True
        self.sampling = BusyClock()
        self.pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="rollout")

    @property
    def members(self) -> tuple["RolloutClient", ...]:
        """This client alone; see `RolloutReplicas`."""
        return (self,)

    def close(self) -> None:
        """Closes the connections; requests in flight fail at once, and none is retried."""
        self.stop_retrying()
        self.pool.shutdown(wait=False, cancel_futures=True)
        for each in list(self._sockets):  # closing alone does not wake a thread that reads
            with contextlib.suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)
        self._http.close()

    def stop_retrying(self) -> None:
        """From now on, tries each request once."""
        self._retries = False

    def models(self) -> list[str]:
        """The names that the server serves: the base model and every loaded adapter.

        Raises:
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        return [str(model["id"]) for model in self.request("GET", "/v1/models").json()["data"]]

    def base_model(self) -> str:
        """The name under which the base model is served: the one that is no adapter of another.

        Raises:
            RolloutServerError: There is none, or as in `models`.
        """
        for model in self.request("GET", "/v1/models").json()["data"]:
            if model.get("parent") is None:
                return str(model["id"])
        raise RolloutServerError(f"{self.base_url}/v1/models lists no base model")

    def context_tokens(self) -> int | None:
        """The longest prompt and completion together that the server takes; None if it does not say.

        Raises:
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        models = self.request("GET", "/v1/models").json()["data"]
        lengths = [model["max_model_len"] for model in models if model.get("max_model_len")]
        return min(lengths, default=None)

    def load_adapter(self, name: str, path: str) -> None:
        """Loads the adapter in the folder `path` (on the server) under `name`, unless that name is loaded already.

        Raises:
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        try:
            self.request("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        except RolloutServerError:
            # A first try whose answer was lost may have loaded it; no name is used twice.
            if name not in self.models():
                raise

    def unload_adapter(self, name: str) -> None:
        """Unloads the adapter served as `name`, if it is loaded.

        Raises:
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        try:
            self.request("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except RolloutServerError:
            if name in self.models():
                raise

    def engines(self) -> int:
        """The number of vLLM engines behind the server: its `--data-parallel-size`.

        Raises:
            RolloutServerError: The metrics name no engine, or as in `models`.
        """
        engines = set(_ENGINE.findall(self.request("GET", "/metrics").text))
        if not engines:
            raise RolloutServerError(
                f"{self.base_url}/metrics names no vLLM engine: was the server started with --disable-log-stats?"
            )
        return len(engines)

    def sample(
        self,
        policy: str,
        requests: Sequence[RolloutRequest],
        contract: SamplingContract,
        engine: int | None = None,
    ) -> list[list[Rollout]]:
        """Samples every request from `policy`; returns one list per request, in order, of `count` rollouts each.

        Args:
            policy: The name under which it is served.
            requests: What to sample.
            contract: How to sample.
            engine: Index of the server's engine that answers; None leaves the choice to the server.

        Raises:
            PolicyMissingError: The server does not serve `policy`.
            RolloutServerError: A request was refused, or the server was unreachable for longer than the budget.
        """
        headers = None if engine is None else {"X-data-parallel-rank": str(engine)}
        return self._at_once(requests, lambda request: self._sample_one(policy, request, contract, headers))

    def texts(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        """Samples the same rollouts as `sample`, and returns their texts: without log-probabilities it takes less time.

        Raises:
            PolicyMissingError: The server does not serve `policy`.
            RolloutServerError: A request was refused, or the server was unreachable for longer than the budget.
        """
        return self._at_once(requests, lambda request: self._texts_of_one(policy, request, contract))

    def _at_once(
        self, requests: Sequence[RolloutRequest], ask: Callable[[RolloutRequest], Sampled]
    ) -> list[Sampled]:
        """What `ask` returns for each request, in order."""
        futures = [self.pool.submit(ask, request) for request in requests]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _sample_one(
        self,
        policy: str,
        request: RolloutRequest,
        contract: SamplingContract,
        headers: Mapping[str, str] | None,
    ) -> list[Rollout]:
        choices, prompt_token_ids = self._choices(policy, request, contract, {"logprobs": True}, headers)
        return [self._rollout(choice, policy, request, prompt_token_ids) for choice in choices]

    def _texts_of_one(self, policy: str, request: RolloutRequest, contract: SamplingContract) -> list[str]:
        choices, _ = self._choices(policy, request, contract, {})
        return [_text(choice) for choice in choices]

    def _choices(
        self,
        policy: str,
        request: RolloutRequest,
        contract: SamplingContract,
        fields: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> tuple[list[Mapping[str, Any]], tuple[int, ...]]:
        """The choices of the answer to one request, in order, and the prompt's tokens; `fields` join the body."""
        body = {
            "model": policy,
            "messages": with_image(request),
            "n": request.count,
            "seed": request.seed,
            "return_token_ids": True,
            **contract.request_fields(),
            **fields,
        }
        with self.sampling.working():
            answer = self.request("POST", CHAT, body, headers).json()
        if answer["model"] != policy:
            raise RolloutServerError(f"{self.base_url} answered as {answer['model']!r} instead of {policy!r}")
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        if len(choices) != request.count:
            raise RolloutServerError(
                f"{self.base_url} returned {len(choices)} rollouts of {policy} instead of {request.count}"
            )
        self._refuse_forbidden(choices, contract)
        return choices, tuple(answer["prompt_token_ids"])

    def _refuse_forbidden(self, choices: Sequence[Mapping[str, Any]], contract: SamplingContract) -> None:
        """Raises if the server does not apply `logit_bias`, as vLLM with speculative decoding."""
        sampled = {token_id for choice in choices for token_id in choice["token_ids"]}
        if forbidden := sorted(sampled & set(contract.forbidden_token_ids)):
            raise RolloutServerError(
                f"{self.base_url} sampled token {forbidden[0]}, which the request forbids by logit_bias: does the "
                "server decode speculatively?"
            )

    def _rollout(
        self,
        choice: Mapping[str, Any],
        policy: str,
        request: RolloutRequest,
        prompt_token_ids: tuple[int, ...],
    ) -> Rollout:
        token_ids = tuple(choice["token_ids"])
        logprobs = tuple(float(token["logprob"]) for token in choice["logprobs"]["content"])
        if len(token_ids) != len(logprobs):
            raise RolloutServerError(
                f"{self.base_url} returned {len(token_ids)} token ids and {len(logprobs)} log-probabilities"
            )
        return Rollout(
            text=_text(choice),
            token_ids=token_ids,
            logprobs=logprobs,
            prompt_token_ids=prompt_token_ids,
            finish_reason=choice["finish_reason"],
            policy=policy,
            seed=request.seed + int(choice["index"]),
        )

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Sends one request, and retries it while the server is unreachable or overloaded and the budget lasts.

        Raises:
            PolicyMissingError: The server does not serve the policy of a chat completion.
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        retry = Retry(
            self._retry_budget_s,
            longest_delay_s=_LONGEST_DELAY_S,
            is_alive=lambda: self._retries and self._is_alive(),
            on_wait=lambda error, left_s: self._on_wait(
                f"rollout server: {error}; retrying for another {left_s:.0f} s"
            ),
        )
        try:
            return retry.call(lambda: self._try(method, path, body, headers))
        except RolloutServerUnavailable as error:
            raise RolloutServerError(f"{error}; {self._why_no_more_tries()}") from error

    def _why_no_more_tries(self) -> str:
        if not self._retries:
            return "the run is ending"
        if not self._is_alive():
            return "the rollout server has ended"
        return f"after {self._retry_budget_s:.0f} s of retries"

    def _note_socket(self, event: str, details: Mapping[str, Any]) -> None:
        """Keeps the sockets that httpx opens; see its extension `trace`."""
        if event == "connection.connect_tcp.complete":
            self._sockets.add(details["return_value"].get_extra_info("socket"))

    def _try(self, method: str, path: str, body: object, headers: Mapping[str, str] | None) -> httpx.Response:
        what = f"{method} {self.base_url}{path}"
        try:
            response = self._http.request(
                method, path, json=body, headers=headers, extensions={"trace": self._note_socket}
            )
        except httpx.TransportError as error:
            raise RolloutServerUnavailable(f"{what}: {type(error).__name__}: {error}") from error
        if response.is_success:
            return response
        reason = f"{what}: {response.status_code} {response.text[:500]}"
        if response.status_code == httpx.codes.NOT_FOUND and path == CHAT:
            raise PolicyMissingError(reason)
        if response.status_code in _RETRIED_STATUS:
            raise RolloutServerUnavailable(reason)
        if response.status_code in _REFUSED_STATUS and path == CHAT:
            raise RolloutRequestRefused(reason)
        raise RolloutServerError(reason)


def with_image(request: RolloutRequest) -> list[dict[str, object]]:
    """The messages with the image as a data URL, in the form of the OpenAI API."""
    if request.image_png is None:
        return request.messages
    url = "data:image/png;base64," + base64.b64encode(request.image_png).decode()
    image_part = {"type": "image_url", "image_url": {"url": url}}
    filled: list[dict[str, object]] = []
    for message in request.messages:
        content = message["content"]
        if isinstance(content, list):
            content = [image_part if part["type"] == "image" else part for part in content]
        filled.append({**message, "content": content})
    return filled


def _text(choice: Mapping[str, Any]) -> str:
    """The text of one choice of a chat completion."""
    return cast(str, choice["message"]["content"] or "")
