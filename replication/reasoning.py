"""Checks the steps of a completion: which are true, and which belong to a right derivation."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ireasoner.trainer.tiny_model.completion import Completion
from ireasoner.trainer.worlds.world import Asked, Opening

_ADDITION = re.compile(r"(\d+) \+ (\d+) = (\d+)\.?")
_READ = re.compile(r" reads (\d+)")


@dataclass(frozen=True, slots=True)
class StepTruth:
    """How many steps of a completion are right.

    Attributes:
        steps: Number of steps; 0 if the completion is malformed.
        true: Number of true steps: a right reading of the image, or a right sum, whatever came before.
        gold: Number of steps, counted from the first, that belong to a right derivation of the answer.
        gold_steps: Number of steps of a right derivation: the reading, and one addition fewer than operands; or one
            reading per cell.
    """

    steps: int
    true: int
    gold: int
    gold_steps: int

    @property
    def true_share(self) -> float:
        """Share of the steps that are true; 0 if there are none."""
        return self.true / self.steps if self.steps else 0.0

    @property
    def gold_share(self) -> float:
        """Agreement with the gold steps, in [0, 1]; extra steps lower it."""
        return self.gold / max(self.steps, self.gold_steps)

    @property
    def sound(self) -> bool:
        """Whether the steps are a right derivation, whole and with nothing else: a true step may be irrelevant."""
        return self.steps == self.gold == self.gold_steps


def check(completion: Completion, asked: Asked) -> StepTruth:
    """Checks a parsed completion against the truth about its question.

    A first step that reads numbers is true if it reads the right numbers in the right order. If several first steps
    are true, or none reads numbers, it must equal one of them word by word. Where every step reads one cell, a step is
    true if its cell is read right and its conclusion follows from what was read so far, right or wrong.
    """
    if asked.readings:
        return _check_readings(completion, asked)
    openings = asked.openings
    gold_steps = max(1, len(openings[0].operands))
    if not completion.well_formed:
        return StepTruth(0, 0, 0, gold_steps)
    opening = next((one for one in openings if _says(completion, one, by_word=len(openings) > 1)), None)
    true = (opening is not None) + sum(a + b == said for a, b, said in completion.additions)
    gold = 0 if opening is None else 1 + _derived(completion.additions, opening.operands)
    return StepTruth(len(completion.steps), true, gold, gold_steps)


def steps_true(steps: Sequence[str], asked: Asked | None) -> list[bool | None]:
    """Whether each step is true: it adds two numbers right, or reads its cell right; None for a step of another form.

    Args:
        steps: The texts of a rollout's steps.
        asked: The question, if it is known and every step reads one cell; None for questions about sums.
    """
    if asked is not None and asked.readings:
        return [*_readings_true(steps, asked)]
    return [_addition_is_true(step) for step in steps]


def _addition_is_true(step: str) -> bool | None:
    found = _ADDITION.fullmatch(step.strip())
    if found is None:
        return None
    a, b, said = map(int, found.groups())
    return a + b == said


def _check_readings(completion: Completion, asked: Asked) -> StepTruth:
    right = [
        step == true_step for step, true_step in zip(completion.steps, asked.true_readings, strict=False)
    ]
    true = sum(_readings_true(completion.steps, asked))
    return StepTruth(len(completion.steps), true, [*right, False].index(False), len(asked.readings))


def _readings_true(steps: Sequence[str], asked: Asked) -> list[bool]:
    """Whether each step reads its cell right and concludes what follows from what was read so far."""
    said = [int(found[1]) if (found := _READ.search(step)) else 0 for step in steps]
    true = [
        step.strip() == asked.reading_steps([*said[:index], reading.number])[index]
        for index, (step, reading) in enumerate(zip(steps, asked.readings, strict=False))
    ]
    return [*true, *[False] * (len(steps) - len(true))]


def _says(completion: Completion, opening: Opening, *, by_word: bool) -> bool:
    if opening.operands and not by_word:
        return completion.read == opening.operands
    return completion.first == opening.text


def _derived(additions: Sequence[tuple[int, int, int]], operands: Sequence[int]) -> int:
    """Number of additions, counted from the first, that are right and add two of the numbers that are left.

    Left are the operands and earlier sums that no addition has used yet.
    """
    left = Counter(operands)
    for number, (a, b, said) in enumerate(additions):
        used = Counter((a, b))
        if used - left or said != a + b:
            return number
        left = left - used + Counter([said])
    return len(additions)
