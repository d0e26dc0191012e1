"""Every preset trains: two updates through the real servers, with what it needs really measured or sampled."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ireasoner.trainer.loop import judging
from ireasoner.trainer.loop.proposals import Proposals
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

N = 4
Group = dict[str, Any]


def question(_: Proposals, proposal: Any) -> str:
    """The tiny model was never taught to paraphrase: whatever it says holds a question."""
    return "What is the sum of row 1?" if "proposer" in proposal.policy else "How much is row 1 in all?"


def paid(group: Group) -> list[float]:
    return [rollout["reward"] for rollout in group["rollouts"] if rollout["reward"] is not None]


def pays_the_majority(group: Group) -> None:
    assert set(paid(group)) <= {0.0, 1.0, 0.5, 1 / 3, 0.25}


def pays_shares(group: Group) -> None:
    for rollout in group["rollouts"]:
        same = sum(other["answer"] == rollout["answer"] for other in group["rollouts"])
        assert rollout["reward"] == pytest.approx(same / N if rollout["answer"] else 0.0)


def pays_the_signal(
    name: str, pay: Callable[[float], float] = lambda value: value
) -> Callable[[Group], None]:
    def check(group: Group) -> None:
        for rollout in group["rollouts"]:
            assert set(rollout["signals"]) == {name}
            assert rollout["reward"] == pytest.approx(pay(rollout["signals"][name]), rel=1e-6)
            assert rollout["components"][name] == pytest.approx(rollout["signals"][name], rel=1e-6)

    return check


def pays_ratios(group: Group) -> None:
    best = max(rollout["signals"]["sum_logprob"] for rollout in group["rollouts"])
    for rollout in group["rollouts"]:
        assert rollout["reward"] == pytest.approx(
            math.exp(rollout["signals"]["sum_logprob"] - best), rel=1e-6
        )


def is_judged_by(policy: str) -> Callable[[Group], None]:
    def check(group: Group) -> None:
        voters = group["voters"]
        assert len(voters["rollouts"]) == N
        version = group["rollouts"][0]["policy"][-6:]
        assert all(f"{policy}-{version}" in rollout["policy"] for rollout in voters["rollouts"])
        assert policy == "solver" or voters["question"] == group["question"]
        pays_the_majority(group)

    return check


def has_a_judge(group: Group) -> None:
    for rollout in group["rollouts"]:
        judgement = rollout["judgement"]
        assert judgement["reply"] is not None
        if judgement["score"] is None and rollout["status"] != "invalid":
            assert (rollout["status"], rollout["reason"]) == ("abstain", "the signal 'judge' is missing")
        elif rollout["status"] == "ok":
            assert rollout["signals"] == {"judge": judgement["score"]}
            assert 0.8 <= rollout["components"]["judge"] <= 1.2


slow = pytest.mark.slow

CASES: list[Any] = [
    pytest.param("judge-bounded", {}, has_a_judge),
    pytest.param("co-rewarding", {"voters": "teacher"}, is_judged_by("teacher"), id="teacher"),
    pytest.param("self-certainty", {}, pays_the_signal("self_certainty"), marks=slow),
    pytest.param(
        "co-rewarding", {"voters": "paraphrase"}, is_judged_by("solver"), marks=slow, id="paraphrase"
    ),
    pytest.param("sequence-probability", {}, pays_ratios, marks=slow),
    pytest.param(
        "entropy-minimisation", {}, pays_the_signal("mean_token_entropy", lambda value: -value), marks=slow
    ),
    pytest.param("ttrl", {}, pays_the_majority, marks=slow),
    pytest.param("ttrl-strict", {}, pays_the_majority, marks=slow),
    pytest.param("empo", {}, pays_shares, marks=slow),
]


def settings(folder: Path, reward: dict[str, Any], rollout: dict[str, Any], **fields: Any) -> RunSettings:
    write_unlabelled(folder / "images", 4, seed=3)
    return RunSettings(
        model=str(MODEL),
        images=folder / "images",
        run_folder=folder / "run",
        updates=2,
        proposer_every=0,
        group_size=N,
        groups_per_update=2,
        cpu_threads=1,
        lora={"dropout": 0.0},
        reward=reward,
        rollout={"solver_max_tokens": 48, "proposer_max_tokens": 24, "judge_max_tokens": 48, **rollout},
        grpo={"learning_rate": 3e-3, "report_to": "none"},
        **fields,
    )


@pytest.mark.parametrize(("preset", "reward", "check"), CASES)
def test_a_preset_trains(
    preset: str,
    reward: dict[str, Any],
    check: Callable[[Group], None],
    reward_url: str,
    rollout_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The tiny model was never taught to judge: two of three replies count as a score.
    monkeypatch.setattr(judging, "parse_score", lambda text: [None, 0.5, 1.0][len(text) % 3])
    monkeypatch.setattr(Proposals, "question", question)
    one = settings(tmp_path, {"url": reward_url, "config": preset, **reward}, {"url": rollout_url})
    run = train(one, Console(quiet=True))
    lines = list(read_lines(run.path / "metrics.jsonl"))
    groups = list(read_lines(run.path / "groups.jsonl"))
    assert [line["update"] for line in lines] == [1, 2]
    assert len(groups) == 4
    assert any(paid(group) for group in groups)
    assert all(group["question"] is not None for group in groups)
    if preset == "judge-bounded":
        assert any(rollout["judgement"]["score"] is not None for g in groups for rollout in g["rollouts"])
    if preset == "co-rewarding":
        assert all("voters" in group for group in groups)
    for group in groups:
        if group["question"] is not None:
            check(group)
    assert all(math.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    measures = preset in ("co-rewarding", "entropy-minimisation", "judge-bounded", "self-certainty")
    assert all(("solver/time_share/measure" in line) == measures for line in lines)
