"""Completions from any OpenAI-compatible server, with the fields of OpenAI's own API alone."""

from collections.abc import Sequence

from ireasoner.trainer.rollouts.client import CHAT, RolloutClient, with_image
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract


class ChatClient(RolloutClient):
    """Samples texts, one completion per request because not every server supports `n`; see `RolloutClient`.

    Of the sampling contract it sends `max_tokens`, `temperature`, `top_p` and the forbidden tokens.
    """

    def texts(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        """The completions of each request, in order.

        Raises:
            RolloutServerError: A request was refused, or the server was unreachable for longer than the budget.
        """
        futures = [
            [self.pool.submit(self._text, policy, request, contract, i) for i in range(request.count)]
            for request in requests
        ]
        try:
            return [[future.result() for future in group] for group in futures]
        finally:
            for group in futures:
                for future in group:
                    future.cancel()

    def _text(self, policy: str, request: RolloutRequest, contract: SamplingContract, index: int) -> str:
        body: dict[str, object] = {
            "model": policy,
            "messages": with_image(request),
            "seed": request.seed + index,
            "max_tokens": contract.max_tokens,
            "temperature": contract.temperature,
            "top_p": contract.top_p,
        }
        if contract.forbidden_token_ids:
            body["logit_bias"] = contract.logit_bias
        answer = self.request("POST", CHAT, body).json()
        return str(answer["choices"][0]["message"]["content"] or "")
