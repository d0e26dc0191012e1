"""The command `python -m replication`: the rows of the table, run and written down."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.trainer.commands.service import die_with
from ireasoner.trainer.errors import ServiceError, SettingsError, TrainerError
from ireasoner.trainer.run_folder.lock import sole_writer
from ireasoner.trainer.settings import describe, read_toml
from ireasoner.trainer.tiny_model.task import TASKS
from replication.command import run_command
from replication.images import write_images
from replication.rows import Row
from replication.settings import TRAINING_SEED, Plan, ReplicationSettings

QUICK_SEEDS = 2
_LOOK_EVERY_S = 3.0
"""Seconds between two looks at how far the runs are."""
_NOWHERE = "http://127.0.0.1:1"
"""Where servers are that have not started."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes the results; exits with 1 if a run failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop runs and services then, too
    run_command(
        "replication",
        ReplicationSettings,
        lambda settings, console: min(replicate(settings, console), 1),
        arguments,
        interrupted="interrupted; the same command goes on from here",
    )


def replicate(settings: ReplicationSettings, console: Console) -> int:
    """Runs what is missing and writes the results; returns how many runs failed.

    Raises:
        TrainerError: Something that the user can act on.
    """
    started_s = time.monotonic()
    seeds = QUICK_SEEDS if settings.quick else settings.seeds
    wanted = [(row, seed) for seed in range(seeds) for row in settings.wanted_rows]
    plan = _plan(settings, _NOWHERE, _NOWHERE)
    missing = missing_runs(wanted, plan)
    what = "to do" if settings.run else "missing"
    console.print(f"{len(wanted)} runs, {len(missing)} of them {what}", highlight=False)
    failed = 0
    if missing and settings.run:
        with sole_writer(settings.runs_folder):
            failed = _run_missing(settings, plan, missing_runs(wanted, plan), console, started_s)
    _write(settings, plan, wanted, console)
    return failed


def _run_missing(
    settings: ReplicationSettings,
    plan: Plan,
    missing: Sequence[tuple[Row, int]],
    console: Console,
    started_s: float,
) -> int:
    from ireasoner.trainer.monitoring.progress import progress_bar
    from replication.run import LOG, refuse_other_recipe, run_settings, updates_done
    from replication.servers import servers

    rank = updates = 0
    for row, seed in missing:  # what is wrong is told of before anything starts
        try:
            of_run = run_settings(row, seed, plan)
        except ValidationError as fault:
            raise SettingsError(f"{row.name}: {describe(fault)}") from fault
        refuse_other_recipe(row, seed, plan)
        rank = max(rank, of_run.lora.r)
        updates += of_run.updates if row.trained else 0
    failed: list[str] = []
    logs = settings.runs_folder / "logs"
    with servers(
        settings.model_folder, logs, max_lora_rank=rank, parallel=settings.parallel, console=console
    ) as (reward_url, rollout_url, services):
        plan = _plan(settings, reward_url, rollout_url)
        write_images(plan.images_folder, TASKS[plan.task].world, plan.images, TRAINING_SEED)
        console.print(f"each run writes {plan.runs}/ROW/SEED/{LOG}", highlight=False, soft_wrap=True)
        with progress_bar(console) as bar:
            task = bar.add_task("updates", total=updates)

            def look() -> None:
                new = sum(updates_done(*one, plan) for one in missing) - bar.tasks[task].completed
                if new > 0:
                    bar.advance(task, new)
                for service in services:
                    if not service.is_alive():
                        raise ServiceError(f"the {service.name} has ended; its log is {service.log}")

            for row, seed, error in run_all(missing, plan, settings.parallel, look):
                if error is not None:
                    failed.append(f"{row.name}, seed {seed}")
                console.print(
                    f"{(time.monotonic() - started_s) / 60:.1f} min  {row.name}, seed {seed}: {_outcome(error)}",
                    style=None if error is None else "red",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
    if failed:
        told = f"{len(failed)} of {len(missing)} runs failed: {'; '.join(failed)}"
        console.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
    return len(failed)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "done"
    if isinstance(error, (TrainerError, RewardError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def missing_runs(wanted: Sequence[tuple[Row, int]], plan: Plan) -> list[tuple[Row, int]]:
    """The rows and seeds of `wanted` that have no result yet.

    Raises:
        SettingsError: One has the result of another recipe.
    """
    from replication.run import read_result

    return [(row, seed) for row, seed in wanted if read_result(row, seed, plan) is None]


def run_all(
    missing: Sequence[tuple[Row, int]], plan: Plan, parallel: int, look: Callable[[], None] = lambda: None
) -> Iterator[tuple[Row, int, BaseException | None]]:
    """Runs each in a process of its own, `parallel` at a time; yields the row, seed and error of each as it ends.

    A run that is under way when this is interrupted, or closed, is stopped; it goes on from its newest checkpoint.

    Args:
        missing: What to run.
        plan: What the runs share.
        parallel: Runs at a time.
        look: Called every few seconds; what it raises ends all.
    """
    from replication.run import run

    waiting = iter(missing)
    context = multiprocessing.get_context("spawn")
    running: dict[Future[None], tuple[ProcessPoolExecutor, Row, int]] = {}
    try:
        while True:
            while len(running) < parallel and (task := next(waiting, None)) is not None:
                # A pool each: where workers share a queue, one that is stopped while it waits leaves it locked.
                pool = ProcessPoolExecutor(1, context, initializer=die_with, initargs=(os.getpid(),))
                running[pool.submit(run, *task, plan)] = pool, *task
            if not running:
                return
            done, _ = wait(running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                pool, row, seed = running.pop(future)
                pool.shutdown()
                yield row, seed, future.exception()
            look()
    finally:
        for worker in multiprocessing.active_children():
            worker.terminate()
        for pool, _, _ in running.values():
            pool.shutdown()


def _write(
    settings: ReplicationSettings, plan: Plan, wanted: Sequence[tuple[Row, int]], console: Console
) -> None:
    from replication.examination import examinations
    from replication.plots import draw
    from replication.results import results
    from replication.run import read_result
    from replication.table import tables

    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for row, seed in wanted:
        found = read_result(row, seed, plan)
        if found is not None:
            runs.setdefault(row.name, {})[seed] = found
    if not runs:
        raise SettingsError(f"no run in {plan.runs} is complete: there are no results to write")
    document = results(
        runs,
        settings.wanted_rows,
        examinations(plan),
        label="Quick replication: two rows, two seeds"
        if settings.quick and settings.is_whole_table
        else "Replication",
        shared={
            "task": settings.task,
            "model": settings.model_folder.name,
            "questions": settings.questions,
            "samples": settings.samples,
            "images": settings.images,
            "embedder": "token-mean",
            "config": read_toml(settings.config),
        },
    )
    out = settings.out_folder
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(tables(document), encoding="utf-8")
    draw(document, out)
    console.print(f"results: {out}", highlight=False)


def _plan(settings: ReplicationSettings, reward_url: str, rollout_url: str) -> Plan:
    return Plan(
        task=settings.task,
        runs=settings.runs_folder.resolve(),
        config=settings.config.resolve(),
        model=settings.model_folder.resolve(),
        images=settings.images,
        questions=settings.questions,
        samples=settings.samples,
        reward_url=reward_url,
        rollout_url=rollout_url,
    )


if __name__ == "__main__":
    main()
