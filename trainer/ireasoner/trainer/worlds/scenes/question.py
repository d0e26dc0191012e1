"""The questions about a scene: what each selects, reads, adds up and concludes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from ireasoner.trainer.worlds.scenes.scene import SIDE_CELLS, Layout, Picture, Scene
from ireasoner.trainer.worlds.scenes.thing import COLORS, FORMS, Thing
from ireasoner.trainer.worlds.world import CELLS, Asked, Opening

Kind = Literal[
    "corners", "bars", "ends", "four bars", "count", "comparison", "attribute", "existence", "one shape"
]

YES, NO = "yes", "no"


class Question(ABC):
    """A question as a small program over scenes."""

    kind: Kind
    text: str

    @abstractmethod
    def openings(self, scene: Scene) -> tuple[Opening, ...]:
        """Every true first step; none if the question has no answer about the scene."""

    @abstractmethod
    def conclude(self, total: int, scene: Scene) -> str:
        """The answer that follows from a sum, or from the scene if nothing is added."""

    @abstractmethod
    def selected(self, scene: Scene) -> list[Thing]:
        """The things that the answer depends on."""

    def fits(self, scene: Scene) -> bool:
        """Whether the question makes sense for the scene."""
        return bool(self.openings(scene))

    def about(self, picture: Picture) -> Asked:
        """The question asked about a picture that it fits."""
        scene = picture.scene
        return Asked(
            picture.image,
            self.kind,
            self.text,
            self.openings(scene),
            lambda total: self.conclude(total, scene),
        )


@dataclass(frozen=True)
class LineSum(Question):
    """The corners, or units of height, of a line of cells in total; with `than`, whether they are more than that."""

    layout: Layout
    subject: str
    cells: tuple[int, ...]
    than: int | None = None

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """Corners or bars for three cells, ends for two, four bars for four, or a comparison."""
        if self.than is not None:
            return "comparison"
        if len(self.cells) != SIDE_CELLS:
            return "ends" if len(self.cells) < SIDE_CELLS else "four bars"
        return "corners" if self.layout == "shapes" else "bars"

    @property
    def text(self) -> str:  # type: ignore[override]
        """The question as the Solver gets it."""
        if self.layout == "shapes":
            if self.than is None:
                return f"How many corners do the shapes of {self.subject} have?"
            return f"Do the shapes of {self.subject} have more than {self.than} corners?"
        if self.than is None:
            return f"What is the sum of the bars of {self.subject}?"
        return f"Is the sum of the bars of {self.subject} more than {self.than}?"

    def openings(self, scene: Scene) -> tuple[Opening, ...]:
        """The numbers, in reading order; an empty cell has 0 corners."""
        if scene.layout != self.layout:
            return ()
        numbers = tuple(0 if thing is None else thing.number for thing in self._things(scene))
        said = ", ".join(map(str, numbers))
        if self.layout == "shapes":
            return (Opening(f"The shapes of {self.subject} have {said} corners.", numbers),)
        return (Opening(f"The bars of {self.subject} read {said}.", numbers),)

    def conclude(self, total: int, scene: Scene) -> str:
        """The sum, or the result of the comparison."""
        if self.than is None:
            return str(total)
        return YES if total > self.than else NO

    def selected(self, scene: Scene) -> list[Thing]:
        """The things in the line."""
        return [thing for thing in self._things(scene) if thing is not None]

    def _things(self, scene: Scene) -> list[Thing | None]:
        return [scene.cells[cell] for cell in self.cells]


@dataclass(frozen=True)
class Count(Question):
    """The number of shapes of a colour."""

    color: str
    kind: Kind = "count"

    @property
    def text(self) -> str:  # type: ignore[override]
        """The question as the Solver gets it."""
        return f"How many {self.color} shapes are there?"

    def openings(self, scene: Scene) -> tuple[Opening, ...]:
        """Counts row by row, or column by column."""
        if scene.layout != "shapes":
            return ()
        meant = np.array([thing is not None and thing.color == self.color for thing in scene.cells])
        grid = meant.reshape(SIDE_CELLS, SIDE_CELLS)
        return tuple(
            Opening(f"The {lines} have {', '.join(map(str, counts))} {self.color} shapes.", counts)
            for lines, axis in (("rows", 1), ("columns", 0))
            for counts in [tuple(map(int, grid.sum(axis=axis)))]
        )

    def conclude(self, total: int, scene: Scene) -> str:
        """The sum."""
        return str(total)

    def selected(self, scene: Scene) -> list[Thing]:
        """The counted shapes."""
        return [thing for thing in scene.things if thing.color == self.color]

    def fits(self, scene: Scene) -> bool:
        """Two shapes or more are worth counting."""
        return scene.layout == "shapes" and len(self.selected(scene)) > 1


@dataclass(frozen=True)
class Attribute(Question):
    """The form or colour of the shape in a cell."""

    attribute: Literal["form", "color"]
    cell: int
    kind: Kind = "attribute"

    @property
    def text(self) -> str:  # type: ignore[override]
        """The question as the Solver gets it."""
        if self.attribute == "form":
            return f"What shape is in the {_POSITIONS[self.cell]}?"
        return f"What color is the shape in the {_POSITIONS[self.cell]}?"

    def openings(self, scene: Scene) -> tuple[Opening, ...]:
        """The shape in the cell."""
        return tuple(
            Opening(f"The shape in the {_POSITIONS[self.cell]} is a {thing.color} {thing.form}.")
            for thing in self.selected(scene)
        )

    def conclude(self, total: int, scene: Scene) -> str:
        """Its form or colour."""
        [thing] = self.selected(scene)
        return str(getattr(thing, self.attribute))

    def selected(self, scene: Scene) -> list[Thing]:
        """The shape, if there is one."""
        thing = scene.cells[self.cell] if scene.layout == "shapes" else None
        return [] if thing is None else [thing]


@dataclass(frozen=True)
class Existence(Question):
    """Whether a shape of a form and colour exists."""

    form: str
    color: str
    kind: Kind = "existence"

    @property
    def text(self) -> str:  # type: ignore[override]
        """The question as the Solver gets it."""
        return f"Is there a {self.color} {self.form}?"

    def openings(self, scene: Scene) -> tuple[Opening, ...]:
        """Whether it exists."""
        if scene.layout != "shapes":
            return ()
        article = "a" if self.conclude(0, scene) == YES else "no"
        return (Opening(f"There is {article} {self.color} {self.form}."),)

    def conclude(self, total: int, scene: Scene) -> str:
        """Yes or no."""
        found = any((thing.form, thing.color) == (self.form, self.color) for thing in scene.things)
        return YES if found else NO

    def selected(self, scene: Scene) -> list[Thing]:
        """All shapes, since any of them might be the one."""
        return scene.things


@dataclass(frozen=True)
class OneShape(Question):
    """A question about the only shape in the picture, in easy-vqa's words.

    Attributes:
        text: The question.
        asks: The answer: the shape's form or colour, whether it is `value`, or whether it is not.
        value: A form or colour. In a question about the other attribute, what the shape must be; empty if it may be
            anything.
    """

    text: str
    asks: Literal["form", "color", "is", "is not"]
    value: str = ""
    kind: Kind = "one shape"

    def openings(self, scene: Scene) -> tuple[Opening, ...]:
        """The shape's colour and form."""
        if scene.layout != "one shape":
            return ()
        [thing] = scene.things
        if self.asks in ("form", "color") and self.value not in ("", thing.form, thing.color):
            return ()
        return (Opening(f"The shape is a {thing.color} {thing.form}."),)

    def conclude(self, total: int, scene: Scene) -> str:
        """Its form, its colour, yes or no."""
        [thing] = scene.things
        if self.asks in ("form", "color"):
            return str(getattr(thing, self.asks))
        found = self.value in (thing.form, thing.color)
        return YES if found == (self.asks == "is") else NO

    def selected(self, scene: Scene) -> list[Thing]:
        """The shape."""
        return scene.things


_POSITIONS = tuple(
    "center" if (row, column) == ("middle", "center") else f"{row} {column}"
    for row, column in product(("top", "middle", "bottom"), ("left", "center", "right"))
)

_CORNERS_TO_EXCEED = 12
_HEIGHT_TO_EXCEED = 15
"""About half of the lines exceed these."""


def _line_sums() -> list[Question]:
    n = SIDE_CELLS
    straight = {
        **{f"row {r + 1}": tuple(range(r * n, r * n + n)) for r in range(n)},
        **{f"column {c + 1}": tuple(range(c, CELLS, n)) for c in range(n)},
    }
    diagonals = {
        "the falling diagonal": tuple(range(0, CELLS, n + 1)),
        "the rising diagonal": tuple(range(CELLS - n, 0, 1 - n)),
    }
    ends = {f"the ends of row {r + 1}": (r * n, r * n + n - 1) for r in range(n)}
    four = (0, n - 1, CELLS - n, CELLS - 1)
    to_exceed: Mapping[Layout, int] = {"shapes": _CORNERS_TO_EXCEED, "bars": _HEIGHT_TO_EXCEED}
    return [
        *(
            LineSum(layout, *line)
            for layout in to_exceed
            for line in {**straight, **diagonals, **ends}.items()
        ),
        LineSum("bars", "the four corners", four),
        *(
            LineSum(layout, *line, than=than)
            for layout, than in to_exceed.items()
            for line in straight.items()
        ),
    ]


def _one_shape() -> list[OneShape]:
    forms = ("circle", "rectangle", "triangle")
    named = [*((color, f"{color} shape") for color in COLORS), *((form, form) for form in forms)]
    whether: list[tuple[Literal["is", "is not"], str]] = [
        ("is", "does the image contain a {}?"),
        ("is not", "does the image not contain a {}?"),
        ("is", "is a {} present?"),
        ("is not", "is no {} present?"),
        ("is", "is there a {} in the image?"),
        ("is", "is there a {}?"),
        ("is not", "is there not a {} in the image?"),
        ("is not", "is there not a {}?"),
    ]
    which_form = (
        "what shape does the image contain?",
        "what shape is in the image?",
        "what shape is present?",
    )
    which_color = ("what color is the {}?", "what is the color of the {}?")
    return [
        *(OneShape(text.format(name), asks, value) for asks, text in whether for value, name in named),
        *(OneShape(text.format("shape"), "color") for text in which_color),
        *(OneShape(text.format(form), "color", form) for text in which_color for form in forms),
        *(OneShape(text, "form") for text in which_form),
        *(OneShape(f"what is the {color} shape?", "form", color) for color in COLORS),
    ]


QUESTIONS: tuple[Question, ...] = (
    *_line_sums(),
    *map(Count, COLORS),
    *(Attribute(attribute, cell) for attribute in ("form", "color") for cell in range(CELLS)),
    *(Existence(form, color) for form in FORMS for color in COLORS),
    *_one_shape(),
)
"""Every question."""

BY_TEXT: Mapping[str, Question] = {question.text: question for question in QUESTIONS}

_BY_KIND: Mapping[Kind, Sequence[Question]] = {
    kind: [question for question in QUESTIONS if question.kind == kind]
    for kind in dict.fromkeys(question.kind for question in QUESTIONS)
}


def choose(kind: Kind, scene: Scene, rng: np.random.Generator) -> Question | None:
    """A random question of a kind that fits a scene; each possible answer is equally likely.

    None if no question of the kind fits.
    """
    by_answer: dict[str, list[Question]] = {}
    for question in _BY_KIND[kind]:
        if question.fits(scene):
            total = sum(question.openings(scene)[0].operands)
            by_answer.setdefault(question.conclude(total, scene), []).append(question)
    if not by_answer:
        return None
    answers = list(by_answer.values())
    questions = answers[rng.integers(len(answers))]
    return questions[rng.integers(len(questions))]
