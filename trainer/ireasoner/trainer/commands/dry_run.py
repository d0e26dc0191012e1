"""`ireasoner train --dry-run`: what a run would do and need, without loading a weight or asking a server."""

from dataclasses import dataclass

import torch
from peft import get_peft_model
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForImageTextToText

from ireasoner.trainer.adapters.backbone import (
    WRAPPED_LAYERS,
    load_config,
    lora_config,
    name_roles,
    role_parameters,
)
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.settings import ROLES, RunSettings

_GIB = 2**30
_ADAM_BYTES = 4 + 4 + 8
"""Weight, gradient and two moments of a trained parameter in float32; the inactive role has no gradient."""
_SEQUENCE_TOKENS = 1536
"""A prompt with an image of about a thousand tokens, and a rollout: the assumption of the activations' estimate."""
GPUS = (1, 2, 4, 8, 16)
"""Numbers of GPUs for which memory is estimated."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run needs.

    Attributes:
        backbone_parameters: Frozen parameters.
        adapter_parameters: Trained parameters of one role.
        weights_gib: The backbone in bfloat16.
        training_gib: Both adapters with gradients and Adam's moments.
        layer_gib: The largest layer in bfloat16, which is whole on each GPU while it computes.
        rollout_gib: Activations of one rollout of 1,536 tokens with gradient checkpointing: the input of each layer in
            bfloat16, and the widest layer's activations once.
        rollouts_per_pass: Of one GPU, where there is one.
        fixed_pass: Whether that stays where there are more, as `micro_batch_size` says.
    """

    backbone_parameters: int
    adapter_parameters: int
    weights_gib: float
    training_gib: float
    layer_gib: float
    rollout_gib: float
    rollouts_per_pass: int
    fixed_pass: bool

    @property
    def activations_gib(self) -> float:
        """Activations of a pass on one GPU."""
        return self.rollouts_per_pass * self.rollout_gib

    @property
    def total_gib(self) -> float:
        """All of it on one GPU; the rollout server's own memory is not in it."""
        return self.per_gpu_gib(1, sharded=False)

    def per_gpu_gib(self, gpus: int, *, sharded: bool) -> float:
        """What each of several GPUs has to hold.

        Args:
            gpus: How many there are.
            sharded: Whether weights, gradients and moments are shared out (FSDP, ZeRO-3), or whole on each.
        """
        rollouts = self.rollouts_per_pass if self.fixed_pass else -(-self.rollouts_per_pass // gpus)
        activations_gib = rollouts * self.rollout_gib
        held_gib = self.weights_gib + self.training_gib
        if not sharded:
            return held_gib + activations_gib
        # The next layer is fetched while one computes.
        return held_gib / gpus + 2 * self.layer_gib + activations_gib


def plan(settings: RunSettings) -> Plan:
    """Builds the policy without storage and counts.

    Raises:
        SettingsError: The model cannot be read, has no layer of a name in `lora.target_modules`, or TRL refuses a
            field.
    """
    grpo_config(settings)
    config = load_config(settings.model)
    with torch.device("meta"):
        backbone = AutoModelForImageTextToText.from_config(config)
        frozen = sum(parameter.numel() for parameter in backbone.parameters())
        shape = lora_config(backbone, settings.lora)
        policy = get_peft_model(backbone, shape)
        name_roles(policy, shape)
    trained = sum(parameter.numel() for parameter in role_parameters(policy, "solver").values())
    text = config.get_text_config()
    stored = 2 * _SEQUENCE_TOKENS * text.hidden_size * text.num_hidden_layers
    widest = 2 * _SEQUENCE_TOKENS * (4 * text.hidden_size + 3 * text.intermediate_size)
    layers = [module for module in policy.modules() if type(module).__name__ in WRAPPED_LAYERS]
    largest = max(sum(parameter.numel() for parameter in layer.parameters()) for layer in layers)
    return Plan(
        backbone_parameters=frozen,
        adapter_parameters=trained,
        weights_gib=2 * frozen / _GIB,
        training_gib=len(ROLES) * trained * _ADAM_BYTES / _GIB,
        layer_gib=2 * largest / _GIB,
        rollout_gib=(stored + widest) / _GIB,
        rollouts_per_pass=settings.rollouts_per_micro_batch,
        fixed_pass=settings.micro_batch_size is not None,
    )


def show_plan(settings: RunSettings, console: Console) -> Plan:
    """Prints the resolved settings and the plan; the servers are not asked.

    Raises:
        TrainerError: The images or a setting cannot be used.
    """
    images = ImageFolder.scan(settings.images)
    with console.status(f"reading the shape of {settings.model}"):
        needed = plan(settings)
    console.print_json(settings.model_dump_json())
    table = Table("plan", "")
    table.add_row("images", f"{len(images.paths):,}, and {len(images.skipped):,} unreadable")
    updates = [settings.role_at(update) for update in range(settings.updates)]
    table.add_row(
        "updates", f"{updates.count('solver'):,} of the Solver, {updates.count('proposer'):,} of the Proposer"
    )
    table.add_row(
        "rollouts an update",
        f"{settings.rollouts_per_update:,}, {settings.rollouts_per_micro_batch:,} in a pass",
    )
    table.add_row("parameters of the backbone", f"{needed.backbone_parameters:,}, frozen")
    table.add_row("parameters trained", f"{needed.adapter_parameters:,} a role, {len(ROLES)} roles")
    table.add_row("memory, backbone in bfloat16", f"{needed.weights_gib:.3g} GiB")
    table.add_row("memory, adapters and AdamW", f"{needed.training_gib:.3g} GiB")
    table.add_row(
        f"memory, a pass of {_SEQUENCE_TOKENS:,} tokens a rollout", f"{needed.activations_gib:.3g} GiB"
    )
    table.add_row("memory in all, an estimate", f"{needed.total_gib:.3g} GiB on the trainer's device")
    console.print(table)
    by_gpus = Table("memory of each GPU, GiB, an estimate", *map(str, GPUS))
    for name, sharded in (
        ("backbone whole on each (ZeRO-2)", False),
        ("FSDP, ZeRO-3 (refused so far)", True),
    ):
        by_gpus.add_row(name, *(f"{needed.per_gpu_gib(gpus, sharded=sharded):.3g}" for gpus in GPUS))
    console.print(by_gpus)
    return needed
