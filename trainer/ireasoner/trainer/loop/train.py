"""One run: everything that stands between the settings and a trained pair of adapters."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from rich.console import Console
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar

from ireasoner.clients import NotReady, RewardClient
from ireasoner.trainer.adapters.backbone import load_backbone, load_config, load_processor
from ireasoner.trainer.errors import RolloutServerError, SettingsError
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.grpo_config import grpo_config, launched_processes
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.monitoring.progress import UpdateProgress
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels, load_labels
from ireasoner.trainer.rewards.variant import RewardVariant
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
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
) -> RunFolder:
    """Trains both roles as `settings` say, against servers that are running; returns the run folder.

    Args:
        settings: The run.
        console: Where progress is shown.
        callbacks: What else is to be called back.
        is_alive: Whether the servers can still come back when they are away; false ends every wait at once.
        variant: What the Solver is trained on instead of its scores; for experiments.

    Raises:
        TrainerError: Something that the user can act on; see `ireasoner.trainer.errors`.
        RewardError: The reward server refused, or stayed away past the budget; see `clients`.
    """
    disable_progress_bar()
    _refuse_what_is_not_handled(settings)
    ranks = Ranks()
    if not ranks.is_first:
        console = Console(quiet=True)
    shadow = ShadowLabels(load_labels(settings.labels))
    images = ImageFolder.scan(settings.images)
    console.print(
        f"images: {len(images.paths)} in {images.folder}, {len(images.skipped)} unreadable", highlight=False
    )
    load_config(settings.model)  # a model that cannot be read is told of before anything is waited for
    with ExitStack() as ending:
        ranks.from_first(lambda: ending.enter_context(sole_writer(settings.run_folder)))
        run = ranks.from_first(lambda: RunFolder(settings))
        run.writes = ranks.is_first
        console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
        if settings.reference_defects.put_back:
            console.print(
                f"[bold red]WRONG ON PURPOSE:[/] this run puts back {', '.join(settings.reference_defects.put_back)} "
                "(reference_defects); its result is an ablation, not a method",
                highlight=False,
            )
        if settings.cpu_threads is not None:
            torch.set_num_threads(settings.cpu_threads)
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.tensorboard)
        rollouts = RolloutReplicas(
            [
                RolloutClient(
                    url,
                    timeout_s=settings.rollout.timeout_s,
                    retry_budget_s=settings.rollout.retry_budget_s,
                    concurrency=settings.rollout.concurrency,
                    on_wait=console.print,
                    is_alive=is_alive,
                )
                for url in settings.rollout.url.split(",")
            ]
        )
        ending.callback(rollouts.close)
        rewards = RewardClient(
            settings.reward.url,
            token=settings.reward.token(),
            timeout_s=settings.reward.timeout_s,
            retry_budget_s=0,  # the scorer tries again, and says so
        )
        ending.callback(rewards.close)
        bar = UpdateProgress(console, line_every=max(settings.updates // 40, 1))
        ending.callback(bar.stop)
        ranks.from_first(lambda: _await(rewards, settings.reward.url, console, is_alive))
        ranks.from_first(rollouts.models)
        trainer = ProposerSolverTrainer(
            settings,
            backbone=load_backbone(settings.model, "bfloat16" if torch.cuda.is_available() else "float32"),
            processor=load_processor(settings.model),
            images=images,
            rollouts=rollouts,
            scorer=GroupScorer(
                rewards, settings.reward, settings.seed, on_wait=console.print, is_alive=is_alive
            ),
            run=run,
            shadow=shadow,
            variant=variant,
            callbacks=[bar, *callbacks],
        )
        try:
            trainer.go()
            trainer.write_final()
        finally:
            trainer.close()
            if ranks.is_first:
                _withdraw(trainer)
        return run


def _await(rewards: RewardClient, url: str, console: Console, is_alive: Callable[[], bool]) -> None:
    """Waits for the reward server, and says so where it is not ready yet.

    Raises:
        NotReady: It was not ready in time, or `is_alive` is false.
    """
    try:
        rewards.wait_until_ready(0, is_alive=is_alive)
    except NotReady:
        console.print(f"waiting for the reward server at {url}", highlight=False)
        rewards.wait_until_ready(_READY_DEADLINE_S, is_alive=is_alive)


def _refuse_what_is_not_handled(settings: RunSettings) -> None:
    """Finds what cannot be run before anything is waited for or loaded.

    Raises:
        SettingsError: A field of TRL's is wrong, or what is asked for works in one process alone.
    """
    config = grpo_config(settings)
    processes = launched_processes()
    if processes > 1 and settings.reference_defects.put_back:
        raise SettingsError("reference_defects: an ablation runs in one process")
    zero = getattr(config, "hf_deepspeed_config", None)
    if (
        config.fsdp
        or os.environ.get("ACCELERATE_USE_FSDP") == "true"
        or (zero is not None and zero.is_zero3())
        or os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    ):
        raise SettingsError(
            "a backbone that is shared out over GPUs (FSDP, ZeRO-3) cannot be trained yet: its adapters are published "
            "from one process; use ZeRO-2, or accelerate launch without either"
        )
    if processes == 1 and torch.cuda.device_count() > 1:
        raise SettingsError(
            f"one process uses one GPU, and {torch.cuda.device_count()} are seen: start a process for each "
            "(accelerate launch -m trainer train ...), or set CUDA_VISIBLE_DEVICES to one"
        )


def _withdraw(trainer: ProposerSolverTrainer) -> None:
    """Takes the run's adapters off the server, which others may use; a server that is gone has none."""
    try:
        trainer.publisher.withdraw()
    except RolloutServerError as error:
        logger.warning("the run's adapters were not taken off the rollout server: %s", error)
