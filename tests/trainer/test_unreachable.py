"""An unreachable server ends the run when the budget is spent, and no finished update is lost."""

import io
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainerCallback, TrainerState

from ireasoner.clients import ConnectionBroken, NotReady, RewardClient, RewardError, ScoreResponse
from ireasoner.clients import Group as PostedGroup
from ireasoner.trainer.errors import RolloutServerError
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.conftest import MODEL
from tests.rollout_server.running import free_port
from tests.trainer.offline import (
    OfflineRewards,
    OfflineRollouts,
    answers,
    offline_settings,
    offline_trainer,
)

pytestmark = pytest.mark.timeout(300)

GROUPS = ((1, 2, 4, 9), (3, 3, 5, 5), (2, 9, 9, 9), (1, 1, 1, 8))
FIELDS: dict[str, Any] = {
    "updates": 4,
    "groups_per_update": 4,  # two updates an epoch
    "save_every": 100,
    "lora": {"dropout": 0.1},  # its masks are drawn from the random state that a checkpoint holds
    "retry_budget_s": 0,
}


class SamplingEnds(OfflineRollouts):
    """A server that is unreachable when a version is sampled."""

    def __init__(self, version: int) -> None:
        super().__init__(answers(*GROUPS))
        self._last = f"solver-{version:06d}"

    def sample(self, policy: str, *arguments: Any) -> Any:
        if policy.endswith(self._last):
            raise RolloutServerError("unreachable")
        return super().sample(policy, *arguments)


class LoadingEnds(SamplingEnds):
    """A server that loads a version and is unreachable before it answers."""

    def load_adapter(self, name: str, path: str) -> None:
        super().load_adapter(name, path)
        if name.endswith(self._last):
            raise RolloutServerError("unreachable")


class ScoringEnds(OfflineRewards):
    """A server that is unreachable after `posts` posts."""

    def __init__(self, posts: int) -> None:
        super().__init__()
        self._left = posts

    def score(self, endpoint: str, groups: Sequence[PostedGroup], **fields: Any) -> ScoreResponse:
        self._left -= 1
        if self._left < 0:
            raise ConnectionBroken("unreachable")
        return super().score(endpoint, groups, **fields)


def run(folder: Path, rollouts: Any = None, rewards: Any = None, **fields: Any) -> ProposerSolverTrainer:
    settings = offline_settings(folder, **FIELDS, **fields)
    trainer = offline_trainer(settings, rollouts or OfflineRollouts(answers(*GROUPS)), rewards=rewards)
    trainer.go()
    return trainer


def test_a_run_whose_server_stays_unreachable_is_saved_and_resumes_exactly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(tmp_path / "whole")
    resume = False
    for updates, servers in (
        (0, {"rollouts": SamplingEnds(0)}),
        (2, {"rollouts": SamplingEnds(2)}),  # at the end of an epoch
        (3, {"rollouts": LoadingEnds(3)}),
        (3, {"rewards": ScoringEnds(0)}),
    ):
        caplog.clear()
        with pytest.raises((RolloutServerError, RewardError), match="unreachable"):
            run(tmp_path, resume=resume, **servers)
        resume = True
        saved = [path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")]
        assert (f"checkpoint-{updates}" in saved) is (updates > 0)
        report = f"saved at update {updates}; go on with --resume" if updates else "nothing is saved"
        assert report in caplog.text

    resumed = run(tmp_path, resume=True)
    pairs = zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True)
    assert [name for (name, one), (_, other) in pairs if not torch.equal(one, other)] == []
    logs = [list(read_lines(trainer.run.path / "metrics.jsonl")) for trainer in (whole, resumed)]
    assert [line["update"] for line in logs[1]] == [1, 2, 3, 4]
    for name in ("solver/loss", "solver/kl", "solver/grad_norm"):
        assert [line[name] for line in logs[1]] == [line[name] for line in logs[0]]
    counted = [
        [(group["update"], group["trained_on"]) for group in read_lines(trainer.run.groups)]
        for trainer in (whole, resumed)
    ]
    assert counted[1] == counted[0], "no group is lost or written twice"


class RewardServer:
    """A real server in a process of its own, which can be killed and restarted on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        embedder = ["--embedder", "token-mean", "--token-mean-checkpoint", str(MODEL)]
        command = [sys.executable, "-m", "ireasoner.reward_server", "--port", str(self.port), *embedder]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def start_again(self) -> None:
        self._process = self._started()


class Crash(TrainerCallback):  # type: ignore[misc]
    """Kills the server while the first update is trained, and restarts it three seconds later."""

    def __init__(self, server: RewardServer) -> None:
        self._server = server
        self.again = threading.Timer(3.0, server.start_again)

    def on_pre_optimizer_step(self, _arguments: Any, state: TrainerState, *_: Any, **__: Any) -> None:
        if state.global_step == 0:
            self._server.kill()
            self.again.start()


def test_a_reward_server_that_is_killed_and_restarted_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    server = RewardServer()
    crash = Crash(server)
    settings = offline_settings(
        tmp_path, updates=3, groups_per_update=4, reward={"url": server.url}, retry_budget_s=120
    )
    try:
        with RewardClient(server.url, retry_budget_s=0) as client:
            client.wait_until_ready(120)
            rollouts = OfflineRollouts(answers(*GROUPS))
            offline_trainer(settings, rollouts, [crash], client, said.append).go()
    finally:
        crash.again.join()
        server.kill()
    assert said
    assert all(re.match(r"reward server: .*; retrying for another \d+ s", line) for line in said)
    assert len(said) < 15, "the delays grow"
    groups = list(read_lines(tmp_path / "run" / "groups.jsonl"))
    assert [group["update"] for group in groups] == [0] * 4 + [1] * 4 + [2] * 4
    assert all(None not in group["trained_on"] for group in groups)
    assert [line["update"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3]


def test_a_wait_for_a_reward_server_that_is_not_up_is_reported(tmp_path: Path) -> None:
    shown = io.StringIO()
    url = f"http://127.0.0.1:{free_port()}"
    settings = offline_settings(tmp_path, reward={"url": url})
    with pytest.raises(NotReady):
        train(settings, Console(file=shown, width=200), is_alive=lambda: False)
    waiting = [line for line in shown.getvalue().splitlines() if "waiting for the reward server" in line]
    [line] = waiting
    assert line.startswith(f"waiting for the reward server at {url} for another")
    assert line.endswith(f"(start it with: reward-server --port {url.rpartition(':')[2]})")


def test_requests_in_flight_end_when_the_client_is_closed() -> None:
    """A server that accepts and never answers would otherwise keep the process for the timeout of a request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = RolloutClient(f"http://127.0.0.1:{server.getsockname()[1]}", retry_budget_s=300)
        asked = client.pool.submit(client.models)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(3) == b"GET"
            client.close()
            with pytest.raises((RolloutServerError, RuntimeError)):
                asked.result(timeout=60)


def test_a_client_that_stops_retrying_tries_once(tmp_path: Path) -> None:
    said: list[str] = []
    client = RolloutClient(f"http://127.0.0.1:{free_port()}", retry_budget_s=300, on_wait=said.append)
    client.stop_retrying()
    with pytest.raises(RolloutServerError, match="the run is ending"):
        client.models()
    client.close()
    assert said == []
