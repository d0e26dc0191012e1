"""Frameworks whose dependencies conflict with ours, each in its own environment: their code, our adapter."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frameworks.conftest import Solver, framework_python, run_script
from tests.frameworks.rollouts import DIALECTS, GROUPS, neutral

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(1800)]


def run(framework: str, module: str, url: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """The output of a module of this package, run in the framework's environment, by dialect."""
    file = folder / "rewards.json"
    python = framework_python(framework)
    run_script(python, module, *arguments, str(file), IREASONER_REWARD_URL=url, MODEL_KEY="none")
    done: dict[str, Any] = json.loads(file.read_text())
    return done


def single(rewards: Sequence[float | None]) -> list[float | None]:
    """Rewards as a framework with single precision keeps them."""
    return [None if reward is None else float(np.float32(reward)) for reward in rewards]


def every_group_has_the_rewards_of_score_solver(
    done: dict[str, dict[str, list[Any]]],
    solver: Solver,
    kept: Callable[[Sequence[float | None]], Sequence[float | None]] = tuple,
) -> None:
    """`done` holds rows of text and reward by dialect and prompt; `kept` rounds like the framework."""
    assert done.keys() == DIALECTS.keys()
    for name, dialect in DIALECTS.items():
        assert done[name].keys() == dialect.groups.keys()
        for prompt, rows in done[name].items():
            texts = [text for text, *_ in rows]
            assert sorted(texts) == sorted(dialect.groups[prompt])
            expected = kept(neutral(solver(texts, config=dialect.config)))
            assert [reward for _, reward, *_ in rows] == list(expected)


@pytest.mark.parametrize("mode", ["agent", "manager"])
def test_verl(compass_url: str, tmp_path: Path, solver: Solver, mode: str) -> None:
    """The agent loop, and the reward manager with siblings distributed over two workers."""
    got = run("verl", "verl_rollouts", compass_url, tmp_path, mode)
    every_group_has_the_rewards_of_score_solver(got, solver)
    parts = [part for groups in got.values() for rows in groups.values() for *_, part in rows]
    [names] = {frozenset(each) for each in parts}
    assert names >= {"outcome", "trajectory", "abstained"}
    assert {type(value) for each in parts for value in each.values()} == {float}
    assert [each["abstained"] for each in parts].count(1.0) == len(DIALECTS)


def test_ms_swift(compass_url: str, tmp_path: Path, solver: Solver) -> None:
    """With and without prompt ids, and with one prompt twice in the batch; no part of a group is scored."""
    done = run("ms-swift", "swift_rewards", compass_url, tmp_path)
    for name, dialect in DIALECTS.items():
        first, second = dialect.groups.values()
        expected = [neutral(solver(texts, 0.5, dialect.config)) for texts in (first, second, first)]
        with_ids, without = done[name]
        assert with_ids == without == single([reward for group in expected for reward in group])
        assert None not in with_ids
    texts = next(iter(GROUPS.values()))
    pairs = [neutral(solver(texts[first : first + 2], 0.5)) for first in range(0, len(texts), 2)]
    assert done["evaluation"] == single([reward for pair in pairs for reward in pair])
    rewards, advantages = done["unjudged"]
    assert rewards == [None] * len(texts) + single(neutral(solver(texts, 0.5)))
    assert advantages[: len(texts)] == [0.0] * len(texts)
    abstained = len(texts) + solver(texts).index(None)
    assert advantages[abstained] == pytest.approx(0, abs=1e-6)
    assert max(advantages) > 0.1
    assert len(done["refusals"]) == 7
    assert all(message.startswith("groups are split: this rank has ") for message in done["refusals"])


def test_verifiers(compass_url: str, tmp_path: Path, solver: Solver) -> None:
    got = run("verifiers", "verifiers_episodes", compass_url, tmp_path)
    every_group_has_the_rewards_of_score_solver(got, solver)


def test_skyrl(compass_url: str, tmp_path: Path, solver: Solver) -> None:
    """Batched generation with one reward per row, and the agent loop with one reward per token."""
    done = run("skyrl", "skyrl_generation", compass_url, tmp_path)
    for way in range(2):
        every_group_has_the_rewards_of_score_solver({name: both[way] for name, both in done.items()}, solver)


def test_areal(compass_url: str, tmp_path: Path, solver: Solver) -> None:
    got = run("areal", "areal_episodes", compass_url, tmp_path)
    every_group_has_the_rewards_of_score_solver(got, solver, single)
