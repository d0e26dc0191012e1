"""Scenes as a world: pictures and questions for the warm start, training and evaluation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

from ireasoner.trainer.worlds.scenes import easy_vqa_questions
from ireasoner.trainer.worlds.scenes.held_out import evaluation_questions, training_name, training_picture
from ireasoner.trainer.worlds.scenes.question import QUESTIONS, Kind, Question, choose
from ireasoner.trainer.worlds.scenes.scene import LAYOUTS, Layout, Picture, Scene, random_picture
from ireasoner.trainer.worlds.scenes.thing import BAR, COLORS, FORMS, MAX_HEIGHT, Thing, shape
from ireasoner.trainer.worlds.world import CELLS, UNSAID, Asked, first_step

_TAUGHT_LAYOUTS: Mapping[Layout, float] = {"shapes": 0.55, "bars": 0.2, "one shape": 0.25}

_TAUGHT: Mapping[Layout, Mapping[Kind, float]] = {
    "shapes": {
        **{"corners": 0.25, "ends": 0.05, "comparison": 0.1},
        **{"count": 0.3, "attribute": 0.15, "existence": 0.15},
    },
    "bars": {"bars": 0.55, "ends": 0.15, "four bars": 0.15, "comparison": 0.15},
    "one shape": {"one shape": 1.0},
}
"""Shares of the kinds of question in the warm start; kinds that are hard to read have larger shares."""

_PROPOSED: Mapping[Layout, Mapping[Kind, float]] = {
    "shapes": {"corners": 0.6, "ends": 0.1, "count": 0.2, "comparison": 0.1},
    "bars": {"bars": 0.5, "ends": 0.15, "four bars": 0.25, "comparison": 0.1},
    "one shape": {"one shape": 1.0},
}
"""Shares of the kinds among taught proposals, so that nearly all questions in training add something up."""

_OPENED = 6
"""First steps taught per picture and update."""

_NOTHING = "nothing"
_FORMS = (*FORMS, BAR, _NOTHING)
_FORM_WORDS = tuple(f"{form}.\n" for form in _FORMS)
_COLOR_WORDS = tuple(f"{color} " for color in COLORS)


@dataclass(frozen=True)
class Scenes:
    """Shapes in a grid, bar charts, and one shape alone."""

    labels = "ireasoner.trainer.worlds.scenes.labels:answer"
    cell_words = (tuple(map(str, range(MAX_HEIGHT + 1))), _FORM_WORDS, _COLOR_WORDS)

    @property
    def question_texts(self) -> Sequence[str]:
        """The text of each question."""
        return [question.text for question in QUESTIONS]

    def texts(self) -> Iterable[str]:
        """Every first step and answer, except for numbers, which every tokenizer has."""
        yield from _FORM_WORDS
        pairs = [shape(form, color) for form, color in product(FORMS, COLORS)]
        alike = [Scene("shapes", (pair,) * CELLS) for pair in pairs]
        alone = [Scene("one shape", (pair,)) for pair in pairs]
        bars = [Scene("bars", (Thing(BAR, color, 1),) * CELLS) for color in COLORS]
        for scene, question in product((*alike, *alone, *bars), QUESTIONS):
            for opening in question.openings(scene):
                yield first_step(opening)
                yield f"<answer>{question.conclude(0, scene)}</answer>"

    def lessons(self, rng: np.random.Generator) -> "Callable[[int], Sequence[LessonScene]]":
        """Random pictures of every layout, with every pair of attributes."""
        shares = [_TAUGHT_LAYOUTS[layout] for layout in LAYOUTS]

        def draw(count: int) -> list[LessonScene]:
            chosen = rng.choice(len(LAYOUTS), size=count, p=shares)
            return [LessonScene(random_picture(LAYOUTS[index], rng, held_out=True)) for index in chosen]

        return draw

    def training_images(self, count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
        """Pictures without a held-out pair of attributes."""
        for number in range(count):
            yield training_name(seed, number), training_picture(seed, number).image

    def evaluation_questions(self, count: int, seed: int, *, held_out: bool) -> list[Asked]:
        """Questions about other pictures, of every kind in turn."""
        return evaluation_questions(count, seed, held_out=held_out)

    def foreign(self, count: int, seed: int) -> Mapping[str, list[Asked]]:
        """easy-vqa's test set."""
        return {"easy_vqa": easy_vqa_questions.evaluation_questions(count, seed)}

    def scored(self, count: int, seed: int) -> list[Asked]:
        """Questions about other pictures, of every kind in turn, without held-out pairs."""
        return evaluation_questions(count, seed, held_out=False)


@dataclass(frozen=True)
class LessonScene:
    """A picture for the warm start."""

    picture: Picture

    @property
    def image(self) -> Image.Image:
        """The picture itself."""
        return self.picture.image

    @property
    def words(self) -> Sequence[Sequence[int]]:
        """Every cell shows a number, a form and a colour."""
        cells = self.picture.seen
        colors = tuple(COLORS)
        return [
            [UNSAID if thing is None else thing.number for thing in cells],
            [_FORMS.index(_NOTHING if thing is None else thing.form) for thing in cells],
            [UNSAID if thing is None else colors.index(thing.color) for thing in cells],
        ]

    def to_open(self, rng: np.random.Generator) -> Sequence[Asked]:
        """Some questions, of every kind."""
        return self.to_answer(_OPENED, rng)

    def to_answer(self, count: int, rng: np.random.Generator) -> Sequence[Asked]:
        """Random questions; one may occur twice, with different worked answers."""
        return [question.about(self.picture) for question in self._chosen(_TAUGHT, count, rng)]

    def to_propose(self, rng: np.random.Generator) -> str:
        """A random question, mostly one with something to add up."""
        [question] = self._chosen(_PROPOSED, 1, rng)
        return question.text

    def _chosen(
        self, shares: Mapping[Layout, Mapping[Kind, float]], count: int, rng: np.random.Generator
    ) -> list[Question]:
        scene = self.picture.scene
        kinds = shares[scene.layout]
        chosen: list[Question] = []
        while len(chosen) < count:
            kind = tuple(kinds)[rng.choice(len(kinds), p=list(kinds.values()))]
            question = choose(kind, scene, rng)
            if question is not None:
                chosen.append(question)
        return chosen
