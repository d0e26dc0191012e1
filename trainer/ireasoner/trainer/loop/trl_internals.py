"""TRL's private names: all that the loop overrides or calls are in this file.

`tests/trainer/test_trl_internals.py` compares them with the installed TRL, and fails with the name that changed.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from ireasoner.trainer.adapters.sharded_backbone import is_sharded
from ireasoner.trainer.loop.distinct_prompts import DistinctPrompts

__all__ = ["Batch", "GrpoInternals", "split_pixel_values_by_grid", "unsplit_pixel_values_by_grid"]

Batch = dict[str, Any]
"""Inputs of TRL's loss by name: tensors and lists with one entry per row, and scalars."""

LogProbabilities = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Log-probabilities and entropies of the completion tokens, both (rows, tokens), and TRL's auxiliary loss."""


class GrpoInternals(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPO trainer with public names for the parts of an update that a subclass replaces.

    TRL calls, in this order for each micro-batch of an update:
        inputs_of         the inputs of the micro-batch
        policy_loss       its loss
        log_probabilities the log-probabilities that the loss is made of
    and for a checkpoint `write_checkpoint` and `read_weights`. When an update is logged and, where one is due, its
    checkpoint written, it calls `end_update`.
    """

    current_gradient_accumulation_steps: float
    processing_class: Any

    def inputs_of(self, index: int) -> Batch:
        """The inputs of micro-batch `index` (from 0) of the update; a subclass defines them."""
        raise NotImplementedError

    def policy_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        """TRL's loss of a micro-batch."""
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        return loss

    def log_probabilities(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        completion_tokens: int,
        *args: Any,
        **kwargs: Any,
    ) -> LogProbabilities:
        """The log-probabilities of the last `completion_tokens` tokens, as TRL computes them."""
        computed: LogProbabilities = super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, completion_tokens, *args, **kwargs
        )
        return computed

    def write_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes `checkpoint-{update}` into `args.output_dir`."""
        super()._save_checkpoint(model, trial)

    def read_weights(self, checkpoint: str, model: Any = None) -> None:
        """Loads the adapters of a checkpoint, and nothing else of it."""
        super()._load_from_checkpoint(checkpoint, model)

    def end_update(self) -> None:
        """Called when an update is whole; a subclass defines it."""
        raise NotImplementedError

    # What subclasses use of TRL.

    @property
    def metrics(self) -> dict[str, list[float]]:
        """The values that the update has logged so far, by metric; TRL logs their means."""
        metrics: dict[str, list[float]] = self._metrics["train"]
        return metrics

    def rename_metrics(self, prefix: str) -> None:
        """Puts `prefix` before the name of each metric of the update; those without a value are dropped.

        Trackers take no `None`, which TRL logs in the place of a mean of nothing.
        """
        renamed = {
            f"{prefix}{name}": values
            for name, values in self.metrics.items()
            if not all(map(math.isnan, values))
        }
        self._metrics["train"] = defaultdict(list, renamed)

    def add_metric(self, name: str, value: float) -> None:
        """Adds one value to a metric of the update."""
        self.metrics[name].append(value)

    def scored_by_trl(self, rows: list[dict[str, Any]]) -> Batch:
        """Rows with completions, rewards and group advantages, from the trainer's `rollout_func` and `reward_funcs`."""
        processor, self.processing_class = self.processing_class, DistinctPrompts(self.processing_class)
        try:
            scored: Batch = self._generate_and_score_completions(rows)
        finally:
            self.processing_class = processor
        return scored

    def forget_logged_rows(self) -> None:
        """Empties TRL's table of completions, which keeps the rows of a whole batch: an update can have fewer."""
        tables = self._logs["rewards"], self._logs["extra"], self._logs
        for column in (column for table in tables for column in table.values() if isinstance(column, deque)):
            column.clear()

    def replace_logged_advantages(self, advantages: list[float]) -> None:
        """Puts advantages of our own into TRL's table of completions, one per row of all processes."""
        self._logs["advantages"].clear()
        self._logs["advantages"].extend(advantages)

    def convert_logged_texts(self, convert: Callable[[Any], str]) -> None:
        """Converts the prompts and completions of TRL's table of completions."""
        for name in ("prompt", "completion"):
            entries = self._logs[name]
            self._logs[name] = deque(map(convert, entries), entries.maxlen)

    def weighted_loss(
        self, model: Any, inputs: Batch, *, micro_batches: float, importance_corrected: bool
    ) -> torch.Tensor:
        """TRL's loss of a micro-batch that counts as one of `micro_batches` equal parts of the update.

        Args:
            model: The policy.
            inputs: The micro-batch.
            micro_batches: The divisor of the loss types that are means per micro-batch.
            importance_corrected: Whether `inputs` hold importance ratios; TRL applies them only if it believes that
                its own vLLM client sampled the rollouts.
        """
        before, self.current_gradient_accumulation_steps = (
            self.current_gradient_accumulation_steps,
            micro_batches,
        )
        self.use_vllm = importance_corrected
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            self.current_gradient_accumulation_steps = before
            self.use_vllm = False
        return loss

    def leave_unwrapped(self) -> None:
        """Has accelerate leave the model as it is, so that nothing averages the gradients of several processes.

        It would wrap the model for a backward pass of every micro-batch (the last one can be empty here), and refuse a
        sharded backbone.
        """
        self.model._is_accelerate_prepared = True

    @property
    def is_last_micro_batch(self) -> bool:
        """Whether the micro-batch that is trained is the last one before the step of the optimizer."""
        return bool(self.accelerator.sync_gradients)

    def without_gradient_checkpointing(self) -> AbstractContextManager[None]:
        """Turns gradient checkpointing off while the block lasts."""
        off: AbstractContextManager[None] = disable_gradient_checkpointing(
            self.model, self.args.gradient_checkpointing_kwargs
        )
        return off

    # What TRL and transformers call.

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        return self.inputs_of(self._step % self.args.steps_per_generation)

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        return self.policy_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> LogProbabilities:
        return self.log_probabilities(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self.end_update()

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        if not is_sharded(model.get_base_model()):  # a sharded one is where it computes, and cannot be moved
            super()._move_model_to_device(model, device)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.write_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.read_weights(resume_from_checkpoint, model)
