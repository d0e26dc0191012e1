"""Prompts in pairs: one shows a grid as an image, its text twin gives the same grid in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ireasoner.trainer.rollouts.prompts import Message, proposer_messages, solver_messages
from ireasoner.trainer.worlds.digit_grids.digits import Part, load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import SIDE_CELLS, Grid, rewritten_grids
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS

_PROPOSER_SHARE = 0.25


@dataclass(frozen=True)
class Twins:
    """A prompt with an image, and its text twin.

    Attributes:
        grid: The grid.
        messages: The prompt with its image.
    """

    grid: Grid
    messages: Sequence[Message]

    @property
    def in_words(self) -> list[Message]:
        """The text twin: the same prompt with the grid in words."""
        return [_in_words(message, self.grid) for message in self.messages]


def drawn_twins(part: Part, rng: np.random.Generator) -> Iterator[Twins]:
    """Prompts about grids of one part's digits, without an end; one in four is the Proposer's."""
    for grid in rewritten_grids(load_digits_part(part), rng):
        if rng.random() < _PROPOSER_SHARE:
            yield Twins(grid, proposer_messages())
        else:
            yield Twins(grid, solver_messages(QUESTIONS[rng.integers(len(QUESTIONS))].text))


def in_words(grid: Grid) -> str:
    """The digits of a grid, row by row."""
    rows = [grid.digits[start : start + SIDE_CELLS] for start in range(0, len(grid.digits), SIDE_CELLS)]
    lines = [f"Row {number}: {', '.join(map(str, row))}" for number, row in enumerate(rows, start=1)]
    return "\n".join(["The image shows a grid of digits.", *lines, ""])


def _in_words(message: Message, grid: Grid) -> Message:
    said = {"type": "text", "text": in_words(grid)}
    content = [said if part["type"] == "image" else part for part in message["content"]]
    return {**message, "content": content}
