"""The command `python -m replication`: runs the arms of the table and writes the results."""

import json
import os
import signal
import time
from collections.abc import Sequence

from rich.console import Console

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.lock import sole_writer
from ireasoner.trainer.settings import read_toml
from replication.command import run_command
from replication.cost import hours
from replication.scheduler import Job, missing_runs, run_missing
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
    cost = f", about {hours(len(missing), os.cpu_count() or 1)} hours" if missing else ""
    console.print(f"{len(wanted)} runs, {len(missing)} of them {state}{cost}", highlight=False)
    failed = 0
    if missing and settings.run:
        with sole_writer(settings.runs_folder):
            failed = run_missing(settings, plan, missing_runs(wanted, plan), console, started_s)
    _write(settings, plan, wanted, console)
    return failed


def _write(settings: ReplicationSettings, plan: Plan, wanted: Sequence[Job], console: Console) -> None:
    """Writes results.json, values.json, table.md and the plots from the runs that are complete, and keeps these."""
    from replication.evaluation import splits
    from replication.plots import draw
    from replication.results import clusters_of, results
    from replication.run import complete_runs
    from replication.table import tables
    from replication.values import VALUES, as_text, packed

    runs = complete_runs(wanted, plan)
    if not runs:
        raise SettingsError(f"no run in {plan.runs} is complete: there are no results to write")
    label = "Quick replication: two arms, two seeds" if settings.quick and settings.is_whole_table else ""
    shared = {
        "task": settings.task,
        "model": settings.model_folder.name,
        "questions": settings.questions,
        "samples": settings.samples,
        "test_seed": settings.test_seed,
        "images": settings.images,
        "embedder": "token-mean",
        "config": read_toml(settings.config),
    }
    clusters = clusters_of(splits(plan))
    document = results(runs, settings.wanted_arms, clusters, label=label or "Replication", shared=shared)
    out = settings.out_folder
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / VALUES).write_text(as_text(packed(runs, clusters)), encoding="utf-8")
    (out / "table.md").write_text(tables(document), encoding="utf-8")
    draw(document, out)
    console.print(f"results: {out}", highlight=False)


if __name__ == "__main__":
    main()
