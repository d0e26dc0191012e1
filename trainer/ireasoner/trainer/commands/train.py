"""The command `ireasoner train`: trains, or with `--dry-run` prints what a run would do."""

from rich.console import Console

from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.settings import RunSettings


def main(settings: RunSettings, console: Console) -> None:
    """Trains on unlabelled images, or prints what a run would do."""
    if settings.dry_run:
        show_plan(settings, console)
    else:
        train(settings, console)
