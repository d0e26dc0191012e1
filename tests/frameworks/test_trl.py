"""TRL: real training on one and on two processes, with whole groups and with groups split over ranks."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ireasoner.clients import RequestRefused
from ireasoner.clients.batches import SplitGroups
from ireasoner.clients.trl_reward import GroupReward
from ireasoner.compat.repairs import STARTUP
from tests.frameworks.conftest import ROOT, Solver, lines, run_script
from tests.frameworks.rollouts import DIALECTS, GROUPS
from tests.reward_server.requests import rollout
from tests.rollout_server.running import free_port

GROUP_SIZE = 4
STEPS = 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training(compass_url: str, tmp_path: Path, solver: Solver) -> None:
    """All trainings come from one run of the script, because importing TRL takes long."""
    log_lines = run_script(sys.executable, "trl_training", compass_url, str(tmp_path), deadline_s=840)
    for run, ranks, rows, dialect in (
        ("single", 1, 32, "paper"),
        ("async", 1, 32, "paper"),
        ("parts", 1, 32, "paper"),
        ("async-parts", 1, 32, "paper"),
        ("rloo", 1, 32, "tags"),
        ("whole", 2, 4, "paper"),
        ("split", 2, 2, "boxed"),
        ("async-split", 2, 2, "boxed"),
    ):
        config = DIALECTS[dialect].config
        given = every_group_has_the_rewards_of_score_solver(tmp_path / run, solver, ranks, rows, config)
        assert len(set(given)) > 3
        if ranks == 1:
            assert None in given, "the server never abstained"
        log = json.loads((tmp_path / run / "log.json").read_text())
        assert log["moved"]
        trl_shows_what_the_rewards_are_made_of(log, in_parts="parts" in run)
    all_ranks_got_none_and_the_run_went_on(tmp_path / "give up")
    assert log_lines.count("this batch has no rewards: ") == 2 * STEPS
    every_rank_got_the_error(tmp_path / "refused", "nowhere")
    every_rank_got_the_error(tmp_path / "other size", "4 consecutive rows have one prompt")
    every_rank_got_the_error(tmp_path / "no server", "Connection refused")
    every_rank_got_the_error(tmp_path / "unreadable", "TypeError: ")
    assert "All reward functions returned None" not in log_lines
    assert "the reward server abstained from" in log_lines
    the_example_trained_on_text_alone(tmp_path / "example")
    the_worker_of_async_grpo_scored_whole_groups(tmp_path / "worker.json", solver)


def trl_shows_what_the_rewards_are_made_of(log: dict[str, Any], in_parts: bool) -> None:
    """In the charts of the first step, and in the table of completions."""
    first = log["history"][0]
    names = ["outcome", "trajectory", "abstained", "entropy", "dominant_share"]
    assert {f"agreement/{name}" for name in names} <= first.keys()
    lambdas = [each["agreement/lambda"] for each in log["history"] if "agreement/lambda" in each]
    assert lambdas
    assert all(-1e-6 <= each <= 0.7 + 1e-6 for each in lambdas)
    means = {f"rewards/agreement_{part}/mean" for part in ("outcome", "trajectory")}
    assert means <= first.keys() if in_parts else "rewards/agreement/mean" in first
    table = log["table"]
    assert table.keys() == {"agreement_answer", "agreement_steps", "agreement_fingerprint"}
    assert len({len(column) for column in table.values()}) == 1
    assert len(set(table["agreement_fingerprint"])) == 1
    assert any("north" in steps for steps in table["agreement_steps"])


def the_worker_of_async_grpo_scored_whole_groups(file: Path, solver: Solver) -> None:
    scored = json.loads(file.read_text())
    expected = [solver(texts) for texts in GROUPS.values()]
    for name in ("reward", "async"):
        got = [[sample["reward"] for sample in group] for group in scored[name]]
        assert [[None if each != each else each for each in group] for group in got] == expected
    for group in scored["parts"]:
        assert all(
            {"rewards/agreement_outcome", "rewards/agreement_trajectory"} <= each.keys() for each in group
        )


def calls(folder: Path) -> list[list[dict[str, Any]]]:
    """The inputs and results of each rank's reward function, by call."""
    ranks = [lines(file) for file in sorted(folder.glob("rank*.jsonl"))]
    return [list(call) for call in zip(*ranks, strict=True)]


def every_group_has_the_rewards_of_score_solver(
    folder: Path, solver: Solver, ranks: int, rows: int, config: Any
) -> list[float | None]:
    """Equal to the last digit on every rank; None if the server abstains."""
    given: list[float | None] = []
    for call in calls(folder):
        assert [len(rank["texts"]) for rank in call] == [rows] * ranks
        prompts, texts, rewards = (
            [row for rank in call for row in rank[name]] for name in ("prompts", "texts", "rewards")
        )
        for start in range(0, len(texts), GROUP_SIZE):
            members = slice(start, start + GROUP_SIZE)
            assert len(set(prompts[members])) == 1
            assert rewards[members] == solver(texts[members], call[0]["progress"], config)
        given += rewards
    return given


def all_ranks_got_none_and_the_run_went_on(folder: Path) -> None:
    assert [[rank["rewards"] for rank in call] for call in calls(folder)] == [[[None, None]] * 2] * STEPS


def every_rank_got_the_error(folder: Path, reason: str) -> None:
    """Before the first step, and no rank waits for another."""
    errors = [file.read_text() for file in sorted(folder.glob("rank*.error"))]
    assert len(errors) == 2
    assert all(reason in error for error in errors), errors
    assert calls(folder) == []


def the_example_trained_on_text_alone(folder: Path) -> None:
    history = json.loads((folder / "log.json").read_text())["history"]
    for entry in history[:STEPS]:
        assert 0.0 < entry["agreement/valid"] <= 1.0
        assert 0.0 < entry["rewards/agreement/mean"] < 1.0
        assert entry["agreement/outcome"] > 0.0
    assert "train_loss" in history[-1]


def test_evaluation_has_groups_of_its_own_size(compass_url: str, solver: Solver) -> None:
    """Three groups of one prompt, each half as large as in training."""
    reward = GroupReward(4, compass_url, num_generations_eval=2)
    texts = [rollout(answer, "east") for answer in ("7", "7", "8", "9", "5", "5")]
    expected = [each for first in (0, 2, 4) for each in solver(texts[first : first + 2])]
    assert reward(["q"] * 6, texts) == expected
    assert len(set(expected)) > 1


def test_the_examples_help_needs_nothing_installed() -> None:
    without_packages = [sys.executable, "-S", "examples/trl_arithmetic.py", "--help"]
    shown = subprocess.run(
        without_packages, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--reward-url" in shown.stdout


def test_the_commands_of_the_page_train(tmp_path: Path, compass: Path) -> None:
    """Unchanged except for the port and the embedder, which is the one that starts fastest."""
    page = (ROOT / "docs" / "frameworks" / "trl.md").read_text()
    [block] = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    port, output = free_port(), tmp_path / "out"
    flags = f"--reward-url http://127.0.0.1:{port} --output {shlex.quote(str(output))}"
    for command, as_run in (
        (
            "reward-server &",
            f"{sys.executable} -m ireasoner.reward_server --port {port} & trap 'kill %1 || true' EXIT",
        ),
        ("python examples/trl_arithmetic.py", f"{sys.executable} examples/trl_arithmetic.py {flags}"),
    ):
        assert f"{command}\n" in block
        block = block.replace(command, as_run)
    ended = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(STARTUP),
            "REWARD_EMBEDDER": "token-mean",
            "REWARD_TOKEN_MEAN_CHECKPOINT": str(compass),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert ended.stdout.count("agreement/outcome") == STEPS
    assert "train_loss" in ended.stdout


def test_unknown_parts_are_not_in_the_charts(compass_url: str) -> None:
    """A group that cannot be judged has no trajectory reward; another group in the batch has one."""
    charts: dict[str, float] = {}
    reward = GroupReward(2, compass_url)
    unclear, clear = rollout("7", "nowhere"), rollout("7", "east")
    rewards = reward(["q"] * 2, [unclear] * 2, log_metric=charts.__setitem__)
    assert rewards == [None, None]
    assert charts.keys() >= {"agreement/outcome", "agreement/abstained"}
    assert "agreement/trajectory" not in charts
    reward(["q", "q", "r", "r"], [unclear, unclear, clear, clear], log_metric=charts.__setitem__)
    alone: dict[str, float] = {}
    reward(["r"] * 2, [clear] * 2, log_metric=alone.__setitem__)
    assert charts["agreement/trajectory"] == alone["agreement/trajectory"] > 0
    assert charts["agreement/abstained"] == 0.5


def test_a_single_process_gets_the_error(compass_url: str) -> None:
    with pytest.raises(RequestRefused):
        GroupReward(2, compass_url, config="nowhere")(["q"] * 2, ["a", "b"])
    with pytest.raises(TypeError):
        GroupReward(2, compass_url)(["q"] * 2, [[7], [7]])


def test_groups_of_another_size_are_refused(compass_url: str) -> None:
    texts = [rollout("7", "east")] * 6
    for size in (4, 12):
        with pytest.raises(SplitGroups, match="6 consecutive rows have one prompt"):
            GroupReward(size, compass_url)(["q"] * 6, texts)


def test_a_completion_without_text_is_invalid(compass_url: str, solver: Solver) -> None:
    """It has no vote, whatever it holds instead of text."""
    call = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add"}}]}
    silent = [
        [{"role": "assistant", "content": None}],
        [call],
        [call, {"role": "tool", "name": "add", "content": rollout("9", "west")}],
        [{"role": "assistant", "content": []}],
    ]
    said = rollout("7", "east")
    parts = [{"type": "text", "text": said[:9]}, {"type": "text", "text": said[9:]}]
    spoken = [[{"role": "assistant", "content": content}] for content in (said, parts)]
    charts: dict[str, float] = {}
    answers: dict[str, list[str | None]] = {}
    rewards = GroupReward(6, compass_url)(
        ["q"] * 6,
        [*silent, *spoken],
        log_metric=charts.__setitem__,
        log_extra=answers.__setitem__,
    )
    assert rewards == solver(["", "", "", "", said, said])
    assert rewards[:4] == [0.0] * 4
    assert charts["agreement/valid"] == 2 / 6
    assert answers["agreement_answer"] == [None] * 4 + ["7"] * 2
