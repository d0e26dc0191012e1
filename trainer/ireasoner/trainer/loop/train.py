"""One run: from settings and running servers to a trained pair of adapters."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from rich.console import Console
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig

from ireasoner.trainer.errors import RolloutServerError, SettingsError
from ireasoner.trainer.images import ImageSet
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.image_bounds import check_image_bounds
from ireasoner.trainer.loop.launcher import launched_processes, take_sharding
from ireasoner.trainer.loop.policy_backbone import (
    backbone_dtype,
    policy_backbone,
    refuse_forward_passes_of_one,
)
from ireasoner.trainer.loop.preflight import (
    check_files,
    check_images,
    check_model,
    policy_shape,
    supported_config,
)
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.servers import Servers
from ireasoner.trainer.loop.signal_pass import refuse_logits_changed_after_the_head
from ireasoner.trainer.loop.stop_signals import StopSignals
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.loop.usable_images import model_context, scan_images, usable_images
from ireasoner.trainer.monitoring.progress import UpdateProgress
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rewards.variant import RewardVariant
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.run_folder.extension import extended
from ireasoner.trainer.run_folder.image_list import image_changes, write_image_list
from ireasoner.trainer.run_folder.lock import refuse_locked, sole_writer
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import RunSettings

logger = logging.getLogger(__name__)


def train(
    settings: RunSettings,
    console: Console,
    callbacks: Sequence[TrainerCallback] = (),
    *,
    is_alive: Callable[[], bool] = lambda: True,
    variant: RewardVariant | None = None,
    assembly: type[Assembly] = Assembly,
) -> RunFolder:
    """Trains both roles with running servers; returns the run folder.

    Args:
        settings: The run.
        console: Shows progress.
        callbacks: Further callbacks of the trainer.
        is_alive: Whether the servers can still answer; false ends every wait at once.
        variant: What the Solver is trained on instead of its scores (default: what `reward.function` names).
        assembly: Makes the parts of the trainer; for experiments.

    Raises:
        TrainerError: Something that the user can act on; see `ireasoner.trainer.errors`.
        RewardError: The reward server refused, or was unreachable for longer than the budget.
        RunInterrupted: A signal ended the run.
    """
    disable_progress_bar()
    with StopSignals() as signals, ExitStack() as ending:
        with signals.raised():
            sharded = take_sharding()
            refuse_unsupported(settings)
            ranks = Ranks()
            if not ranks.is_first:
                console = Console(quiet=True)
            settings = ranks.from_first(lambda: extended(settings))
            labels, named = check_files(settings)
            ranks.from_first(lambda: refuse_locked(settings.run_folder))
            ranks.from_first(lambda: check_images(settings))
            policy = policy_shape(settings, supported_config(settings.model, console))
            processor = check_model(settings)
            images = ranks.from_first(lambda: scan_images(settings, console))
            servers = ending.enter_context(Servers(settings, console, is_alive))
            needs = ranks.from_first(lambda: servers.await_ready(policy))
            refuse_logits_changed_after_the_head(policy.config, needs.figures)
            if sharded:
                refuse_forward_passes_of_one(needs)
            context = model_context(settings, ranks.from_first(servers.rollouts.context_tokens))
            images = usable_images(images, processor, settings, context, needs)
            ranks.from_first(lambda: check_image_bounds(images, processor, servers.rollouts))
            run = open_run_folder(settings, images, ranks, console, ending)
            bar = UpdateProgress(console, line_every=max(settings.updates // 40, 1))
            ending.callback(bar.stop)
            trainer = assembly(
                settings=settings,
                backbone=policy_backbone(
                    settings.model, backbone_dtype(grpo_config(settings)), ranks, console, sharded=sharded
                ),
                processor=processor,
                images=images,
                rollouts=servers.rollouts,
                scorer=servers.scorer(),
                run=run,
                shadow=ShadowLabels(labels),
                variant=variant or named,
                signals=signals,
                needs=needs,
            ).trainer([bar, *callbacks])
        _run(trainer, servers.rollouts)
        return run


def open_run_folder(
    settings: RunSettings, images: ImageSet, ranks: Ranks, console: Console, ending: ExitStack
) -> RunFolder:
    """Locks and opens the run folder, and sets what torch and TensorBoard read from this process.

    Raises:
        ImagesError: The images of a resumed run are not those of its earlier start; nothing is written.
    """
    folder, accepted = settings.run_folder, settings.accept_changed_images
    ranks.from_first(lambda: ending.enter_context(sole_writer(folder)))
    changes = ranks.from_first(
        lambda: image_changes(folder, images, accept_changed=accepted) if settings.resume else []
    )
    run = ranks.from_first(lambda: RunFolder(settings))
    run.writes = ranks.is_first
    ranks.from_first(lambda: write_image_list(folder, images))
    console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
    if ranks.is_first:
        _show_images(images, changes, console)
    if settings.cpu_threads is not None:
        torch.set_num_threads(settings.cpu_threads)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.tensorboard)
    return run


def _show_images(images: ImageSet, changes: Sequence[str], console: Console) -> None:
    """Shows which images the run uses, and what changed since its earlier start."""
    console.print(
        f"images: {images.summary}",
        highlight=False,
        soft_wrap=True,
    )
    images.warn_of_left_out()
    for change in changes:
        logger.warning("images: %s; the run goes on with another order of images", change)


def _run(trainer: ProposerSolverTrainer, rollouts: RolloutReplicas) -> None:
    """Trains, writes the final adapters, and unloads the run's adapters from the server."""
    try:
        trainer.go()
        trainer.write_final()
    except BaseException:
        rollouts.stop_retrying()
        raise
    finally:
        trainer.close()
        if trainer.ranks.is_first:
            try:
                trainer.publisher.withdraw()
            except RolloutServerError as error:
                logger.warning("the run's adapters could not be unloaded from the rollout server: %s", error)


def refuse_unsupported(settings: RunSettings) -> None:
    """Finds what cannot be run before anything is loaded or waited for.

    Raises:
        SettingsError: TRL refuses a field, or DeepSpeed would shard the backbone, or one process sees several GPUs, or
            none although torch is built for them.
    """
    config = grpo_config(settings)
    if _is_zero3(config):
        raise SettingsError(
            "DeepSpeed's ZeRO-3 cannot be trained: shard the backbone with configs/accelerate/fsdp-72b.yaml, or keep "
            "it whole with ZeRO-2"
        )
    chosen = "use_cpu" in settings.grpo and config.use_cpu
    if torch.version.cuda is not None and not torch.cuda.is_available() and not chosen:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        seen = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden})"
        raise SettingsError(
            f"torch is built for CUDA {torch.version.cuda} and sees no GPU{seen}: make one visible, or set "
            "grpo.use_cpu = true to train on the CPU"
        )
    if launched_processes() == 1 and torch.cuda.device_count() > 1:
        raise SettingsError(
            f"one process uses one GPU, and {torch.cuda.device_count()} are visible: start one process per GPU "
            "(accelerate launch -m ireasoner.cli train ...), or set CUDA_VISIBLE_DEVICES to one"
        )


def _is_zero3(config: GRPOConfig) -> bool:
    deepspeed = getattr(config, "hf_deepspeed_config", None)
    named = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
    return named == "3" or bool(deepspeed is not None and deepspeed.is_zero3())
