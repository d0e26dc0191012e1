"""One run: everything that stands between the settings and a trained pair of adapters."""

import os
from collections.abc import Sequence

import torch
from rich.console import Console
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar

from clients import RewardClient
from trainer.images import ImageFolder
from trainer.loop import ProposerSolverTrainer
from trainer.policy import load_backbone, load_processor
from trainer.progress import UpdateProgress
from trainer.rewards import GroupScorer
from trainer.rollout_client import RolloutClient
from trainer.run_folder import RunFolder
from trainer.settings import RunSettings

_READY_DEADLINE_S = 600.0


def train(settings: RunSettings, console: Console, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Trains both roles as `settings` say, against servers that are running; returns the run folder.

    Raises:
        TrainerError: Something that the user can act on; see `trainer.errors`.
        RewardError: The reward server refused, or stayed away past the budget; see `clients`.
    """
    disable_progress_bar()
    images = ImageFolder.scan(settings.images)
    console.print(
        f"images: {len(images.paths)} in {images.folder}, {len(images.skipped)} unreadable", highlight=False
    )
    run = RunFolder(settings)
    if settings.cpu_threads is not None:
        torch.set_num_threads(settings.cpu_threads)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.tensorboard)
    rollouts = RolloutClient(
        settings.rollout.url,
        timeout_s=settings.rollout.timeout_s,
        retry_budget_s=settings.rollout.retry_budget_s,
        concurrency=settings.rollout.concurrency,
        on_wait=console.print,
    )
    rewards = RewardClient(
        settings.reward.url,
        timeout_s=settings.reward.timeout_s,
        retry_budget_s=settings.reward.retry_budget_s,
    )
    bar = UpdateProgress(console, line_every=max(settings.updates // 40, 1))
    try:
        rewards.wait_until_ready(_READY_DEADLINE_S)
        rollouts.models()
        trainer = ProposerSolverTrainer(
            settings,
            backbone=load_backbone(settings.model, "bfloat16" if torch.cuda.is_available() else "float32"),
            processor=load_processor(settings.model),
            images=images,
            rollouts=rollouts,
            scorer=GroupScorer(rewards, settings.reward, settings.seed),
            run=run,
            callbacks=[bar, *callbacks],
        )
        trainer.go()
        trainer.write_final()
        trainer.publisher.withdraw()
    finally:
        bar.stop()
        rollouts.close()
        rewards.close()
    return run
