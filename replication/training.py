"""Trains an arm: the real training loop, with the arm's reward variant."""

import logging
from pathlib import Path

from rich.console import Console

from ireasoner.clients import RewardClient
from ireasoner.trainer.rewards.shadow_labels import load_labels
from ireasoner.trainer.settings import RunSettings
from replication.arms import Arm
from replication.released_code_loop import train_with_defects
from replication.reward_variants import reward_variant


def train_arm(arm: Arm, settings: RunSettings, log: Path) -> None:
    """Trains against the running servers and appends the console output to `log`; a finished training is kept.

    Raises:
        TrainerError: An error that the user can fix.
        RewardError: The reward server refused, or stayed unreachable past the retry budget.
    """
    for library in ("trl", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if (settings.run_folder / "final" / "solver").is_dir():
        return
    labels = load_labels(settings.labels)
    assert labels is not None, "the plan sets labels"
    with (
        log.open("a", encoding="utf-8") as file,
        RewardClient(settings.reward.url, retry_budget_s=settings.retry_budget_s) as client,
    ):
        train_with_defects(
            settings, Console(file=file, width=160), variant=reward_variant(arm, labels, client)
        )
