"""The metrics of an evaluation, on answers written by hand."""

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest
from PIL import Image

from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import find_question
from replication.evaluation import Evaluator


def written(*additions: str, answer: int) -> str:
    steps = ["Row 1 reads 3, 5, 8", *additions]
    lines = "".join(f"Step {i}: {step}.\n" for i, step in enumerate(steps, start=1))
    return f"<think>\n{lines}</think>\n<answer>{answer}</answer>"


SOUND = written("3 + 5 = 8", "8 + 8 = 16", answer=16)
OTHER_ORDER = written("8 + 3 = 11", "11 + 5 = 16", answer=16)
LUCKY = written("3 + 5 = 9", "9 + 8 = 16", answer=16)
WRONG = written("3 + 5 = 9", "9 + 8 = 17", answer=17)


class Answers:
    """A server whose policies all give these answers."""

    def __init__(self, greedy: str, *sampled: str) -> None:
        self._greedy, self._sampled = greedy, sampled

    def texts(
        self, _: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        texts = list(self._sampled) if contract.temperature else [self._greedy]
        return [texts for _ in requests]


def evaluated(greedy: str, *sampled: str) -> dict[str, Any]:
    question = find_question("What is the sum of row 1?")
    assert question is not None
    asked = question.about(Grid(Image.new("RGB", (84, 84)), (3, 5, 8, 0, 0, 0, 0, 0, 0)))
    evaluator = Evaluator(cast(RolloutClient, Answers(greedy, *sampled)), 64, ())
    assert evaluator.greedy_hits("policy", [asked]) == [float("16</answer>" in greedy)]
    values = evaluator.evaluate("policy", [asked], samples=len(sampled), seed=0).as_dict()
    return {name: value for name, [value] in values.items()}


def test_sound_and_lucky_answers_are_counted_separately() -> None:
    metrics = evaluated(LUCKY, SOUND, OTHER_ORDER, LUCKY, WRONG)
    assert (metrics["greedy"], metrics["greedy_sound"]) == (1.0, 0.0)
    assert (metrics["sampled"], metrics["sound"]) == (0.75, 0.5)
    assert (metrics["majority"], metrics["passed"]) == (1.0, 1.0)
    assert evaluated(SOUND, SOUND)["greedy_sound"] == 1.0


def test_the_spread_of_answers_and_of_orders() -> None:
    metrics = evaluated(WRONG, SOUND, OTHER_ORDER, LUCKY, WRONG)
    assert metrics["orders"] == 0.5
    assert metrics["entropy_nats"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert evaluated(SOUND, SOUND, SOUND)["entropy_nats"] == 0.0
    silent = evaluated(SOUND, "no answer", "none either")
    assert silent["entropy_nats"] == pytest.approx(math.log(2))
    assert silent["orders"] == 0.0
