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

from ireasoner.clients import NotReady, RewardClient
from ireasoner.trainer.adapters.backbone import load_backbone, load_processor
from ireasoner.trainer.errors import RolloutServerError, SettingsError
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.grpo_config import grpo_config, launched_processes
from ireasoner.trainer.loop.preflight import (
    check_files,
    check_kinds,
    check_model,
    check_servers,
    policy_shape,
    supported_config,
)
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.monitoring.progress import UpdateProgress
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels, load_labels
from ireasoner.trainer.rewards.variant import RewardVariant, named_variant
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.run_folder.extension import extended
from ireasoner.trainer.run_folder.lock import sole_writer
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import RunSettings

logger = logging.getLogger(__name__)

_READY_DEADLINE_S = 600.0


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
    """
    disable_progress_bar()
    refuse_unsupported(settings)
    ranks = Ranks()
    if not ranks.is_first:
        console = Console(quiet=True)
    settings = ranks.from_first(lambda: extended(settings))
    check_files(settings)
    shadow = ShadowLabels(load_labels(settings.labels))
    variant = variant or named_variant(settings.reward.function)
    policy = policy_shape(settings, supported_config(settings.model, console))
    check_model(settings.model)
    images = _scan_images(settings, console)
    with ExitStack() as ending:
        rollouts = _rollout_servers(settings, console, is_alive)
        ending.callback(rollouts.close)
        rewards = _reward_server(settings)
        ending.callback(rewards.close)
        ranks.from_first(lambda: check_kinds(settings))
        ranks.from_first(lambda: _await(rewards, settings.reward.url, console, is_alive))
        ranks.from_first(lambda: check_servers(settings, rollouts, rewards, policy))
        run = _open_run_folder(settings, ranks, console, ending)
        bar = UpdateProgress(console, line_every=max(settings.updates // 40, 1))
        ending.callback(bar.stop)
        trainer = assembly(
            settings=settings,
            backbone=load_backbone(settings.model, "bfloat16" if torch.cuda.is_available() else "float32"),
            processor=load_processor(settings.model),
            images=images,
            rollouts=rollouts,
            scorer=_scorer(rewards, settings, console, is_alive),
            run=run,
            shadow=shadow,
            variant=variant,
        ).trainer([bar, *callbacks])
        _run(trainer)
        return run


def _scan_images(settings: RunSettings, console: Console) -> ImageFolder:
    images = ImageFolder.scan(settings.images)
    images.require(settings.groups_per_update)
    console.print(
        f"images: {len(images.paths)} in {images.folder}, {len(images.skipped)} unreadable", highlight=False
    )
    return images


def _open_run_folder(settings: RunSettings, ranks: Ranks, console: Console, ending: ExitStack) -> RunFolder:
    """Locks and opens the run folder, and sets what torch and TensorBoard read from this process."""
    ranks.from_first(lambda: ending.enter_context(sole_writer(settings.run_folder)))
    run = ranks.from_first(lambda: RunFolder(settings))
    run.writes = ranks.is_first
    console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
    if settings.cpu_threads is not None:
        torch.set_num_threads(settings.cpu_threads)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.tensorboard)
    return run


def _rollout_servers(
    settings: RunSettings, console: Console, is_alive: Callable[[], bool]
) -> RolloutReplicas:
    return RolloutReplicas(
        [
            RolloutClient(
                url,
                timeout_s=settings.request_timeout_s,
                retry_budget_s=settings.retry_budget_s,
                on_wait=console.print,
                is_alive=is_alive,
            )
            for url in settings.rollout.url.split(",")
        ]
    )


def _reward_server(settings: RunSettings) -> RewardClient:
    return RewardClient(
        settings.reward.url,
        token=settings.reward.token(),
        timeout_s=settings.request_timeout_s,
        retry_budget_s=0,  # the scorer retries, and says so
    )


def _scorer(
    rewards: RewardClient, settings: RunSettings, console: Console, is_alive: Callable[[], bool]
) -> GroupScorer:
    return GroupScorer(
        rewards,
        settings.reward,
        settings.seed,
        retry_budget_s=settings.retry_budget_s,
        on_wait=console.print,
        is_alive=is_alive,
    )


def _await(rewards: RewardClient, url: str, console: Console, is_alive: Callable[[], bool]) -> None:
    """Waits for the reward server, and says so if it is not ready yet.

    Raises:
        NotReady: It was not ready in time, or `is_alive` is false.
    """
    try:
        rewards.wait_until_ready(0, is_alive=is_alive)
    except NotReady:
        console.print(f"waiting for the reward server at {url}", highlight=False)
        rewards.wait_until_ready(_READY_DEADLINE_S, is_alive=is_alive)


def _run(trainer: ProposerSolverTrainer) -> None:
    """Trains, writes the final adapters, and unloads the run's adapters from the server."""
    try:
        trainer.go()
        trainer.write_final()
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
        SettingsError: TRL refuses a field, or the backbone would be sharded, or one process sees several GPUs.
    """
    if _shards_backbone(grpo_config(settings)):
        raise SettingsError(
            "a sharded backbone (FSDP, ZeRO-3) cannot be trained yet, because one process publishes the adapters: use "
            "ZeRO-2, or accelerate launch without either"
        )
    if launched_processes() == 1 and torch.cuda.device_count() > 1:
        raise SettingsError(
            f"one process uses one GPU, and {torch.cuda.device_count()} are visible: start one process per GPU "
            "(accelerate launch -m ireasoner.cli train ...), or set CUDA_VISIBLE_DEVICES to one"
        )


def _shards_backbone(config: GRPOConfig) -> bool:
    deepspeed = getattr(config, "hf_deepspeed_config", None)
    return bool(
        config.fsdp
        or os.environ.get("ACCELERATE_USE_FSDP") == "true"
        or (deepspeed is not None and deepspeed.is_zero3())
        or os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    )
