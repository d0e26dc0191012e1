"""`make bench-trainer`: what one question costs our loop, beside the order of work of the released code.

Both train the tiny model on this machine within one run: the other before ours and after it, whole cycles of both
(Solver updates, then one of the Proposer). Ours has the real vLLM and the real reward server; the other has the machine
to itself meanwhile, with as many threads as are fastest for it.

Ours runs as the paper's recipe does, one question an update; with many questions an update, which is what batches are
for; and with `overlap`, which samples the next update while one is trained.

Both train the Proposer on as many proposals, one for every five questions, as far as whole groups allow: ours on N
about each of a few images. It has the Solver answer each of them N times; the other rewards its proposals by the
answers that it has anyway, as the released code does. The difference is not in our favour.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import TrainerCallback

from benchmarks.one_at_a_time import OneAtATime
from benchmarks.rows import Row, calibration_gflops, row, table, write
from ireasoner.trainer.commands.service import Service
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.monitoring.time_shares import before_training
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "digit-grids"
LATEST = Path(__file__).with_name("trainer.json")
GROUP_SIZE = 5
PROGRESS = 0.5
PROPOSER_EVERY = 5
IMAGES = 256
PORTS = {"reward": 18110, "rollout": 18120}
PHASES = ("propose", "roll_out", "score", "train", "publish")
RUNS = ((32, True, 10.0), (32, False, None), (1, False, None))
"""Questions an update, whether the next is collected meanwhile, and the goal."""


class Cycles(TrainerCallback):  # type: ignore[misc]
    """Times each cycle: as many Solver updates as go with one of the Proposer, and that one.

    Attributes:
        seconds: Of each cycle.
    """

    def __init__(self) -> None:
        self._started_s = 0.0
        self.seconds: list[float] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self._started_s = time.perf_counter()

    def on_step_end(self, _: Any, state: Any, *__: object, **___: object) -> None:
        if state.global_step % (PROPOSER_EVERY + 1) == 0:
            now_s = time.perf_counter()
            self.seconds.append(now_s - self._started_s)
            self._started_s = now_s


def run(cycles: int, folder: Path) -> Iterator[Row]:
    """Every row, as soon as it is known; where the time goes is printed to standard error."""
    images = folder / "images"
    write_unlabelled(images, IMAGES, seed=0)
    paths = cycle(sorted(images.iterdir()))
    other = OneAtATime(_settings(folder / "other", images, 1, 1))
    fastest = min((_other_s(other, next(paths), count), count) for count in (1, 2))[1]
    with _servers(folder):
        for questions, overlap, goal in RUNS:
            settings = _settings(
                folder / f"run-{questions}-{overlap}", images, questions, cycles + 2, overlap=overlap
            )
            other.seconds.clear()
            other.solver_tokens.clear()
            before_s = _others_turn(other, paths, cycles, fastest)
            timed = Cycles()
            train(settings, Console(quiet=True), callbacks=[timed])
            after_s = _others_turn(other, paths, cycles, fastest)
            # The first cycle warms up; the last collects nothing ahead.
            ours_s = statistics.median(timed.seconds[1:-1]) / (PROPOSER_EVERY * questions)
            other_s = (before_s + after_s) / 2
            ours = Measured(settings)
            what = f"N = {GROUP_SIZE}, {questions} question{'s' * (questions > 1)} an update"
            what += ", the next collected meanwhile" * overlap
            yield Row(
                f"questions a second, Solver and Proposer trained: {what}",
                "1/s",
                1 / ours_s,
                1 / other_s,
                other_s / ours_s,
                goal,
                at_most=False,
                gflops=calibration_gflops(),
            )
            yield row(
                f"tokens of a rollout: {what}", "tokens", ours.tokens, statistics.mean(other.solver_tokens)
            )
            trained = 2 * PROPOSER_EVERY * cycles
            for phase in PHASES:
                spent_s = other.seconds[phase] / trained
                yield row(f"{phase}, seconds a question: {what}", "s", ours.seconds[phase], spent_s or None)
            yield row(f"rollouts trained, the others taught nothing: {what}", "share", ours.trained, 1.0)
            yield row(f"rollout server idle: {what}", "share", ours.idle)


class Measured:
    """What the logs of a run of ours tell, its first and last cycle left out.

    Attributes:
        seconds: Of each phase, a question; where the next update is collected meanwhile, phases go on at once.
        idle: Share of the time in which the rollout server had nothing to sample.
        tokens: Of a rollout of the Solver, on average.
        trained: Share of the Solver's rollouts that had something to teach.
    """

    def __init__(self, settings: RunSettings) -> None:
        cycle = PROPOSER_EVERY + 1
        lines = list(read_lines(settings.run_folder / "metrics.jsonl"))[cycle:-cycle]
        solver = [line for line in lines if line["role"] == "solver"]
        questions = len(solver) * settings.groups_per_update
        collecting = before_training(overlap=False)
        logged = (*(f"seconds/{name}" for name in (*collecting, "publish", "wait")), "step_time")
        total_s = {
            name: sum(line.get(f"{line['role']}/{name}", 0.0) for line in lines) / questions
            for name in logged
        }
        self.seconds = {phase: total_s.get(f"seconds/{phase}", 0.0) for phase in PHASES}
        before = before_training(overlap=settings.overlap)
        self.seconds["train"] = total_s["step_time"] - sum(total_s[f"seconds/{name}"] for name in before)
        self.idle = statistics.mean(line[f"{line['role']}/rollout_idle_share"] for line in lines)
        self.tokens = statistics.mean(line["solver/completions/mean_length"] for line in solver)
        self.trained = statistics.mean(
            line["solver/rollouts_trained"] / settings.rollouts_per_update for line in solver
        )


def _settings(
    folder: Path, images: Path, questions: int, cycles: int, *, overlap: bool = False
) -> RunSettings:
    """The paper's learning rate: the policy, and so the length of what it writes, stays what it is."""
    return RunSettings(
        model=str(MODEL),
        images=images,
        run_folder=folder,
        updates=cycles * (PROPOSER_EVERY + 1),
        proposer_every=PROPOSER_EVERY,
        group_size=GROUP_SIZE,
        groups_per_update=questions,
        proposer_groups_per_update=max(1, questions // GROUP_SIZE),
        save_every=10_000,
        overlap=overlap,
        cpu_threads=1,
        lora={"r": 8, "alpha": 16, "dropout": 0.0},
        kl={"mode": "fixed", "beta": 0.02},
        reward={"url": f"http://127.0.0.1:{PORTS['reward']}"},
        rollout={
            "url": f"http://127.0.0.1:{PORTS['rollout']}",
            "solver_max_tokens": 64,
            "proposer_max_tokens": 24,
        },
        grpo={"learning_rate": 1e-6, "report_to": "none"},
    )


@contextmanager
def _servers(folder: Path) -> Iterator[None]:
    """The reward server with the paper's embedder, and vLLM."""
    rewards = ["--embedder", "token-mean", "--token-mean-checkpoint", str(MODEL)]
    rollouts = ["--model", str(MODEL), "--max-lora-rank", "8"]
    with (
        _service("reward", rewards, folder) as reward_server,
        _service("rollout", rollouts, folder) as rollout_server,
    ):
        reward_server.wait_until_ready(120)
        rollout_server.wait_until_ready(300)
        yield


def _service(name: str, flags: list[str], folder: Path) -> Service:
    port = PORTS[name]
    return Service(
        f"{name} server",
        f"services.{name}_server",
        [*flags, "--port", str(port)],
        log=folder / f"{name}.log",
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


def _others_turn(other: OneAtATime, images: Iterator[Path], cycles: int, count: int) -> float:
    """Seconds a question."""
    started_s = time.perf_counter()
    with threads(count):
        for number in range(cycles * PROPOSER_EVERY):
            other.train_on(next(images), PROGRESS, proposer=number % PROPOSER_EVERY == 0)
    return (time.perf_counter() - started_s) / (cycles * PROPOSER_EVERY)


def _other_s(other: OneAtATime, image: Path, count: int) -> float:
    with threads(count):
        other.train_on(image, 0.0, proposer=True)
        started_s = time.perf_counter()
        other.train_on(image, 0.0, proposer=True)
        return time.perf_counter() - started_s


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Has torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main() -> int:
    """Runs the benchmark; returns 0 whether the goal is reached or not: the table tells."""
    parser = argparse.ArgumentParser(prog="make bench-trainer", description=__doc__)
    parser.add_argument("--cycles", type=int, default=4, help="cycles that are compared [%(default)s]")
    parser.add_argument(
        "--output", type=Path, default=LATEST, help="where the rows are written [%(default)s]"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for each in run(options.cycles, Path(folder)):
            rows.append(each)
            print(f"{each.name}: {each.ours:.4g} {each.unit}", file=sys.stderr, flush=True)
    print(table(rows))
    write(rows, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
