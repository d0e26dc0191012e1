"""The training of a row: the real loop, with the row's reward variant."""

import logging
from pathlib import Path

from rich.console import Console

from ireasoner.clients import RewardClient
from ireasoner.trainer.rewards.shadow_labels import load_labels
from ireasoner.trainer.settings import RunSettings
from replication.released_code import train_arm
from replication.reward_variants import reward_variant
from replication.rows import Row


def train_row(row: Row, settings: RunSettings, log: Path) -> None:
    """Trains against the running servers; what it says goes to `log`. Does nothing where training is done.

    Raises:
        TrainerError: Something that the user can act on.
        RewardError: The reward server refused, or stayed away past the budget.
    """
    for library in ("trl", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if (settings.run_folder / "final" / "solver").is_dir():
        return
    labels = load_labels(settings.labels)
    assert labels is not None, "the plan names its labels"
    with (
        log.open("a", encoding="utf-8") as file,
        RewardClient(settings.reward.url, retry_budget_s=settings.retry_budget_s) as client,
    ):
        train_arm(settings, Console(file=file, width=160), variant=reward_variant(row, labels, client))
