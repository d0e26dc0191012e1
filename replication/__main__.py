"""The command `python -m replication`: runs the arms of the table and writes the results."""

import os
import signal
import time
from collections.abc import Sequence

from rich.console import Console

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.lock import sole_writer
from replication.command import run_command
from replication.cost import hours
from replication.scheduler import missing_runs, run_missing
from replication.settings import Plan, ReplicationSettings

QUICK_SEEDS = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes the results; exits with 1 if a run failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM also stops the runs and the servers
    run_command(
        "replication",
        ReplicationSettings,
        lambda settings, console: min(replicate(settings, console), 1),
        arguments,
        interrupted="interrupted; run the same command again to continue",
    )


def replicate(settings: ReplicationSettings, console: Console) -> int:
    """Runs what is missing and writes the results; returns the number of failed runs.

    Raises:
        TrainerError: An error that the user can fix.
    """
    started_s = time.monotonic()
    count = QUICK_SEEDS if settings.quick else settings.seeds
    seeds = range(settings.first_seed, settings.first_seed + count)
    wanted = [(arm, seed) for seed in seeds for arm in settings.wanted_arms]
    plan = Plan.of(settings)
    missing = missing_runs(wanted, plan)
    state = "to do" if settings.run else "missing"
    cost = f", about {hours(len(missing), os.cpu_count() or 1, settings.parallel)} hours" if missing else ""
    console.print(f"{len(wanted)} runs, {len(missing)} of them {state}{cost}", highlight=False)
    failed = 0
    if missing and settings.run:
        with sole_writer(settings.runs_folder):
            failed = run_missing(settings, plan, missing_runs(wanted, plan), console, started_s)
    from replication.results_folder import write_results

    label = (
        "Quick replication: two arms, two seeds"
        if settings.quick and settings.is_whole_table
        else "Replication"
    )
    if not write_results(plan, wanted, settings.wanted_arms, label=label):
        raise SettingsError(f"no run in {plan.runs} is complete: there are no results to write")
    console.print(f"results: {settings.out_folder}", highlight=False)
    return failed


if __name__ == "__main__":
    main()
