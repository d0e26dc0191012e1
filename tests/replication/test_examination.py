"""What an examination makes of a policy's answers, on answers that are written by hand."""

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest
from PIL import Image

from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import find_question
from replication.examination import Examiner


def written(*additions: str, answer: int) -> str:
    steps = ["Row 1 reads 3, 5, 8", *additions]
    lines = "".join(f"Step {i}: {step}.\n" for i, step in enumerate(steps, start=1))
    return f"<think>\n{lines}</think>\n<answer>{answer}</answer>"


SOUND = written("3 + 5 = 8", "8 + 8 = 16", answer=16)
OTHER_ORDER = written("8 + 3 = 11", "11 + 5 = 16", answer=16)
LUCKY = written("3 + 5 = 9", "9 + 8 = 16", answer=16)
WRONG = written("3 + 5 = 9", "9 + 8 = 17", answer=17)


class Answers:
    """A server whose every policy answers so."""

    def __init__(self, greedy: str, *sampled: str) -> None:
        self._greedy, self._sampled = greedy, sampled

    def texts(
        self, _: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        texts = list(self._sampled) if contract.temperature else [self._greedy]
        return [texts for _ in requests]


def examined(greedy: str, *sampled: str) -> dict[str, Any]:
    question = find_question("What is the sum of row 1?")
    assert question is not None
    asked = question.about(Grid(Image.new("RGB", (84, 84)), (3, 5, 8, 0, 0, 0, 0, 0, 0)))
    examiner = Examiner(cast(RolloutClient, Answers(greedy, *sampled)), 64, ())
    assert examiner.greedy_hits("policy", [asked]) == [float("16</answer>" in greedy)]
    values = examiner.examine("policy", [asked], samples=len(sampled), seed=0).as_dict()
    return {name: value for name, [value] in values.items()}


def test_right_by_true_steps_and_by_luck_are_told_apart() -> None:
    told = examined(LUCKY, SOUND, OTHER_ORDER, LUCKY, WRONG)
    assert (told["greedy"], told["greedy_sound"]) == (1.0, 0.0)
    assert (told["sampled"], told["sound"]) == (0.75, 0.5)
    assert (told["majority"], told["passed"]) == (1.0, 1.0)
    assert examined(SOUND, SOUND)["greedy_sound"] == 1.0


def test_spread_of_answers_and_of_orders() -> None:
    told = examined(WRONG, SOUND, OTHER_ORDER, LUCKY, WRONG)
    assert told["orders"] == 0.5
    assert told["entropy_nats"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert examined(SOUND, SOUND, SOUND)["entropy_nats"] == 0.0
    silent = examined(SOUND, "no answer", "none either")
    assert silent["entropy_nats"] == pytest.approx(math.log(2))
    assert silent["orders"] == 0.0
