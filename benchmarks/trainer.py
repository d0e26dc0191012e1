"""`make bench-trainer`: the time per question of our loop, and of the released code's order of work.

Both train the tiny model on this machine within one run: the other loop runs before ours and after it, in whole cycles
(Solver updates, then one of the Proposer). Ours uses the real vLLM and the real reward server. The other loop has the
machine to itself, with the number of threads that is fastest for it.

Ours runs with one question per update, as the paper's settings have it, and with many, which batching needs; each with
and without `overlap`, which samples the next update while one is trained.

Both train the Proposer on one proposal for every five questions, as far as whole groups allow: ours on N proposals
about each of a few images. In ours the Solver answers each proposal N times; the other loop rewards its proposals by
answers that it has already, as the released code does. This difference is to our disadvantage.
"""

import argparse
import logging
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

from benchmarks.comparison import Comparison, compare, table, write
from benchmarks.one_at_a_time import OneAtATime
from ireasoner.trainer.commands.service import LocalServer
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
RUNS = ((32, True, 15.0), (32, False, None), (1, True, 2.0), (1, False, None))
"""Questions per update, whether the next update is sampled meanwhile, and the goal."""


class Cycles(TrainerCallback):  # type: ignore[misc]
    """Times each cycle: the Solver updates before one of the Proposer, and that one.

    Attributes:
        seconds: Seconds of each cycle.
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


def run(cycles: int, folder: Path) -> Iterator[Comparison]:
    """Every comparison, as soon as it is known."""
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
            before_s = _other_turn(other, paths, cycles, fastest)
            timed = Cycles()
            train(settings, Console(quiet=True), callbacks=[timed])
            after_s = _other_turn(other, paths, cycles, fastest)
            # The first cycle warms up; the last samples no next update.
            ours_s = statistics.median(timed.seconds[1:-1]) / (PROPOSER_EVERY * questions)
            other_s = (before_s + after_s) / 2
            ours = Measured(settings)
            what = f"N = {GROUP_SIZE}, {questions} question{'s' * (questions > 1)} per update"
            what += ", the next sampled meanwhile" * overlap
            name = f"questions per second, Solver and Proposer trained: {what}"
            yield compare(name, "1/s", 1 / ours_s, 1 / other_s, goal)
            yield compare(
                f"tokens per rollout: {what}", "tokens", ours.tokens, statistics.mean(other.solver_tokens)
            )
            trained = 2 * PROPOSER_EVERY * cycles
            for phase in PHASES:
                spent_s = other.seconds[phase] / trained
                yield compare(
                    f"{phase}, seconds per question: {what}", "s", ours.seconds[phase], spent_s or None
                )
            yield compare(f"rollouts with a learning signal: {what}", "share", ours.trained, 1.0)
            yield compare(f"rollout server idle: {what}", "share", ours.idle)


class Measured:
    """The figures of a run of ours from its logs, without its first and last cycle.

    Attributes:
        seconds: Seconds of each phase per question; with `overlap`, phases run at the same time.
        idle: Share of the time in which the rollout server was idle.
        tokens: Mean number of tokens of the Solver's rollouts.
        trained: Share of the Solver's rollouts in groups with a learning signal.
    """

    def __init__(self, settings: RunSettings) -> None:
        cycle = PROPOSER_EVERY + 1
        lines = list(read_lines(settings.run_folder / "metrics.jsonl"))[cycle:-cycle]
        solver = [line for line in lines if line["role"] == "solver"]
        planned = len(solver) * settings.groups_per_update
        questions = planned - sum(int(line["solver/groups_left_out"]) for line in solver)
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
        answered = [line for line in solver if "solver/completions/mean_length" in line]
        self.tokens = statistics.mean(line["solver/completions/mean_length"] for line in answered)
        trained = sum(line["solver/rollouts_trained"] for line in answered)
        self.trained = trained / (questions * settings.group_size)


def _settings(
    folder: Path, images: Path, questions: int, cycles: int, *, overlap: bool = False
) -> RunSettings:
    """Settings with the paper's learning rate, at which the policy and the length of its rollouts hardly change."""
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
    """Runs the reward server with the paper's embedder, and vLLM."""
    rewards = ["--embedder", "token-mean", "--token-mean-checkpoint", str(MODEL)]
    rollouts = ["--model", str(MODEL), "--max-lora-rank", "8"]
    with (
        LocalServer("reward_server", PORTS["reward"], rewards, log=folder / "reward.log") as reward_server,
        LocalServer(
            "rollout_server", PORTS["rollout"], rollouts, log=folder / "rollout.log"
        ) as rollout_server,
    ):
        reward_server.wait_until_ready(120)
        rollout_server.wait_until_ready(300)
        yield


def _other_turn(other: OneAtATime, images: Iterator[Path], cycles: int, count: int) -> float:
    """Seconds per question of the other loop."""
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
    """Sets the number of torch's threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main() -> int:
    """Runs the benchmark; returns 0, whether the goal is reached or not, which the table shows."""
    parser = argparse.ArgumentParser(prog="make bench-trainer", description=__doc__)
    parser.add_argument("--cycles", type=int, default=4, help="number of cycles to compare [%(default)s]")
    parser.add_argument("--output", type=Path, default=LATEST, help="file of the results [%(default)s]")
    options = parser.parse_args()
    logging.getLogger("trl").setLevel(logging.ERROR)  # it warns of every rollout without a reward
    comparisons = []
    with tempfile.TemporaryDirectory() as folder:
        for each in run(options.cycles, Path(folder)):
            comparisons.append(each)
            print(f"{each.name}: {each.ours:.4g} {each.unit}", file=sys.stderr, flush=True)
    print(table(comparisons))
    write(comparisons, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
