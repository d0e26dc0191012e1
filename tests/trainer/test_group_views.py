"""The prompts of a group: which views a question really has, and under which names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.views import GroupViews, named_views

HERE = "tests.trainer.test_group_views"
OPTIONS = "Which is it? A. red B. blue"
THREE = "Which is it? A. red B. blue C. green"


def draws(image: Image.Image, question: str, seed: int, index: int) -> Any:
    """Draws on the image in place."""
    ImageDraw.Draw(image).rectangle((0, 0, 10, 10), "red")
    return image, question, None


def louder(image: Image.Image, question: str, seed: int, index: int) -> Any:
    """The question in capitals, with a map that the plain question does not have."""
    return image, f"  {question.upper()} ", lambda answer: None


def group(question: str, size: tuple[int, int] = (64, 48)) -> Group:
    pixels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    one = Group(Path("a.png"), Image.fromarray(pixels))
    one.question = question
    return one


def views(*names: str) -> GroupViews:
    return GroupViews(named_views(names), None, seed=0, group_size=2 * len(names), contrast_rollouts=1)


@pytest.mark.parametrize(
    ("names", "question", "size", "rewordings", "shown"),
    [
        # What differs stays apart.
        (("plain", "jpeg", "jpeg"), "How many?", (64, 48), (), ["plain", "jpeg", "jpeg-2"]),
        (("plain", "mirror"), "How many cats?", (64, 48), (), ["plain", "mirror"]),
        (("plain", "option_order"), OPTIONS, (64, 48), (), ["plain", "option_order"]),
        (("jpeg", "paraphrase"), "What colour?", (64, 48), ["Which colour?"], ["jpeg", "paraphrase"]),
        (
            ("paraphrase", "paraphrase"),
            "How many?",
            (64, 48),
            ["What number?", "What count?"],
            ["paraphrase", "paraphrase-2"],
        ),
        # The same words are one view, and those of the question are plain.
        (
            ("paraphrase", "paraphrase", "plain"),
            "How many?",
            (64, 48),
            ["What colour?", "what  Colour"],
            ["paraphrase", "paraphrase", "plain"],
        ),
        (("plain", "paraphrase"), "How many?", (64, 48), ["how many ?"], ["plain", "plain"]),
        (("plain", "paraphrase"), "How many?", (64, 48), ["How  Many?"], ["plain", "plain"]),
        (("jpeg", "paraphrase"), "How many?", (64, 48), [None], ["jpeg", "plain"]),
        # Two options have one other order.
        (
            ("option_order", "option_order"),
            OPTIONS,
            (64, 48),
            (),
            ["option_order", "option_order"],
        ),
        # What a transform leaves as it is, is plain, whatever map it has.
        (("plain", "resize"), "How many?", (28, 28), (), ["plain", "plain"]),
        (("jpeg", "resize"), "How many?", (28, 28), (), ["jpeg", "plain"]),
        (("jpeg", f"{HERE}:louder"), "How many?", (64, 48), (), ["jpeg", "plain"]),
    ],
)
def test_a_view_is_what_it_shows(
    names: tuple[str, ...], question: str, size: tuple[int, int], rewordings: Any, shown: list[str]
) -> None:
    one, of_run = group(question, size), views(*names)
    seen = of_run.show(one, rewordings, 0, 0)
    assert [each.view for each in seen] == [prompt.view for prompt in one.prompts] == shown
    assert [prompt.count for prompt in one.prompts] == [2] * len(names)
    prompts = {(prompt.png, prompt.question): prompt.view for prompt in one.prompts}
    assert len(prompts) == len(set(shown)), "one prompt per name"
    assert all(each.answer_map is None for each in seen if each.view == "plain")
    asked = [view.name for view in named_views(names)]
    assert of_run.replaced(one) == sum(a != b for a, b in zip(asked, shown, strict=True))


def test_repeated_orders_of_three_options_are_views_if_they_differ() -> None:
    one, of_run = group(THREE), views("option_order", "option_order", "option_order")
    for index in range(20):
        of_run.show(one, (), 0, index)
        questions = [prompt.question for prompt in one.prompts]
        assert len(set(questions)) == len({prompt.view for prompt in one.prompts})


def test_without_views_a_group_has_one_prompt_and_none_that_was_replaced() -> None:
    one, of_run = group("How many?"), views()
    assert of_run.show(one, (), 0, 0) == []
    assert ([prompt.view for prompt in one.prompts], of_run.replaced(one)) == ([None], 0)


def test_a_view_that_draws_in_place_changes_no_other_view() -> None:
    one = group("How many?")
    before = one.picture.tobytes()
    views(f"{HERE}:draws", "plain", f"{HERE}:draws").show(one, (), 0, 0)
    first, plain, again = one.prompts
    assert one.picture.tobytes() == plain.picture.tobytes() == before
    assert plain.png == one.png
    assert (first.view, again.view) == (f"{HERE}:draws", f"{HERE}:draws")
    assert first.png != plain.png
