"""The canary: proof that the server serves the adapter that was just published.

The server completes one short prompt greedily with the new version, and the trainer scores the completion with the same
adapter. The prompts are compared first, token by token: with another prompt, log-probabilities prove nothing about the
weights. Then each token must be the trainer's first choice, with the trainer's log-probability, within a tolerance. The
prompt is the same at each publication, so stale key-value blocks in a prefix cache are found.
"""

from typing import Any

import torch
from PIL import Image

from ireasoner.trainer.adapters.architecture import IMAGE_INPUTS, TOKEN_TYPES, prompt_inputs
from ireasoner.trainer.adapters.backbone import active_adapter
from ireasoner.trainer.adapters.first_process import FirstProcess, only_process
from ireasoner.trainer.errors import CanaryError, RolloutMismatchError
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompt_difference import prompt_difference
from ireasoner.trainer.rollouts.prompts import proposer_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import AdapterName

MAX_TOKENS = 8


class Canary:
    """Compares what the rollout server serves with the trainer's own policy.

    Args:
        client: The rollout server.
        processor: The policy's processor.
        picture: The image of the prompt.
        forbidden_token_ids: Tokens that are never sampled.
        tolerance_nats: Largest difference of log-probabilities, in nats per token: on average over the tokens, and from
            each token to the trainer's first choice, to which rounding in the trainer's precision is added.
    """

    def __init__(
        self,
        client: RolloutClient | RolloutReplicas,
        processor: Any,
        picture: Image.Image,
        *,
        forbidden_token_ids: tuple[int, ...],
        tolerance_nats: float,
    ) -> None:
        self._client = client
        self._processor = processor
        self._tolerance_nats = tolerance_nats
        self._contract = SamplingContract(
            MAX_TOKENS, temperature=0.0, forbidden_token_ids=forbidden_token_ids
        )
        self._request = RolloutRequest(proposer_messages(), png_bytes(picture), 1, 0)
        made = prompt_inputs(processor, picture)
        self._inputs = {name: made[name] for name in ("input_ids", *IMAGE_INPUTS) if name in made}

    def check(
        self, policy: Any, role: AdapterName, name: str, first_process: FirstProcess = only_process
    ) -> float:
        """Returns the mean difference of served and own log-probabilities, in nats per token.

        Checks every engine of every replica, and returns the largest difference. The first process asks the servers and
        compares; every process makes the forward passes, because a sharded backbone needs them all.

        Args:
            policy: The trainer's policy, with the adapter of `role` as it was published.
            role: The adapter's role.
            name: The name under which it is served.
            first_process: Calls a function in the first process alone.

        Raises:
            RolloutMismatchError: The server's prompt is not the trainer's; the message says why.
            CanaryError: The server serves another policy under that name.
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        served = first_process(lambda: self._ask(name))
        own = [self._read(policy, role, rollout) for rollout in served.values()]

        def compare() -> float:
            pairs = zip(served.items(), own, strict=True)
            return max(
                self._gap_nats(name, engine, rollout, *logprobs) for (engine, rollout), logprobs in pairs
            )

        return first_process(compare)

    def _ask(self, name: str) -> dict[str, Rollout]:
        """The completion of each engine, by its address."""
        completions = {}
        own_prompt = self._inputs["input_ids"][0].tolist()
        for member in self._client.members:
            for engine in range(member.engines()):
                [[served]] = member.sample(name, [self._request], self._contract, engine)
                address = f"{member.base_url} (engine {engine})"
                if difference := prompt_difference(served.prompt_token_ids, own_prompt, self._processor):
                    raise RolloutMismatchError(f"{address}: {difference}")
                completions[address] = served
        return completions

    def _gap_nats(
        self,
        name: str,
        engine: str,
        served: Rollout,
        own: torch.Tensor,
        first_choice: torch.Tensor,
        rounding_nats: float,
    ) -> float:
        """The mean difference for one engine; `own`, `first_choice` and `rounding_nats` as `_read` returns them."""
        sampled = torch.tensor(served.logprobs)
        gap_nats = (own - sampled).abs().mean().item()
        short_nats = (first_choice - own).max().item()
        if not max(gap_nats, short_nats - rounding_nats) <= self._tolerance_nats:
            raise CanaryError(
                f"{engine} does not serve {name} as it was trained: log-probabilities of {len(own)} greedy tokens "
                f"differ by {gap_nats:.4f} nats on average, and a token is {short_nats:.4f} nats below the trainer's "
                f"first choice (rollout.canary_tolerance is {self._tolerance_nats})"
            )
        return gap_nats

    def _read(
        self, policy: Any, role: AdapterName, served: Rollout
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """The trainer's log-probability of each served token and of its own first choice, both (tokens,).

        And how far rounding alone can set two tokens apart, in nats: bfloat16 has steps of 0.125 between 16 and 32.
        """
        completion = torch.tensor(served.token_ids)
        ids = torch.cat([self._inputs["input_ids"][0], completion])[None]
        inputs = {**self._inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        for name in TOKEN_TYPES:
            if name in inputs:
                types = inputs[name]
                inputs[name] = torch.cat([types, types.new_zeros(1, len(completion))], dim=1)
        training = policy.training
        policy.eval()
        try:
            with torch.no_grad(), active_adapter(policy, role):
                # A vocabulary is large: the logits of a prompt with an image would take gigabytes.
                logits = policy(
                    **{k: v.to(policy.device) for k, v in inputs.items()}, logits_to_keep=len(completion) + 1
                ).logits
        finally:
            policy.train(training)
        logits = logits[0, -len(completion) - 1 : -1].float().cpu()
        # Accelerate turns the logits into float32; the head computed them in the precision of its weights.
        precision = torch.finfo(policy.get_output_embeddings().weight.dtype)
        rounding_nats = logits.amax(dim=-1).abs().max().item() * precision.eps
        logits[:, list(self._contract.forbidden_token_ids)] = -torch.inf
        logprobs = logits.log_softmax(-1)
        return logprobs.gather(1, completion[:, None])[:, 0], logprobs.amax(dim=-1), rounding_nats
