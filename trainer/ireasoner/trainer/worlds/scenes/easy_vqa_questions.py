"""A foreign evaluation: questions and pictures from easy-vqa's test set, which are not of our making.

The package easy-vqa (https://github.com/vzhou842/easy-VQA) belongs to the extra `dev`.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.worlds.scenes.question import NO, YES
from ireasoner.trainer.worlds.scenes.thing import COLORS, FORMS
from ireasoner.trainer.worlds.world import Asked, Opening

_NEGATED = {"not", "no"}
_GROUPS: Sequence[tuple[str, ...]] = (tuple(FORMS), tuple(COLORS), (YES,), (NO,))


def evaluation_questions(count: int, seed: int) -> list[Asked]:
    """`count` of the test's questions, whose answers are in turn a form, a colour, yes and no.

    Only pictures whose questions together reveal the shape in them are used (seven of eight), so that the true first
    step is known.

    Raises:
        SettingsError: The package is not installed, or has too few questions.
    """
    try:
        import easy_vqa
    except ImportError as error:
        raise SettingsError(
            "the evaluation on easy-vqa needs the package easy-vqa: pip install -e '.[dev]'"
        ) from error
    texts, answers, images = easy_vqa.get_test_questions()
    files = easy_vqa.get_test_image_paths()
    shapes = _shapes(texts, answers, images)
    rng = np.random.default_rng(seed)
    orders = [
        rng.permutation([p for p, answer in enumerate(answers) if answer in group and images[p] in shapes])
        for group in _GROUPS
    ]
    if count > len(_GROUPS) * min(map(len, orders)):
        raise SettingsError(f"easy-vqa has fewer than {count} questions, a quarter for each type of answer")
    asked = []
    for number in range(count):
        index = orders[number % len(_GROUPS)][number // len(_GROUPS)]
        image, answer = images[index], answers[index]
        with Image.open(files[image]) as picture:
            asked.append(
                Asked(
                    picture.convert("RGB"),
                    "one shape",
                    texts[index],
                    (Opening(f"The shape is a {shapes[image]}."),),
                    partial(_answer, answer),
                )
            )
    return asked


def _shapes(texts: Sequence[str], answers: Sequence[str], images: Sequence[int]) -> dict[int, str]:
    """Colour and form of the shape in each picture, if its questions reveal both."""
    known: dict[int, set[str]] = {}
    for text, answer, image in zip(texts, answers, images, strict=True):
        if answer not in (YES, NO):
            known.setdefault(image, set()).update((answer, *text.rstrip("?").split()))
    for text, answer, image in zip(texts, answers, images, strict=True):
        if (answer == YES) == _NEGATED.isdisjoint(text.split()):
            known.setdefault(image, set()).update(text.rstrip("?").split())
    return {
        image: f"{color} {form}"
        for image, words in known.items()
        for color in words & COLORS.keys()
        for form in words & FORMS.keys()
    }


def _answer(answer: str, _: int) -> str:
    return answer
