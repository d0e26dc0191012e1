"""The settings of a run, for TRL."""

import os
from dataclasses import fields
from typing import Any

import torch
from trl import GRPOConfig

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.role_schedule import groups_at
from ireasoner.trainer.settings import RunSettings, literals


def launched_processes() -> int:
    """The number of processes that a launcher started for this run; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def grpo_config(settings: RunSettings) -> GRPOConfig:
    """TRL's config; `settings.grpo` passes through unchanged and overrides the defaults set here.

    Raises:
        SettingsError: `settings.grpo` has a field or a value that TRL refuses, or the rollouts of an update cannot be
            divided evenly among the processes.
    """
    rows, micro_batches = _micro_batches(settings)
    unknown = sorted(settings.grpo.keys() - {field.name for field in fields(GRPOConfig)})
    if unknown:
        raise SettingsError(f"grpo.{unknown[0]}: TRL's GRPOConfig has no such field")
    on_gpu = torch.cuda.is_available()
    passed: dict[str, Any] = {
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "weight_decay": 0.01,
        "lr_scheduler_type": "constant",
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "loss_type": "grpo",
        # For servers whose log-probabilities differ from the trainer's: see policy_update.importance_ratio.
        "vllm_importance_sampling_correction": False,
        **literals(settings.grpo),
    }
    try:
        return GRPOConfig(
            output_dir=str(settings.run_folder / "checkpoints"),
            max_steps=settings.updates,
            seed=settings.seed,
            num_generations=settings.group_size,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=micro_batches,
            temperature=settings.rollout.temperature,
            max_completion_length=max(
                settings.rollout.solver_max_tokens, settings.rollout.proposer_max_tokens
            ),
            # TRL makes no forward pass of the reference if beta is 0; each update sets its own coefficient.
            beta=0.0 if settings.kl.mode == "none" else settings.kl.beta,
            save_strategy="steps",
            save_steps=settings.save_every,
            logging_steps=1,
            logging_first_step=True,
            remove_unused_columns=False,
            **passed,
        )
    except (TypeError, ValueError, ImportError) as error:  # ImportError: deepspeed is not installed
        raise SettingsError(f"grpo: {error}") from error


def _micro_batches(settings: RunSettings) -> tuple[int, int]:
    """Rows of one process per micro-batch, and micro-batches per update.

    Raises:
        SettingsError: The rollouts of an update cannot be divided evenly among the processes.
    """
    processes = launched_processes()
    rows = settings.micro_batch_size or settings.rollouts_per_update // processes
    if not rows or settings.rollouts_per_update % (rows * processes):
        raise SettingsError(
            f"the {settings.rollouts_per_update} rollouts of an update (group_size x groups_per_update) cannot be "
            f"divided among {processes} processes in micro-batches of {rows or 1} (micro_batch_size)"
        )
    if groups_at(settings, settings.proposer_every) * settings.group_size % processes:
        raise SettingsError(
            "the rollouts of a Proposer update (group_size x proposer_groups_per_update) cannot be divided among "
            f"{processes} processes"
        )
    return rows, settings.rollouts_per_update // (rows * processes)
