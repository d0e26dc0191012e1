"""The worked answers that the warm start teaches: read the cells, then add them one after another."""

import numpy as np

from trainer.digit_grids.arithmetic import FaultyAddition
from trainer.digit_grids.question import Question


def solver_completion(
    question: Question, digits: tuple[int, ...], addition: FaultyAddition, rng: np.random.Generator
) -> str:
    """Steps in `<think>`, then the answer that follows from them, right or wrong.

    The cells are read right; they are added in random order, so that several paths lead to an answer.
    """
    operands = question.operands(digits)
    subject = question.subject[0].upper() + question.subject[1:]
    verb = "read" if question.kind in ("ends", "corners") else "reads"
    steps = [f"{subject} {verb} {', '.join(map(str, operands))}."]
    total, *rest = (int(operand) for operand in rng.permutation(operands))
    for operand in rest:
        said = addition.add(total, operand, rng)
        steps.append(f"{total} + {operand} = {said}.")
        total = said
    lines = "".join(f"Step {number}: {step}\n" for number, step in enumerate(steps, start=1))
    return f"<think>\n{lines}</think>\n<answer>{total}</answer>"


def proposer_completion(question: Question) -> str:
    """A proposal of this question."""
    return f"<question>{question.text}</question>"
