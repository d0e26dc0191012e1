"""Runs what is missing: one process per run, several at a time, on two servers that all runs share."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import connection

from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from ireasoner.clients import RewardError
from ireasoner.compat.flags import describe
from ireasoner.trainer.commands.service import Service
from ireasoner.trainer.errors import ServiceError, SettingsError, TrainerError
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.tiny_model.task import TASKS
from replication.arms import Arm
from replication.images import write_images
from replication.settings import TRAINING_SEED, Plan, ReplicationSettings

_POLL_S = 3.0
"""Seconds between two checks of the runs and the servers."""

_IMPORTED_ONCE = ["replication.run", "replication.training"]
"""Modules that take ten seconds of a core to import: one process does it, and each run is forked from that one."""

Job = tuple[Arm, int]
"""An arm and a seed: one run."""


def missing_runs(wanted: Sequence[Job], plan: Plan) -> list[Job]:
    """The jobs of `wanted` that have no result yet.

    Raises:
        SettingsError: A result was made by another recipe.
    """
    from replication.run import read_result

    return [(arm, seed) for arm, seed in wanted if read_result(arm, seed, plan) is None]


def run_missing(
    settings: ReplicationSettings, plan: Plan, missing: Sequence[Job], console: Console, started_s: float
) -> int:
    """Starts the servers, runs every job of `missing`, and returns how many failed.

    Args:
        settings: The settings of the command.
        plan: What the runs share; the URLs of the servers are filled in here.
        missing: The jobs to run.
        console: Gets one line per run that ends, and a progress bar.
        started_s: When the command started, on the monotonic clock.

    Raises:
        SettingsError: A job has wrong settings, or another recipe began its run; no server was started.
        ServiceError: A server did not become ready, or died.
    """
    from ireasoner.trainer.monitoring.progress import progress_bar
    from replication.run import LOG
    from replication.servers import servers

    rank, updates = _check(missing, plan)
    failed: list[str] = []
    logs = settings.runs_folder / "logs"
    with servers(
        settings.model_folder, logs, max_lora_rank=rank, parallel=settings.parallel, console=console
    ) as (reward_url, rollout_url, services):
        plan = replace(plan, reward_url=reward_url, rollout_url=rollout_url)
        write_images(plan.images_folder, TASKS[plan.task].world, plan.images, TRAINING_SEED)
        console.print(f"each run writes {plan.runs}/ARM/SEED/{LOG}", highlight=False, soft_wrap=True)
        with progress_bar(console) as bar:
            monitor = _Monitor(bar, updates, missing, plan, services)
            for arm, seed, error in run_all(missing, plan, settings.parallel, monitor.check):
                if error is not None:
                    failed.append(f"{arm.name}, seed {seed}")
                minutes = (time.monotonic() - started_s) / 60
                line = f"{minutes:.1f} min  {arm.name}, seed {seed}: {_outcome(error)}"
                _print(console, line, is_error=error is not None)
    if failed:
        _print(console, f"{len(failed)} of {len(missing)} runs failed: {'; '.join(failed)}", is_error=True)
    return len(failed)


def run_all(
    missing: Sequence[Job], plan: Plan, parallel: int, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[Arm, int, BaseException | None]]:
    """Runs each job in its own process, `parallel` at a time; yields arm, seed and error of each as it ends.

    An interruption, or closing the iterator, stops the active runs; each continues from its newest checkpoint
    when it is started again.

    Args:
        missing: The jobs to run.
        plan: What the runs share.
        parallel: Runs at a time.
        check: Called every few seconds; an exception from it ends everything.
    """
    waiting = iter(missing)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_ONCE)
    running: dict[Future[None], tuple[ProcessPoolExecutor, Arm, int]] = {}
    try:
        while True:
            while len(running) < parallel and (job := next(waiting, None)) is not None:
                # One pool per run: if workers share a queue, stopping one while it waits leaves the queue locked.
                pool = ProcessPoolExecutor(1, context, initializer=_end_with_the_scheduler)
                running[pool.submit(_run, *job, plan)] = pool, *job
            if not running:
                return
            done, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                pool, arm, seed = running.pop(future)
                pool.shutdown()
                yield arm, seed, future.exception()
            check()
    finally:
        for worker in multiprocessing.active_children():
            worker.terminate()
        for pool, _, _ in running.values():
            pool.shutdown()


_scheduler_ended = threading.Event()
"""In the process of a run: whether the scheduler has ended."""


def _end_with_the_scheduler() -> None:
    """In the process of a run: ends it when the scheduler ends. The process that it was forked from lives on."""
    scheduler = multiprocessing.parent_process()
    assert scheduler is not None, "a run has a process of its own"
    threading.Thread(target=_end_after, args=(scheduler.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    _scheduler_ended.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _run(arm: Arm, seed: int, plan: Plan) -> None:
    """`run`; if the scheduler has ended, it leaves the process, which would wait for the next job."""
    from replication.run import run

    try:
        run(arm, seed, plan)
    finally:
        if _scheduler_ended.is_set():
            os._exit(1)


class _Monitor:
    """Advances the progress bar by the updates that the runs have logged, and notices a dead server."""

    def __init__(
        self, bar: Progress, updates: int, missing: Sequence[Job], plan: Plan, services: Sequence[Service]
    ) -> None:
        self._bar = bar
        self._task = bar.add_task("updates", total=updates)
        self._missing = missing
        self._plan = plan
        self._services = services
        self._done = 0

    def check(self) -> None:
        """Counts the updates.

        Raises:
            ServiceError: A server has ended.
        """
        from replication.run import updates_done

        done = sum(updates_done(*job, self._plan) for job in self._missing)
        if done > self._done:
            self._bar.advance(self._task, done - self._done)
            self._done = done
        for service in self._services:
            if not service.is_alive():
                raise ServiceError(f"the {service.name} has ended; its log is {service.log}")


def _check(missing: Sequence[Job], plan: Plan) -> tuple[int, int]:
    """Checks every job before anything starts; returns the largest LoRA rank and the number of updates."""
    from replication.run import refuse_other_recipe, run_settings

    rank = updates = 0
    for arm, seed in missing:
        try:
            of_run = run_settings(arm, seed, plan)
        except ValidationError as error:
            raise SettingsError(f"{arm.name}: {describe(error, RunSettings)}") from error
        refuse_other_recipe(arm, seed, plan)
        rank = max(rank, of_run.lora.r)
        updates += of_run.updates if arm.trained else 0
    return rank, updates


def _print(console: Console, line: str, *, is_error: bool) -> None:
    console.print(line, style="red" if is_error else None, markup=False, highlight=False, soft_wrap=True)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "done"
    if isinstance(error, (TrainerError, RewardError)):
        return str(error)
    return f"{type(error).__name__}: {error}"
