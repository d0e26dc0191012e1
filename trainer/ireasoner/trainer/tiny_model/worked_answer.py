"""The worked answers that the warm start teaches: read the picture, then add one after another."""

import numpy as np

from ireasoner.trainer.tiny_model.arithmetic import FaultyAddition
from ireasoner.trainer.worlds.world import Asked, Opening, first_step


def worked_answer(
    asked: Asked, addition: FaultyAddition, rng: np.random.Generator, *, several_paths: bool = True
) -> str:
    """Steps in `<think>`, then the answer that follows from them, right or wrong.

    The picture is read right, in one of the ways there are; what was read is added in random order, so that several
    paths lead to an answer, or, without `several_paths`, as it is read.
    """
    opening = an_opening(asked, rng)
    steps, total = "", 0
    if opening.operands:
        operands = rng.permutation(opening.operands) if several_paths else opening.operands
        total, *rest = map(int, operands)
        for number, operand in enumerate(rest, start=2):
            said = addition.add(total, operand, rng)
            steps += f"Step {number}: {total} + {operand} = {said}.\n"
            total = said
    return f"{first_step(opening)}{steps}</think>\n<answer>{asked.conclude(total)}</answer>"


def an_opening(asked: Asked, rng: np.random.Generator) -> Opening:
    """One of the question's true first steps."""
    openings = asked.openings
    return openings[rng.integers(len(openings))] if len(openings) > 1 else openings[0]


def proposal(text: str) -> str:
    """The Proposer's completion that asks this question."""
    return f"<question>{text}</question>"
