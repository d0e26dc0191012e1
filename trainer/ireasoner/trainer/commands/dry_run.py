"""`ireasoner train --dry-run`: what a run would do and need, without loading weights."""

import re

from rich.console import Console
from rich.table import Table

from ireasoner.trainer.commands.image_plan import image_plan
from ireasoner.trainer.commands.memory_plan import MemoryPlan, memory_plan
from ireasoner.trainer.commands.time_plan import time_plan
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.preflight import check_files, check_images, supported_config
from ireasoner.trainer.loop.role_schedule import role_at
from ireasoner.trainer.run_folder.extension import extended
from ireasoner.trainer.settings import RunSettings

GPUS = (1, 2, 4, 8, 16)
"""Numbers of GPUs that the memory per GPU is estimated for."""


def show_plan(
    settings: RunSettings, console: Console, *, within: re.Pattern[str] | None = None
) -> MemoryPlan:
    """Prints the resolved settings and the plan; returns the memory on this machine. See `lora_config` for `within`.

    Of the servers it asks a rollout server that the settings name for its context, and goes on without an answer.

    Raises:
        TrainerError: The images or a setting cannot be used.
    """
    settings = extended(settings)
    check_files(settings)
    check_images(settings)
    grpo_config(settings)
    supported_config(settings.model, console)
    images = image_plan(settings, console)
    images.images.warn_of_left_out()
    with console.status(f"reading the shape of {settings.model}"):
        needed = memory_plan(settings, images.lengths, within=within)
        on_gpu = memory_plan(settings, images.lengths, on_gpu=True, within=within)
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
        *needed.rows,
        *time_plan(settings, images, packed=needed.shares_prompts).rows,
    ):
        table.add_row(name, value)
    console.print(table)
    by_gpus = Table("number of GPUs", *map(str, GPUS))
    for sharded, label in ((False, "GiB on each, estimated"), (True, "with a sharded backbone")):
        estimates = [on_gpu.per_gpu_gib(gpus, sharded=sharded and gpus > 1) for gpus in GPUS]
        by_gpus.add_row(label, *(f"{gib:.3g}" for gib in estimates))
    loading = (f"{gpus * on_gpu.weights_gib:,.3g}" for gpus in GPUS)
    by_gpus.add_row("RAM while loading, if one machine has them all", *loading)
    console.print(by_gpus)
    return needed
