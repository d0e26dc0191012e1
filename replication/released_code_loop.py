"""The training loop with defects of the paper's released code put back, to measure their effect.

Each defect is a switch of `ReferenceDefects`, and an override of one method of the loop. The loop itself does not know
them. `python -m replication.released_code` trains one run.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from peft import LoraConfig, PeftModel
from rich.console import Console
from transformers import TrainerCallback

from ireasoner.trainer.adapters.backbone import lora_config
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.adapters.publisher import write_adapter
from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.commands.memory_plan import MemoryPlan
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.launcher import launched_processes
from ireasoner.trainer.loop.moving_baseline import MovingBaseline, moved
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.loop.trl_internals import Batch
from ireasoner.trainer.rewards.variant import RewardVariant
from ireasoner.trainer.rollouts.rollout import Rollout, SamplingContract
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import AdapterName, Role, RunSettings
from replication.released_code_settings import ReferenceDefects, ReleasedCodeSettings

_IMAGE_INPUTS = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")


class OrderDependentBaseline(MovingBaseline):
    """`one_moving_baseline`: the baseline moves with every reward, inside the group."""

    def advantages(self, role: Role, rewards: Sequence[float | None]) -> list[float]:
        """Each reward less the average of all before it; 0 without a reward."""
        advantages = []
        for reward in rewards:
            advantages.append(0.0 if reward is None else reward - self.values[role])
            if reward is not None:
                self.values[role] = moved(self.values[role], reward)
        return advantages


class ReleasedCodeTrainer(ProposerSolverTrainer):
    """The trainer with defects in the gradient put back."""

    settings: ReleasedCodeSettings

    @property
    def defects(self) -> ReferenceDefects:
        """The switches of the run."""
        return self.settings.reference_defects

    def take_groups(self, update: int) -> None:
        """Also logs how many defects are put back."""
        super().take_groups(update)
        self.add_metric("reference_defects", len(self.defects.put_back))

    def completion(self, rollout: Rollout) -> tuple[list[int], list[float]]:
        """`retokenised_completions`: the token ids of the stripped text, with one log-probability each."""
        if not self.defects.retokenised_completions:
            return super().completion(rollout)
        tokenizer = self.processing_class.tokenizer
        ids = tokenizer(rollout.text.strip(), add_special_tokens=False)["input_ids"]
        ids = ids or [tokenizer.eos_token_id]
        return ids, [*rollout.logprobs, *[0.0] * len(ids)][: len(ids)]

    def training_inputs(self, micro_batch: Batch) -> Batch:
        """`no_image_in_gradient`: the inputs without the image.

        The ratio to the sampled log-probabilities would compare two policies, so the gradient is taken at a ratio of 1,
        as in the released code; with `retokenised_completions` too.
        """
        inputs = super().training_inputs(micro_batch)
        if self.defects.no_image_in_gradient:
            inputs = {name: value for name, value in inputs.items() if name not in _IMAGE_INPUTS}
        if self.defects.no_image_in_gradient or self.defects.retokenised_completions:
            del inputs["old_per_token_logps"]
        return inputs

    def reference_policy(self) -> AbstractContextManager[Any]:
        """`kl_to_itself`: the reference is the policy as it is."""
        return nullcontext() if self.defects.kl_to_itself else super().reference_policy()


@dataclass(frozen=True, kw_only=True)
class ReleasedCodeAssembly(Assembly):
    """Makes the parts of a run with defects put back."""

    settings: ReleasedCodeSettings

    trainer_class: ClassVar[type[ProposerSolverTrainer]] = ReleasedCodeTrainer

    def trainer(self, callbacks: Sequence[TrainerCallback] = ()) -> ProposerSolverTrainer:
        """`frozen_proposer`: a callback discards the Proposer's gradient."""
        frozen = [_FrozenProposer()] if self.settings.reference_defects.frozen_proposer else []
        return super().trainer([*frozen, *callbacks])

    def sampling_contract(self, role: Role) -> SamplingContract:
        """`checkpoint_sampling_defaults`: the contract with the checkpoint's own defaults."""
        contract = super().sampling_contract(role)
        if not self.settings.reference_defects.checkpoint_sampling_defaults:
            return contract
        checkpoint = self.backbone.generation_config
        return replace(
            contract,
            top_k=checkpoint.top_k or contract.top_k,
            repetition_penalty=checkpoint.repetition_penalty or contract.repetition_penalty,
        )

    def baselines(self) -> MovingBaseline:
        """`one_moving_baseline`: the order-dependent baseline."""
        if self.settings.reference_defects.one_moving_baseline:
            return OrderDependentBaseline()
        return super().baselines()

    def lora(self) -> LoraConfig:
        """`adapters_on_vision_tower`: an adapter on every layer of these names."""
        return lora_config(self.backbone, self.settings.lora, within=_adapter_layers(self.settings))

    def write_adapter(self, policy: PeftModel, role: AdapterName, path: Path) -> None:
        """`adapters_on_vision_tower`: weights that vLLM ignores are written."""
        if self.settings.reference_defects.adapters_on_vision_tower:
            write_adapter(policy, role, path, refuse=lambda *_: None)
        else:
            super().write_adapter(policy, role, path)

    def canary(self) -> Canary | None:
        """`adapters_on_vision_tower`: no canary, since the served policy is another one."""
        return None if self.settings.reference_defects.adapters_on_vision_tower else super().canary()


class _FrozenProposer(TrainerCallback):  # type: ignore[misc]
    def on_pre_optimizer_step(self, *_: object, **kwargs: Any) -> None:
        for name, parameter in kwargs["model"].named_parameters():
            if ".proposer." in name:
                parameter.grad = None


def _adapter_layers(settings: ReleasedCodeSettings) -> re.Pattern[str] | None:
    """Matches the layers that may get an adapter; None: those of the language model."""
    return re.compile("") if settings.reference_defects.adapters_on_vision_tower else None


def show_plan_with_defects(settings: ReleasedCodeSettings, console: Console) -> MemoryPlan:
    """Prints what `ireasoner train --dry-run` prints, with the layers that a defect adds."""
    return show_plan(settings, console, within=_adapter_layers(settings))


def train_with_defects(
    settings: RunSettings,
    console: Console,
    *,
    variant: RewardVariant | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> RunFolder:
    """Trains as `ireasoner.trainer.loop.train.train` does, with the defects that `settings` put back.

    Raises:
        SettingsError: A run with defects was started in several processes.
        TrainerError: Something else that the user can act on.
        RewardError: The reward server refused, or was unreachable for longer than the budget.
    """
    put_back = settings.reference_defects.put_back if isinstance(settings, ReleasedCodeSettings) else []
    if not put_back:
        return train(settings, console, variant=variant, is_alive=is_alive)
    if launched_processes() > 1:
        raise SettingsError("reference_defects: an ablation runs in one process")
    console.print(
        f"[bold red]WRONG ON PURPOSE:[/] this run puts back {', '.join(put_back)} (reference_defects); its result is "
        "an ablation, not a method",
        highlight=False,
    )
    return train(settings, console, variant=variant, is_alive=is_alive, assembly=ReleasedCodeAssembly)
