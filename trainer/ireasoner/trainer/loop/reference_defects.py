"""Defects of the code released with the paper, which a run can put back on purpose, to see what each is worth.

The switches are `ReferenceDefects` in `ireasoner.trainer.settings`, all off. What is here is wrong by intention: the
loop asks it at a few points, and with every switch off it changes nothing.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from transformers import TrainerCallback

from ireasoner.trainer.loop.micro_batches import Batch
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import SamplingContract
from ireasoner.trainer.settings import ROLES, ReferenceDefects, Role

_MOMENTUM = 0.9
"""How much of the moving baseline stays when a reward comes in; a choice of ours."""

_IMAGE_INPUTS = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")


class PutBack:
    """The defects that are put back in one run.

    Args:
        switches: Which.
        tokenizer: The policy's.

    Attributes:
        baselines: The moving average of the rewards of each role; used by `one_moving_baseline` alone.
    """

    def __init__(self, switches: ReferenceDefects, tokenizer: Any) -> None:
        self._switches = switches
        self._tokenizer = tokenizer
        self.baselines: dict[Role, float] = dict.fromkeys(ROLES, 0.0)

    def contract(self, contract: SamplingContract, generation_config: Any) -> SamplingContract:
        """`checkpoint_sampling_defaults`: the contract with what leaks in from the checkpoint."""
        if not self._switches.checkpoint_sampling_defaults:
            return contract
        return replace(
            contract,
            top_k=generation_config.top_k or contract.top_k,
            repetition_penalty=generation_config.repetition_penalty or contract.repetition_penalty,
        )

    def completion(self, text: str, token_ids: Sequence[int], logprobs: Sequence[float]) -> list[list[Any]]:
        """`retokenised_completions`: the token ids of the stripped text, with a log-probability each."""
        if not self._switches.retokenised_completions:
            return [list(token_ids), list(logprobs)]
        ids = self._tokenizer(text.strip(), add_special_tokens=False)["input_ids"] or [
            self._tokenizer.eos_token_id
        ]
        return [ids, [*logprobs, *[0.0] * len(ids)][: len(ids)]]

    def batch(self, batch: Batch) -> Batch:
        """`no_image_in_gradient`: a pass without its images.

        The ratio to the sampled log-probabilities would then compare two policies, so the gradient is taken at a
        ratio of 1, as the released code does; with `retokenised_completions` too.
        """
        kept = dict(batch)
        if self._switches.no_image_in_gradient:
            kept = {name: value for name, value in kept.items() if name not in _IMAGE_INPUTS}
        if self._switches.no_image_in_gradient or self._switches.retokenised_completions:
            del kept["old_per_token_logps"]
        return kept

    def reference(self, backbone: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
        """`kl_to_itself`: where the reference is computed; not the backbone, but the policy as it is."""
        return nullcontext() if self._switches.kl_to_itself else backbone

    def teaches(self, group: Group) -> bool:
        """Whether a group takes part in the update; against a moving baseline, one without spread does too."""
        return group.has_spread or (self._switches.one_moving_baseline and group.has_reward)

    def advantages(self, role: Role, groups: Sequence[Group], advantages: torch.Tensor) -> torch.Tensor:
        """`one_moving_baseline`: each reward less the average of all before it, shape (rollouts,)."""
        if not self._switches.one_moving_baseline:
            return advantages
        moving = []
        for reward in (reward for group in groups for reward in group.rewards):
            baseline = self.baselines[role]
            moving.append(0.0 if reward is None else reward - baseline)
            if reward is not None:
                self.baselines[role] = _MOMENTUM * baseline + (1 - _MOMENTUM) * reward
        return torch.tensor(moving, dtype=advantages.dtype, device=advantages.device)

    def callbacks(self) -> list[TrainerCallback]:
        """`frozen_proposer`: what throws the Proposer's gradient away."""
        return [_FrozenProposer()] if self._switches.frozen_proposer else []


class _FrozenProposer(TrainerCallback):  # type: ignore[misc]
    def on_pre_optimizer_step(self, *_: object, **kwargs: Any) -> None:
        for name, parameter in kwargs["model"].named_parameters():
            if ".proposer." in name:
                parameter.grad = None
