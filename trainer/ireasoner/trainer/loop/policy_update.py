"""One update of the policy: the rows it trains on, what their log-probabilities are compared with, and the loss.

It departs from TRL's GRPO in four points:
    groups without a learning signal are left out before a forward pass is spent on them
    micro-batches are weighed by their rows
    TRL's importance correction is applied to rollouts of our rollout server
    each prompt of a group is computed once, and padding in attention alone
"""

import logging
from contextlib import AbstractContextManager
from typing import Any

import torch
from trl import GRPOConfig

from ireasoner.trainer.adapters.architecture import IMAGE_INPUTS
from ireasoner.trainer.adapters.backbone import active_adapter
from ireasoner.trainer.adapters.sharded_backbone import is_sharded
from ireasoner.trainer.loop.micro_batches import split_into_micro_batches
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.shared_prompt import PackedOnce, can_pack
from ireasoner.trainer.loop.trl_internals import Batch, GrpoInternals, LogProbabilities
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.settings import Role, RunSettings

logger = logging.getLogger(__name__)

_LOGPROB_GAP_ALARM_NATS = 0.1
"""Mean difference per token that is reported: far above what bfloat16 kernels differ by, far below another policy's."""

_IMAGE_INPUTS = (*IMAGE_INPUTS, "num_images", "num_tiles")


class PolicyUpdate(GrpoInternals):
    """TRL's GRPO on groups that were rolled out and scored elsewhere.

    A subclass sets `groups` in `scored_batch`, in the order of the batch's rows.

    Args:
        settings: The run.
        ranks: The processes of the run; each trains on its part of the batch.
        trl: Arguments of TRL's trainer.

    Attributes:
        role: The role that the update trains.
        groups: The groups of the update.
        micro_batches: This process's micro-batches of the update; none if no group has a learning signal.
    """

    def __init__(self, settings: RunSettings, ranks: Ranks, **trl: Any) -> None:
        self.settings = settings
        self.ranks = ranks
        self.role: Role = "solver"
        self.groups: list[Group] = []
        self.micro_batches: list[Batch] = []
        self._row_prompts = torch.empty(0)
        self._packed = PackedOnce()
        self._trained_logps: torch.Tensor | None = None
        super().__init__(**trl)

    def scored_batch(self) -> Batch:
        """This process's rows of the update, with rewards and advantages; a subclass defines them."""
        raise NotImplementedError

    def inputs_of(self, index: int) -> Batch:
        """The inputs of micro-batch `index` of the update; empty if the update has fewer."""
        if index == 0:
            self.micro_batches = self._split(self.scored_batch())
        if index >= len(self.micro_batches):
            return {}
        self._row_prompts = self.micro_batches[index]["prompts"]
        return self.compared(self.micro_batches[index])

    def has_signal(self, group: Group) -> bool:
        """Whether the group's advantages can be other than 0."""
        if self.settings.advantage == "moving_baseline":
            return group.has_reward
        return group.has_spread

    def _split(self, batch: Batch) -> list[Batch]:
        """The micro-batches over this process's rows that have a reward, in groups with a learning signal."""
        trained = [
            self.has_signal(group) and reward is not None for group in self.groups for reward in group.rewards
        ]
        prompts = [prompt for group in self.groups for prompt in group.prompts]
        prompt_of_row = [index for index, prompt in enumerate(prompts) for _ in range(prompt.count)]
        batch["prompts"] = torch.tensor(self.ranks.own(prompt_of_row), device=self.accelerator.device)
        self.add_metric("rollouts_trained", sum(trained))
        return split_into_micro_batches(
            batch, trained, self.args.per_device_train_batch_size, self.accelerator
        )

    def compared(self, micro_batch: Batch) -> Batch:
        """A micro-batch with the log-probabilities that the policy's are compared with.

        The policy loss uses the ratio to the policy that sampled, as the server served it. With TRL's importance
        correction, for servers whose log-probabilities differ, it uses the ratio to the same policy in the trainer,
        and the correction accounts for the rest.
        """
        batch = self.training_inputs(micro_batch)
        with torch.no_grad(), self.without_gradient_checkpointing():
            if self.vllm_importance_sampling_correction:
                own = batch["old_per_token_logps"] = self._logps(batch)
                batch["importance_sampling_ratio"] = ratio = importance_ratio(
                    own, batch["sampling_per_token_logps"], batch["completion_mask"], self.args
                )
                self.add_metric("importance_sampling_ratio/mean", ratio.mean().item())
            if self.beta:
                with self.reference_policy():
                    batch["ref_per_token_logps"] = self._logps(batch)
        return batch

    def training_inputs(self, micro_batch: Batch) -> Batch:
        """The inputs of the training forward pass, with the log-probabilities of the policy that sampled."""
        return {**micro_batch, "old_per_token_logps": micro_batch["sampling_per_token_logps"]}

    def reference_policy(self) -> AbstractContextManager[Any]:
        """Makes the policy the KL reference while the block lasts: the backbone with adapters off."""
        return active_adapter(self.accelerator.unwrap_model(self.model), None)

    def _logps(self, batch: Batch) -> torch.Tensor:
        """Log-probability of each completion token under the active adapter, shape (rows, tokens)."""
        return self.log_probabilities(
            self.model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
            batch["completion_ids"].size(1),
            **{name: batch[name] for name in _IMAGE_INPUTS if name in batch},
        )[0]

    def log_probabilities(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        completion_tokens: int,
        *args: Any,
        **kwargs: Any,
    ) -> LogProbabilities:
        """What TRL computes, but each prompt once; see `shared_prompt`."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, **kwargs}
        # Gradient checkpointing recomputes activations in the backward pass, where the model attends as usual again.
        # Packing calls the vision tower alone; a sharded backbone must be called as a whole.
        base = self.accelerator.unwrap_model(model).get_base_model()
        is_packed = can_pack(base.model) and not is_sharded(base) and not self.args.gradient_checkpointing
        if not is_packed or inputs.get("image_grid_thw") is None:
            computed = super().log_probabilities(
                model, input_ids, attention_mask, completion_tokens, *args, **kwargs
            )
        else:
            computed = self._after_shared_prompts(model, base.model, inputs, completion_tokens)
        self._trained_logps = computed[0].detach()
        return computed

    def _after_shared_prompts(
        self, model: Any, backbone: Any, inputs: Batch, completion_tokens: int
    ) -> LogProbabilities:
        with self.accelerator.autocast():
            packed = self._packed.of(backbone, inputs, self._row_prompts, completion_tokens)
            with packed.read_by(backbone):
                outputs = model(**packed.inputs, shift_labels=packed.targets[None], fused_lm_head=True)
        entropies = packed.padded(outputs.entropy[0]) if inputs.get("compute_entropy") else None
        return packed.padded(outputs.log_probs[0]), entropies, None

    def policy_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        """TRL's loss of a micro-batch, weighed by its share of the update; 0 if there is nothing left to train."""
        if not inputs:
            # No parameter takes part: none gets a gradient, so none is stepped or decayed.
            return torch.zeros((), device=self.accelerator.device, requires_grad=True)
        # Some of TRL's losses are means over a micro-batch divided by the number of micro-batches. These are unequal,
        # so each is divided as if all had its size. The losses that divide by all tokens undo that division.
        tokens = inputs["num_items_in_batch"] * inputs["share"] * self.args.steps_per_generation
        loss = self.weighted_loss(
            model,
            {**inputs, "num_items_in_batch": tokens},
            micro_batches=1 / inputs["share"],
            importance_corrected="importance_sampling_ratio" in inputs,
        )
        self._log_logprob_gap(inputs)
        return loss

    def _log_logprob_gap(self, inputs: Batch) -> None:
        """Logs how far sampled and recomputed log-probabilities are apart, and warns if it is far."""
        assert self._trained_logps is not None
        mask = inputs["completion_mask"].bool()
        if not mask.any():
            return
        gap = (self._trained_logps - inputs["sampling_per_token_logps"]).abs()[mask]
        mean_gap = gap.mean().item()
        if mean_gap > _LOGPROB_GAP_ALARM_NATS:
            logger.warning(
                "update %d: sampled and recomputed log-probabilities of the %s differ by %.3f nats per token on "
                "average: %s",
                self.state.global_step + 1,
                self.role,
                mean_gap,
                "they were sampled before the last update of this role, which has changed it much"
                if any(group.staleness for group in self.groups)
                else "does the server serve the policy that is trained?",
            )
        self.add_metric("logprob_gap/mean", mean_gap)
        self.add_metric("logprob_gap/max", gap.max().item())


def importance_ratio(
    trained: torch.Tensor, sampled: torch.Tensor, mask: torch.Tensor, config: GRPOConfig
) -> torch.Tensor:
    """exp(trained - sampled), bounded as `config` says: clipped (`*_truncate`), or 0 if out of bounds (`*_mask`).

    vLLM in bfloat16 and the trainer use different kernels, so the same weights give different log-probabilities. TRL
    weighs each token's (or sequence's) loss by this ratio, but only for rollouts of its own vLLM client; this is its
    formula, with its options (`vllm_importance_sampling_*` of `GRPOConfig`).

    Args:
        trained: Log-probability of each sampled token, recomputed by the trainer, shape (rows, tokens).
        sampled: The same as sampled.
        mask: 1 for a token of the completion, shape (rows, tokens).
        config: TRL's `vllm_importance_sampling_mode`, `_clip_min` and `_clip_max`.

    Returns:
        Shape (rows, tokens) in the `token_*` modes, (rows, 1) in the `sequence_*` modes.
    """
    difference = (trained - sampled) * mask
    level, _, bound = config.vllm_importance_sampling_mode.partition("_")
    if level == "sequence":
        difference = difference.sum(dim=-1, keepdim=True)
    ratio = difference.exp()
    low, high = config.vllm_importance_sampling_clip_min, config.vllm_importance_sampling_clip_max
    clipped = ratio if low is None and high is None else ratio.clamp(min=low, max=high)
    return clipped if bound == "truncate" else ratio.where(clipped == ratio, 0.0)
