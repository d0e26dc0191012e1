"""`ireasoner train --dry-run`: what a run would do and need, without loading weights."""

import re
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from ireasoner.trainer.adapters.sharded_backbone import layers
from ireasoner.trainer.commands.image_plan import image_plan
from ireasoner.trainer.commands.time_plan import time_plan
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.preflight import check_files, check_images, policy_shape, supported_config
from ireasoner.trainer.loop.role_schedule import role_at
from ireasoner.trainer.loop.shared_prompt import can_pack
from ireasoner.trainer.run_folder.extension import extended
from ireasoner.trainer.settings import ROLES, RunSettings

_GIB = 2**30
_ADAM_BYTES = 4 + 4 + 8
"""Weight, gradient and AdamW's two moments of a trained parameter, in float32."""
_SEQUENCE_TOKENS = 1536
"""Assumed length of a sequence: a prompt with an image of about a thousand tokens, and a rollout."""
GPUS = (1, 2, 4, 8, 16)
"""Numbers of GPUs that the memory per GPU is estimated for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run needs.

    Attributes:
        backbone_parameters: Frozen parameters.
        adapter_parameters: Trained parameters of one role.
        weights_gib: The backbone in bfloat16.
        fetched_gib: What is whole at a time in each process of a sharded backbone, in bfloat16: what belongs to no
            layer, the layer that computes, and the next one.
        training_gib: Both adapters with gradients and AdamW's moments.
        rollout_gib: Activations of one rollout of 1,536 tokens with gradient checkpointing: the input of each layer in
            bfloat16, and the widest layer's activations once.
        rollouts_per_pass: Rollouts in a forward pass on a single GPU.
        fixed_pass: Whether several GPUs each take as many (`micro_batch_size` is set), or share them.
        shares_prompts: Whether the rollouts of a prompt share its forward pass.
    """

    backbone_parameters: int
    adapter_parameters: int
    weights_gib: float
    fetched_gib: float
    training_gib: float
    rollout_gib: float
    rollouts_per_pass: int
    fixed_pass: bool
    shares_prompts: bool

    @property
    def activations_gib(self) -> float:
        """Activations of a forward pass on one GPU."""
        return self.rollouts_per_pass * self.rollout_gib

    @property
    def total_gib(self) -> float:
        """Everything on one GPU, without the rollout server's own memory."""
        return self.per_gpu_gib(1)

    def per_gpu_gib(self, gpus: int, *, sharded: bool = False) -> float:
        """Memory on each of `gpus` GPUs: the rollouts are divided, and if `sharded` the weights of the backbone too."""
        rollouts = self.rollouts_per_pass if self.fixed_pass else -(-self.rollouts_per_pass // gpus)
        weights = self.weights_gib / gpus + self.fetched_gib if sharded else self.weights_gib
        return weights + self.training_gib + rollouts * self.rollout_gib


def plan(
    settings: RunSettings, console: Console | None = None, *, within: re.Pattern[str] | None = None
) -> Plan:
    """Builds the policy without storage and counts its parameters; see `lora_config` for `within`.

    Raises:
        SettingsError: The model cannot be read, it has no layer named in `lora.target_modules`, or TRL refuses a
            field.
    """
    grpo = grpo_config(settings)
    config = supported_config(settings.model, console or Console(quiet=True))
    policy = policy_shape(settings, config, within=within)
    parameters = dict(policy.named_parameters())
    trained = sum(parameter.numel() for name, parameter in parameters.items() if "lora_" in name)
    frozen = sum(parameter.numel() for parameter in parameters.values()) - trained
    layer_sizes = [_frozen(layer) for layer in layers(policy.get_base_model())]
    text = config.get_text_config()
    stored = 2 * _SEQUENCE_TOKENS * text.hidden_size * text.num_hidden_layers
    widest = 2 * _SEQUENCE_TOKENS * (4 * text.hidden_size + 3 * text.intermediate_size)
    return Plan(
        backbone_parameters=frozen,
        adapter_parameters=trained,
        weights_gib=2 * frozen / _GIB,
        fetched_gib=2 * (frozen - sum(layer_sizes) + 2 * max(layer_sizes, default=0)) / _GIB,
        training_gib=len(ROLES) * trained * _ADAM_BYTES / _GIB,
        rollout_gib=(stored + widest) / _GIB,
        rollouts_per_pass=settings.rollouts_per_micro_batch,
        fixed_pass=settings.micro_batch_size is not None,
        shares_prompts=can_pack(policy.get_base_model().model) and not grpo.gradient_checkpointing,
    )


def _frozen(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for name, parameter in module.named_parameters() if "lora_" not in name)


def show_plan(settings: RunSettings, console: Console, *, within: re.Pattern[str] | None = None) -> Plan:
    """Prints the resolved settings and the plan; see `lora_config` for `within`.

    Of the servers it asks a rollout server that the settings name for its context, and goes on without an answer.

    Raises:
        TrainerError: The images or a setting cannot be used.
    """
    settings = extended(settings)
    check_files(settings)
    check_images(settings)
    with console.status(f"reading the shape of {settings.model}"):
        needed = plan(settings, console, within=within)
    images = image_plan(settings, console)
    images.images.warn_of_left_out()
    console.print_json(settings.model_dump_json())
    updates = [role_at(settings, update) for update in range(settings.updates)]
    table = Table("plan", "")
    for name, value in (
        *images.rows,
        (
            "updates",
            f"{updates.count('solver'):,} of the Solver, {updates.count('proposer'):,} of the Proposer",
        ),
        ("rollouts per update", f"{settings.rollouts_per_update:,}"),
        ("rollouts per forward pass", f"{settings.rollouts_per_micro_batch:,}"),
        ("parameters of the backbone", f"{needed.backbone_parameters:,}, frozen"),
        ("parameters of an adapter", f"{needed.adapter_parameters:,}, one adapter per role"),
        ("memory, backbone in bfloat16", f"{needed.weights_gib:.3g} GiB"),
        ("memory, adapters and AdamW", f"{needed.training_gib:.3g} GiB"),
        (f"memory, forward pass at {_SEQUENCE_TOKENS:,} tokens", f"{needed.activations_gib:.3g} GiB"),
        ("total memory, estimated", f"{needed.total_gib:.3g} GiB on the trainer's device"),
        *time_plan(settings, images, packed=needed.shares_prompts).rows,
    ):
        table.add_row(name, value)
    console.print(table)
    by_gpus = Table("number of GPUs", *map(str, GPUS))
    for sharded, label in ((False, "GiB on each, estimated"), (True, "with a sharded backbone")):
        estimates = [needed.per_gpu_gib(gpus, sharded=sharded and gpus > 1) for gpus in GPUS]
        by_gpus.add_row(label, *(f"{gib:.3g}" for gib in estimates))
    loading = (f"{gpus * needed.weights_gib:,.3g}" for gpus in GPUS)
    by_gpus.add_row("RAM while loading, if one machine has them all", *loading)
    console.print(by_gpus)
    return needed
