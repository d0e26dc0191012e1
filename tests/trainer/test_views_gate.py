"""The gate: votes over views against votes over the plain question, before any training."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.trainer.evaluation.questions import Question
from ireasoner.trainer.views import named_views
from ireasoner.trainer.views.gate import measure_gate

HERE = "tests.trainer.test_views_gate"


def redder(image: Image.Image, question: str, seed: int, index: int) -> Any:
    return Image.new("RGB", image.size, (100 + index, 0, 0)), question, None


def nowhere(image: Image.Image, question: str, seed: int, index: int) -> Any:
    return None


class Policy:
    """Says 8 of the plain image and 7 of every other; "left" where it is asked for a side."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def texts(self, _policy: str, requests: Sequence[Any], _contract: object) -> list[list[str]]:
        self.requests += requests
        return [[f"<answer>{self._answer(request)}</answer>"] * request.count for request in requests]

    @staticmethod
    def _answer(request: Any) -> str:
        if "which side" in request.messages[0]["content"][1]["text"]:
            return "left"
        red = Image.open(BytesIO(request.image_png)).convert("RGB").getpixel((0, 0))
        return "8" if red == (0, 0, 0) else "7"


def questions(folder: Path, text: str, answer: str, count: int = 3) -> list[Question]:
    picture = Image.new("RGB", (6, 6))
    picture.putpixel((4, 2), (0, 255, 0))  # so that its mirror image is another one
    picture.save(folder / "a.png")
    return [Question(folder / "a.png", text, answer) for _ in range(count)]


def gate(policy: Policy, asked: list[Question], names: Sequence[str], samples: int = 8) -> Any:
    return measure_gate(policy, "base", asked, named_views(names), samples=samples, max_tokens=8, seed=5)


def test_an_error_of_one_view_is_outvoted(tmp_path: Path) -> None:
    policy = Policy()
    found = gate(policy, questions(tmp_path, "What is it?", "7"), ["plain", *[f"{HERE}:redder"] * 3])
    assert (found.plain_hits, found.pooled_hits, found.replaced_share) == ((0.0,) * 3, (1.0,) * 3, 0.0)
    assert [request.count for request in policy.requests] == [8] * 3 + [2] * 12
    for part in (policy.requests[:3], policy.requests[3:]):
        seeds = [request.seed + member for request in part for member in range(request.count)]
        assert sorted(seeds) == list(range(5, 29)), "each rollout has a seed of its own"


def test_of_tied_answers_the_right_share_counts(tmp_path: Path) -> None:
    found = gate(Policy(), questions(tmp_path, "What is it?", "7"), ["plain", f"{HERE}:redder"])
    assert (found.plain_hits, found.pooled_hits) == ((0.0,) * 3, (0.5,) * 3)


def test_answers_are_mapped_back(tmp_path: Path) -> None:
    """It says left whatever it sees, so the mirror says right."""
    found = gate(Policy(), questions(tmp_path, "On which side is it?", "left"), ["plain", "mirror"])
    assert (found.plain_hits, found.pooled_hits) == ((1.0,) * 3, (0.5,) * 3)


def test_views_that_do_not_apply_are_counted_and_change_nothing(tmp_path: Path) -> None:
    found = gate(Policy(), questions(tmp_path, "What is it?", "8"), ["plain", f"{HERE}:nowhere"])
    assert (found.pooled_hits, found.replaced_share) == (found.plain_hits, 0.5)


@pytest.mark.parametrize(("names", "samples"), [(["plain", "jpeg", "crop"], 8), (["plain", "paraphrase"], 8)])
def test_views_that_cannot_be_measured_are_refused(tmp_path: Path, names: list[str], samples: int) -> None:
    with pytest.raises(ValueError, match="8 samples cannot be shared"):
        gate(Policy(), questions(tmp_path, "What is it?", "8"), names, samples)
