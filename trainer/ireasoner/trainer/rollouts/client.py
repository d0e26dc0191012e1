"""Rollouts and adapters over the OpenAI-compatible API of a running vLLM."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from ireasoner.trainer.errors import PolicyMissingError, RolloutServerError
from ireasoner.trainer.rollouts.backoff import Backoff
from ireasoner.trainer.rollouts.busy_clock import BusyClock
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract

CHAT = "/v1/chat/completions"
_RETRIED_STATUS = frozenset({429, 502, 503, 504})
_ENGINE = re.compile(r'^vllm:num_requests_running\{engine="(\d+)"', re.MULTILINE)


class RolloutClient:
    """Talks to one rollout server.

    Args:
        base_url: Where the server listens, without `/v1`.
        api_key: Sent as a bearer token, if there is one.
        timeout_s: How long one request may take.
        retry_budget_s: How long to go on trying while the server is away or overloaded.
        concurrency: Requests in flight at most.
        on_wait: Called with a message each time a retry is waited for.
        is_alive: Whether the server can still come back; false ends every wait at once.

    Attributes:
        sampling: How long the server has had rollouts to sample.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 300.0,
        retry_budget_s: float = 300.0,
        concurrency: int = 64,
        on_wait: Callable[[str], None] | None = None,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._retry_budget_s = retry_budget_s
        self._on_wait = on_wait
        self._is_alive = is_alive
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=timeout_s,
            limits=limits,
            trust_env=False,
        )
        self.sampling = BusyClock()
        self.pool = ThreadPoolExecutor(concurrency, thread_name_prefix="rollout")

    @property
    def members(self) -> tuple["RolloutClient", ...]:
        """This one alone; see `RolloutReplicas`."""
        return (self,)

    def close(self) -> None:
        """Closes the connections; a request in flight is cut off."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def models(self) -> list[str]:
        """The names that the server serves: the base model and every loaded adapter.

        Raises:
            RolloutServerError: The server refused, or stayed away past the budget.
        """
        return [str(model["id"]) for model in self.request("GET", "/v1/models").json()["data"]]

    def load_adapter(self, name: str, path: str) -> None:
        """Loads the adapter in the folder `path` (as the server sees it) under `name`; done if it is loaded already.

        Raises:
            RolloutServerError: The server refused, or stayed away past the budget.
        """
        try:
            self.request("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        except RolloutServerError:
            # A first try whose answer was lost may have loaded it; names are never used twice.
            if name not in self.models():
                raise

    def unload_adapter(self, name: str) -> None:
        """Unloads the adapter served as `name`; done if the server does not have it (any more).

        Raises:
            RolloutServerError: The server refused, or stayed away past the budget.
        """
        try:
            self.request("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except RolloutServerError:
            if name in self.models():
                raise

    def engines(self) -> int:
        """How many engines of vLLM answer behind the server: its `--data-parallel-size`.

        Raises:
            RolloutServerError: The server's metrics name none, or it refused, or stayed away past the budget.
        """
        engines = set(_ENGINE.findall(self.request("GET", "/metrics").text))
        if not engines:
            raise RolloutServerError(
                f"{self.base_url}/metrics names no engine of vLLM (is it started with --disable-log-stats?)"
            )
        return len(engines)

    def sample(
        self,
        policy: str,
        requests: Sequence[RolloutRequest],
        contract: SamplingContract,
        engine: int | None = None,
    ) -> list[list[Rollout]]:
        """Samples every request from `policy`; one list a request, in order, of `count` rollouts each.

        Args:
            policy: The name that it is served under.
            requests: What to sample.
            contract: How.
            engine: Which of the server's `engines()` is to answer, from 0; whichever has least to do if None.

        Raises:
            PolicyMissingError: The server does not serve `policy`.
            RolloutServerError: A request was refused, or the server stayed away past the budget.
        """
        headers = None if engine is None else {"X-data-parallel-rank": str(engine)}
        futures = [
            self.pool.submit(self._sample_one, policy, request, contract, headers) for request in requests
        ]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def texts(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        """The completions of `sample`, as texts."""
        return [
            [rollout.text for rollout in rollouts] for rollouts in self.sample(policy, requests, contract)
        ]

    def _sample_one(
        self,
        policy: str,
        request: RolloutRequest,
        contract: SamplingContract,
        headers: Mapping[str, str] | None,
    ) -> list[Rollout]:
        body = {
            "model": policy,
            "messages": with_image(request),
            "n": request.count,
            "seed": request.seed,
            "logprobs": True,
            "return_token_ids": True,
            **contract.request_fields(),
        }
        with self.sampling.working():
            answer = self.request("POST", CHAT, body, headers).json()
        if answer["model"] != policy:
            raise RolloutServerError(f"{self.base_url} answered as {answer['model']!r}, asked for {policy!r}")
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        if len(choices) != request.count:
            raise RolloutServerError(
                f"{self.base_url} returned {len(choices)} rollouts of {policy}, asked for {request.count}"
            )
        prompt_token_ids = tuple(answer["prompt_token_ids"])
        rollouts = []
        for choice in choices:
            token_ids = tuple(choice["token_ids"])
            logprobs = tuple(float(token["logprob"]) for token in choice["logprobs"]["content"])
            if len(token_ids) != len(logprobs):
                raise RolloutServerError(
                    f"{self.base_url} returned {len(token_ids)} token ids and {len(logprobs)} log-probabilities"
                )
            rollouts.append(
                Rollout(
                    text=choice["message"]["content"] or "",
                    token_ids=token_ids,
                    logprobs=logprobs,
                    prompt_token_ids=prompt_token_ids,
                    finish_reason=choice["finish_reason"],
                    policy=policy,
                    seed=request.seed + int(choice["index"]),
                )
            )
        return rollouts

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Sends one request, again while the server is away or overloaded and the budget lasts.

        Raises:
            PolicyMissingError: A chat completion was asked of a policy that the server does not serve.
            RolloutServerError: The server refused, or stayed away past the budget.
        """
        backoff = Backoff(self._retry_budget_s, first_pause_s=0.25, is_alive=self._is_alive)
        while True:
            try:
                response = self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if response.is_success:
                    return response
                reason = f"{response.status_code} {response.text[:500]}"
                if response.status_code == httpx.codes.NOT_FOUND and path == CHAT:
                    raise PolicyMissingError(f"{method} {self.base_url}{path}: {reason}")
                if response.status_code not in _RETRIED_STATUS:
                    raise RolloutServerError(f"{method} {self.base_url}{path}: {reason}")
            if not self._is_alive():
                raise RolloutServerError(
                    f"{method} {self.base_url}{path}: {reason}; the rollout server has ended"
                )
            if not backoff.left_s:
                raise RolloutServerError(
                    f"{method} {self.base_url}{path}: {reason}, after {self._retry_budget_s:.0f} s of trying"
                )
            if self._on_wait is not None and backoff.pause_s >= 1:
                self._on_wait(f"rollout server: {reason}; trying for another {backoff.left_s:.0f} s")
            backoff.wait()


def with_image(request: RolloutRequest) -> list[dict[str, object]]:
    """The messages with the image put in as a data URL, as the OpenAI API takes it."""
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
