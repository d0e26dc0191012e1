"""The worked answers that the warm start teaches: read the cells, then add them one after another."""

import numpy as np

from trainer.digit_grids.arithmetic import FaultyAddition
from trainer.digit_grids.question import Question


def solver_completion(
    question: Question,
    digits: tuple[int, ...],
    addition: FaultyAddition,
    rng: np.random.Generator,
    *,
    several_paths: bool = True,
) -> str:
    """Steps in `<think>`, then the answer that follows from them, right or wrong.

    The cells are read right; they are added in random order, so that several paths lead to an answer, or, without
    `several_paths`, as they are read.
    """
    operands = question.operands(digits)
    total, *rest = (int(operand) for operand in (rng.permutation(operands) if several_paths else operands))
    steps = []
    for number, operand in enumerate(rest, start=2):
        said = addition.add(total, operand, rng)
        steps.append(f"Step {number}: {total} + {operand} = {said}.\n")
        total = said
    return (
        f"{opening(question, digits)}{''.join(steps)}</think>\n<answer>{question.concluded(total)}</answer>"
    )


def opening(question: Question, digits: tuple[int, ...]) -> str:
    """How every worked answer begins: the first step, which reads the cells."""
    subject = question.subject[0].upper() + question.subject[1:]
    verb = "read" if question.kind in ("ends", "corners") else "reads"
    operands = ", ".join(map(str, question.operands(digits)))
    return f"<think>\nStep 1: {subject} {verb} {operands}.\n"


def proposer_completion(question: Question) -> str:
    """A proposal of this question."""
    return f"<question>{question.text}</question>"
