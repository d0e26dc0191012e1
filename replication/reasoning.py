"""Checks the steps of a completion: which are true, and how many belong to a right derivation."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ireasoner.trainer.tiny_model.completion import Completion
from ireasoner.trainer.worlds.world import Opening

_ADDITION = re.compile(r"(\d+) \+ (\d+) = (\d+)\.?")


@dataclass(frozen=True, slots=True)
class StepTruth:
    """How many steps of a completion are right.

    Attributes:
        steps: Number of steps; 0 if the completion is malformed.
        true: Number of true steps: a right reading of the image, or a right sum, whatever came before.
        gold: Number of steps, counted from the first, that belong to a right derivation of the answer.
        gold_steps: Number of steps of a right derivation: the reading, and one addition fewer than operands.
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
    def all_true(self) -> bool:
        """Whether there are steps, and all are true."""
        return 0 < self.steps == self.true


def check(completion: Completion, openings: Sequence[Opening]) -> StepTruth:
    """Checks a parsed completion against the true first steps.

    A first step that reads numbers is true if it reads the right numbers in the right order. If several first steps
    are true, or none reads numbers, it must equal one of them word by word.
    """
    gold_steps = max(1, len(openings[0].operands))
    if not completion.well_formed:
        return StepTruth(0, 0, 0, gold_steps)
    opening = next((one for one in openings if _says(completion, one, by_word=len(openings) > 1)), None)
    true = (opening is not None) + sum(a + b == said for a, b, said in completion.additions)
    gold = 0 if opening is None else 1 + _derived(completion.additions, opening.operands)
    return StepTruth(1 + len(completion.additions), true, gold, gold_steps)


def addition_is_true(step: str) -> bool | None:
    """Whether a step adds two numbers right; None for a step of another form."""
    found = _ADDITION.fullmatch(step.strip())
    if found is None:
        return None
    a, b, said = map(int, found.groups())
    return a + b == said


def _says(completion: Completion, opening: Opening, *, by_word: bool) -> bool:
    if opening.operands and not by_word:
        return completion.read == opening.operands
    return completion.first == opening.text


def _derived(additions: Sequence[tuple[int, int, int]], operands: Sequence[int]) -> int:
    """Number of additions, counted from the first, that add one more operand to the true sum so far."""
    left = Counter(operands)
    total: int | None = None
    for number, (a, b, said) in enumerate(additions):
        used = [b] if total is not None else [a, b]
        if (total is not None and a != total) or Counter(used) - left or said != a + b:
            return number
        left -= Counter(used)
        total = said
    return len(additions)
