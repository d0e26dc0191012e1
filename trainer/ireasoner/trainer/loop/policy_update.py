"""One update of the policy: which rows it trains on, what their log-probabilities are compared with, and the loss.

It departs from TRL's GRPO in these places:
    _prepare_inputs   leaves out groups that have nothing to teach, before a forward pass is spent on them
    _compute_loss     weighs passes by their rows, applies TRL's importance correction to rollouts of our server, and
                      measures how far sampled and recomputed log-probabilities are apart
    _get_per_token_logps_and_entropies   computes the prompt of a group once
"""

import logging
from typing import Any

import torch
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from ireasoner.trainer.loop.importance import importance_ratio
from ireasoner.trainer.loop.micro_batches import Batch, split_into_passes
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.reference_defects import PutBack
from ireasoner.trainer.loop.shared_prompt import after_shared_prompts
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.settings import Role, RunSettings

logger = logging.getLogger(__name__)


class PolicyUpdate(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPO on groups that were rolled out and scored elsewhere; see the module.

    A subclass fills `_groups` in `_generate_and_score_completions`, in the order of the batch's rows.

    Args:
        settings: The run.
        defects: What of the released code's defects is put back.
        ranks: The processes of the run, each of which trains on its part of the batch.
        trl: What TRL's trainer takes.

    Attributes:
        role: Whose update it is.
    """

    current_gradient_accumulation_steps: float

    def __init__(self, settings: RunSettings, defects: PutBack, ranks: Ranks, **trl: Any) -> None:
        self.settings = settings
        self.ranks = ranks
        self.role: Role = "solver"
        self._defects = defects
        self._groups: list[Group] = []
        self._passes: list[Batch] = []
        self._row_groups = torch.empty(0)
        self._trained_logps: torch.Tensor | None = None
        super().__init__(**trl)

    def _prepare_inputs(self, generation_batch: list[dict[str, Any]]) -> Batch:
        """The inputs of the next pass of the update; empty where all that is to be learnt has been."""
        at = self._step % self.args.steps_per_generation
        if at == 0:
            batch = self._generate_and_score_completions(generation_batch)
            self._passes = self._split(batch)
        if at >= len(self._passes):
            return {}
        self._row_groups = self._passes[at]["groups"]
        return self._compared(self._passes[at])

    def _split(self, batch: Batch) -> list[Batch]:
        """The passes over this process's rows with something to teach: a reward, in a group whose rewards differ."""
        teaches = [
            self._defects.teaches(group) and reward is not None
            for group in self._groups
            for reward in group.rewards
        ]
        members = [number for number, group in enumerate(self._groups) for _ in group.rewards]
        batch["groups"] = torch.tensor(self.ranks.own(members), device=self.accelerator.device)
        self._metric("rollouts_trained", sum(teaches))
        self._metric("reference_defects", len(self.settings.reference_defects.put_back))
        return split_into_passes(batch, teaches, self.args.per_device_train_batch_size, self.accelerator)

    def _compared(self, batch: Batch) -> Batch:
        """A pass with the log-probabilities that the policy's are compared with.

        The ratio of the policy loss is to the policy that sampled, as it was served; or, with TRL's correction for
        servers whose log-probabilities differ, to the same policy in the trainer, and the correction makes up for
        the rest. The reference is the backbone with adapters off.
        """
        batch = self._defects.batch({**batch, "old_per_token_logps": batch["sampling_per_token_logps"]})
        gradient_free = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), gradient_free:
            if self.vllm_importance_sampling_correction:
                own = batch["old_per_token_logps"] = self._logps(batch)
                batch["importance_sampling_ratio"] = ratio = importance_ratio(
                    own, batch["sampling_per_token_logps"], batch["completion_mask"], self.args
                )
                self._metric("importance_sampling_ratio/mean", ratio.mean().item())
            if self.beta:
                backbone = use_adapter(self.accelerator.unwrap_model(self.model), None)
                with self._defects.reference(backbone):
                    batch["ref_per_token_logps"] = self._logps(batch)
        return batch

    def _logps(self, batch: Batch) -> torch.Tensor:
        """Log-probability of each completion token under the active adapter, shape (rows, tokens)."""
        images = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
        logps: torch.Tensor = self._get_per_token_logps_and_entropies(
            self.model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
            batch["completion_ids"].size(1),
            **{name: batch[name] for name in images if name in batch},
        )[0]
        return logps

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, **kwargs}
        if not self._shares_prompts or inputs.get("image_grid_thw") is None:
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        else:
            with self.accelerator.autocast():
                following = after_shared_prompts(
                    self.accelerator.unwrap_model(model).get_base_model().model,
                    inputs,
                    self._row_groups,
                    logits_to_keep,
                )
                labels = input_ids.masked_fill(attention_mask == 0, -100)[:, -logits_to_keep - 1 :]
                outputs = model(**following, labels=labels, fused_lm_head=True)
            logps, aux_loss = outputs.log_probs[:, -logits_to_keep:], None
            entropies = outputs.entropy[:, -logits_to_keep:] if kwargs.get("compute_entropy") else None
        self._trained_logps = logps.detach()
        return logps, entropies, aux_loss

    @property
    def _shares_prompts(self) -> bool:
        """Whether each group's prompt is computed once; recomputing activations needs passes without a cache."""
        return not self.args.gradient_checkpointing

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        if not inputs:
            # No parameter takes part in it: none gets a gradient, and so none is stepped or decayed.
            return torch.zeros((), device=self.accelerator.device, requires_grad=True)
        # TRL's losses are means over a pass divided by the number of passes; these are unequal, so each counts as
        # one of as many as there would be of its size. The losses that divide by all tokens undo that by themselves.
        passes, self.current_gradient_accumulation_steps = (
            self.current_gradient_accumulation_steps,
            1 / inputs["share"],
        )
        tokens = inputs["num_items_in_batch"] * inputs["share"] * self.args.steps_per_generation
        # TRL applies the correction to rollouts of its own vLLM client only, and asks for nothing else here.
        self.use_vllm = "importance_sampling_ratio" in inputs
        try:
            loss: torch.Tensor = super()._compute_loss(model, {**inputs, "num_items_in_batch": tokens})
        finally:
            self.current_gradient_accumulation_steps = passes
            self.use_vllm = False
        assert self._trained_logps is not None
        mask = inputs["completion_mask"].bool()
        if not mask.any():
            return loss
        gap = (self._trained_logps - inputs["sampling_per_token_logps"]).abs()[mask]
        mean_gap = gap.mean().item()
        if mean_gap > self.settings.rollout.logprob_gap_alarm:
            logger.warning(
                "update %d: sampled and recomputed log-probabilities of the %s differ by %.3f nats a token on average: "
                "is what is served what is trained?",
                self.state.global_step,
                self.role,
                mean_gap,
            )
        self._metric("logprob_gap/mean", mean_gap)
        self._metric("logprob_gap/max", gap.max().item())
        return loss

    def _metric(self, name: str, value: float) -> None:
        self._metrics["train"][name].append(value)
