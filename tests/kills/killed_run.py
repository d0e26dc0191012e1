"""A run whose processes are killed again and again must end where an undisturbed one does.

Both runs use the real servers. Each victim is killed at a random moment after it has begun to work, in the middle of
whatever it does, and is started again. Other callers post groups to the reward server all the time.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import ROLES
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.kills.callers import Callers
from tests.kills.victims import EmbeddingWorker, RewardServer, RolloutServer, Trainer, Victim
from tests.trainer.training import Training, compare

UPDATES_PER_KILL = {"reward-server": 0.5, "embedding-worker": 0.5, "rollout-server": 1.5, "trainer": 1.5}
"""Of the run. The first two work for other callers too, and are killed until the end of the run and after it."""
VICTIMS = tuple(UPDATES_PER_KILL)
POLL_S = 0.1
STALLED_S = 600.0
"""Longest time from one kill to the next."""
SPARE_UPDATES = 4
START_S, UPDATE_S = 600.0, 60.0
"""Longest times of the undisturbed run: until it begins, and of one update."""


@dataclass(frozen=True)
class Outcome:
    """Of a killed run.

    Attributes:
        kills: Of each victim.
        in_run: Kills before the end of the run.
        updates: Of the run.
        seconds: From its first start to its end.
        answers: That other callers got, each the first time that they asked or after retries.
    """

    kills: Mapping[str, int]
    in_run: int
    updates: int
    seconds: float
    answers: int

    def __str__(self) -> str:
        kills = ", ".join(f"{name}: {count}" for name, count in self.kills.items())
        return (
            f"kills ({kills}), {self.in_run} of them before the end of the run, in {self.seconds:.0f} s; "
            f"{self.updates} updates end with the same bits; "
            f"{self.answers} groups of other callers, each with the same rewards every time"
        )


def killed_run(
    folder: Path,
    victims: Sequence[str],
    kills: int,
    *,
    seed: int = 11,
    most_s: float = math.inf,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Runs twice, undisturbed and with kills, and asserts that nothing tells the two apart.

    Args:
        folder: Gets the runs and the logs; an undisturbed run that it already holds is used again.
        victims: Names of what is killed, of `VICTIMS`.
        kills: Of each victim.
        seed: Of the moments of the kills.
        most_s: Seconds after which nothing is killed any more.
        say: Gets lines about what happens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = folder / "images"
    write_unlabelled(images, 4, seed=5)  # two updates per epoch: kills are in many epochs
    updates = SPARE_UPDATES + math.ceil(kills * max(UPDATES_PER_KILL[name] for name in victims))
    with (
        servers(folder, embeds_in_worker="embedding-worker" in victims) as (reward, rollout),
        Callers(reward.url) as callers,
    ):
        whole, killed = (
            Training(folder / name, images, reward.url, rollout.url, updates) for name in ("whole", "killed")
        )
        whole.finish(START_S + UPDATE_S * updates)
        update_s = statistics.mean(_step_times_s(whole))
        say(f"the undisturbed run: {updates} updates, {update_s:.2f} s each")
        began_s = time.monotonic()
        trainer = Trainer(killed)
        found: dict[str, Victim] = {
            "reward-server": reward,
            "embedding-worker": EmbeddingWorker(reward),
            "rollout-server": rollout,
            "trainer": trainer,
        }
        rounds = _Kills([found[name] for name in victims], kills, random.Random(seed), update_s, say)
        while trainer.process.poll() is None:
            if time.monotonic() - began_s < most_s:
                rounds.go_on()
            time.sleep(POLL_S)
        in_run = sum(rounds.made.values())
        while rounds.left and time.monotonic() - began_s < most_s:
            rounds.go_on()
            time.sleep(POLL_S)
        seconds = time.monotonic() - began_s
        assert trainer.process.returncode == 0, killed.log.read_text()[-5_000:]
    compare(killed, whole)
    assert callers.others == []
    assert callers.answers == callers.posted, "each group was answered as often as it was posted"
    return Outcome(rounds.made, in_run, updates, seconds, callers.answers.total())


def _step_times_s(training: Training) -> Iterator[float]:
    """The duration of each update, without the start."""
    for line in read_lines(training.run / "metrics.jsonl"):
        yield next(line[f"{role}/step_time"] for role in ROLES if f"{role}/step_time" in line)


@contextmanager
def servers(folder: Path, *, embeds_in_worker: bool) -> Iterator[tuple[RewardServer, RolloutServer]]:
    """The servers of both runs, ready."""
    reward = RewardServer(folder / "reward-server.log", embeds_in_worker=embeds_in_worker)
    try:
        rollout = RolloutServer(folder / "rollout-server.log")
        try:
            reward.wait_until_ready()
            rollout.wait_until_ready()
            yield reward, rollout
        finally:
            rollout.stop()
    finally:
        reward.stop()


class _Kills:
    """When to kill whom.

    Attributes:
        made: The kills of each victim.
    """

    def __init__(
        self,
        victims: Sequence[Victim],
        kills: int,
        moment: random.Random,
        spread_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._victims = victims
        self._kills = kills
        self._moment = moment
        self._spread_s = spread_s
        self._say = say
        self._due_s: dict[str, float] = {}
        self.made = {victim.name: 0 for victim in victims}
        self._last_s = time.monotonic()

    def go_on(self) -> None:
        """Kills whoever is due; whoever has worked becomes due within `spread_s`."""
        now_s = time.monotonic()
        assert now_s - self._last_s < STALLED_S or not self.left, f"nothing was killed; so far {self.made}"
        for victim in self.left:
            due_s = self._due_s.get(victim.name)
            if due_s is None and victim.has_worked():
                self._due_s[victim.name] = now_s + self._moment.uniform(0, self._spread_s)
            elif due_s is not None and due_s <= now_s:
                del self._due_s[victim.name]
                if not victim.has_worked():  # another victim's kill took it along
                    continue
                victim.kill()
                self.made[victim.name] += 1
                self._say(f"{victim.name}: kill {self.made[victim.name]} after {now_s - self._last_s:.1f} s")
                self._last_s = now_s

    @property
    def left(self) -> list[Victim]:
        """Whom to kill."""
        return [victim for victim in self._victims if self.made[victim.name] < self._kills]
