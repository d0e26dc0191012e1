"""The settings of a run, for TRL."""

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from transformers import Trainer
from transformers.integrations import (
    get_available_reporting_integrations,
    get_reporting_integration_callbacks,
)
from transformers.optimization import get_scheduler
from trl import GRPOConfig

from ireasoner.compat.spelling import did_you_mean
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.grpo_fields import AT_LEAST_0, AT_MOST_1, CHOICES, REFUSED
from ireasoner.trainer.loop.launcher import launched_processes
from ireasoner.trainer.loop.role_schedule import groups_at
from ireasoner.trainer.settings import RunSettings


def grpo_config(settings: RunSettings) -> GRPOConfig:
    """TRL's config; `settings.grpo` overrides the defaults set here.

    Raises:
        SettingsError: `settings.grpo` has a field that cannot be set (see `grpo_fields`) or a value that TRL refuses,
            or the rollouts of an update cannot be divided evenly among the processes.
    """
    rows, micro_batches = _micro_batches(settings)
    _refuse_fields(settings.grpo)
    chosen = _checked(settings.grpo)
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
        **chosen,
    }
    try:
        config = GRPOConfig(
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
            router_aux_loss_coef=0.0,  # by default, TRL adds a checkpoint's own auxiliary loss
            **passed,
        )
    except (TypeError, ValueError, OSError, ImportError) as error:  # ImportError: deepspeed is not installed
        raise SettingsError(f"grpo: {_one_line(error)}") from error
    _refuse_what_fails_later(config)
    return config


def _refuse_fields(chosen: Mapping[str, Any]) -> None:
    known = {field.name for field in fields(GRPOConfig)}
    for name in chosen:
        if name not in known:
            settable = sorted(known - REFUSED.keys())
            meant = did_you_mean(name, settable) or "; its fields are " + ", ".join(settable)
            raise SettingsError(f"grpo.{name}: TRL's GRPOConfig has no such field{meant}")
        if name in REFUSED:
            raise SettingsError(f"grpo.{name} {REFUSED[name]}")


def _checked(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of TRL's fields, which TRL itself does not check.

    Raises:
        SettingsError: A value has another type, or is one that only an update would refuse.
    """
    types = {field.name: field.type for field in fields(GRPOConfig)}
    checked = {}
    for name, value in chosen.items():
        if name in CHOICES:
            _refuse_choice(name, value)
            checked[name] = value
        else:
            checked[name] = _typed(name, types[name], value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and ((name in AT_LEAST_0 and value < 0) or (name in AT_MOST_1 and value > 1)):
            bound = "at least 0" if value < 0 else "at most 1"
            raise SettingsError(f"grpo.{name} must be {bound}, not {value!r}")
    return checked


def _refuse_choice(name: str, value: object) -> None:
    known = [str(choice) for choice in CHOICES[name] if isinstance(choice, str)]
    if not isinstance(value, Hashable) or value not in CHOICES[name]:
        raise SettingsError(
            f"grpo.{name} must be one of {', '.join(sorted(known))}, not {value!r}{did_you_mean(str(value), known)}"
        )


def _typed(name: str, kind: Any, value: object) -> Any:
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(fault["msg"] for fault in error.errors())
        raise SettingsError(f"grpo.{name}: {' or: '.join(reasons)}, not {value!r}") from error


def _refuse_what_fails_later(config: GRPOConfig) -> None:
    """Makes the optimizer, the schedule and the trackers of a run for one number, as transformers would after loading.

    Raises:
        SettingsError: One of them cannot be made: an argument is missing, or a package is not installed.
    """
    mode = config.vllm_importance_sampling_mode
    corrected = config.vllm_importance_sampling_correction
    if config.loss_type == "vespo" and corrected and not mode.startswith("token"):
        raise SettingsError(
            f'grpo.loss_type = "vespo" needs a token_* vllm_importance_sampling_mode, not {mode!r}'
        )
    for what, make in (("optim", _optimizer), ("lr_scheduler_type", _schedule), ("report_to", _trackers)):
        try:
            make(config)
        except (TypeError, ValueError, KeyError, ImportError, RuntimeError, AssertionError) as error:
            raise SettingsError(f"grpo.{what}: {_one_line(error)}") from error


def _optimizer(config: GRPOConfig) -> torch.optim.Optimizer:
    kind, arguments = Trainer.get_optimizer_cls_and_kwargs(config)
    optimizer: torch.optim.Optimizer = kind([torch.nn.Parameter(torch.zeros(1))], **arguments)
    return optimizer


def _schedule(config: GRPOConfig) -> None:
    get_scheduler(
        config.lr_scheduler_type,
        optimizer=_optimizer(config),
        num_warmup_steps=config.get_warmup_steps(config.max_steps),
        num_training_steps=config.max_steps,
        scheduler_specific_kwargs=config.lr_scheduler_kwargs,
    )


def _trackers(config: GRPOConfig) -> None:
    get_reporting_integration_callbacks(config.report_to)
    missing = sorted(set(config.report_to) - set(get_available_reporting_integrations()))
    if missing:
        raise ValueError(f"{', '.join(missing)} is not installed")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


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
