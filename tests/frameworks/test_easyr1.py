"""EasyR1: our reward function as its sources of 30 July 2026 (b44b311) load and call it."""

import importlib.util
import random
import sys
from functools import partial
from typing import Any

import pytest

from ireasoner.clients.batches import SplitGroups
from ireasoner.clients.easyr1_reward import compute_score
from tests.frameworks.conftest import ADAPTERS, Solver
from tests.frameworks.rollouts import DIALECTS, GROUPS, Dialect, neutral


@pytest.fixture(autouse=True)
def _server(compass_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREASONER_REWARD_URL", compass_url)


def rows(groups: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The input for whole groups, whose answers are ids."""
    return [
        {"response": text, "response_length": len(text), "ground_truth": f"id-{number}"}
        for number, texts in enumerate(groups.values())
        for text in texts
    ]


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_shuffled_rows_get_the_rewards_of_their_groups(
    monkeypatch: pytest.MonkeyPatch, solver: Solver, dialect: Dialect
) -> None:
    """Loaded by its path, with its arguments bound; every score has the same keys."""
    monkeypatch.setenv("IREASONER_REWARD_CONFIG", dialect.config_text)
    spec = importlib.util.spec_from_file_location("custom_reward_fn", ADAPTERS / "easyr1_reward.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "custom_reward_fn", module)
    spec.loader.exec_module(module)
    assert module.REWARD_TYPE == "batch"
    expected = [
        each for texts in dialect.groups.values() for each in neutral(solver(texts, config=dialect.config))
    ]
    given = list(zip(rows(dict(dialect.groups)), expected, strict=True))
    random.Random(0).shuffle(given)
    scores = partial(module.compute_score, group_size=6)([row for row, _ in given])
    assert [each["overall"] for each in scores] == [reward for _, reward in given]
    assert len({tuple(each) for each in scores}) == 1
    assert all(type(value) is float for each in scores for value in each.values())


def test_a_validation_samples_once(solver: Solver) -> None:
    texts = next(iter(GROUPS.values()))[:1]
    assert [each["overall"] for each in compute_score(rows({"q": texts}), 6)] == solver(texts)


@pytest.mark.parametrize("count", [2, 5, 7, 12])
def test_answers_that_do_not_tell_groups_apart_are_refused(count: int) -> None:
    same = [{"response": "a", "response_length": 1, "ground_truth": "7"}] * count
    with pytest.raises(SplitGroups, match=f"{count} responses have one answer"):
        compute_score(same, 6)
