"""Steps against the truth: which of a completion's steps are true, and how many are those of a right derivation."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ireasoner.trainer.tiny_model.completion import Completion
from ireasoner.trainer.worlds.world import Opening

_ADDITION = re.compile(r"(\d+) \+ (\d+) = (\d+)\.?")


@dataclass(frozen=True, slots=True)
class StepTruth:
    """What a completion's steps are worth.

    Attributes:
        steps: How many it has; 0 where it has not the form of a worked answer.
        true: How many say something true: what is there, or a sum that is right, whatever came before.
        gold: How many, from the first on, are the steps of some right derivation of the answer.
        gold_steps: How many a right derivation has: reading, and one addition fewer than there are operands.
    """

    steps: int
    true: int
    gold: int
    gold_steps: int

    @property
    def true_share(self) -> float:
        """Share of the steps that are true; 0 of none."""
        return self.true / self.steps if self.steps else 0.0

    @property
    def gold_share(self) -> float:
        """Agreement with the gold steps, in [0, 1]: steps too many count against it."""
        return self.gold / max(self.steps, self.gold_steps)

    @property
    def all_true(self) -> bool:
        """Whether there are steps, and all are true."""
        return 0 < self.steps == self.true


def check(completion: Completion, openings: Sequence[Opening]) -> StepTruth:
    """Checks a parsed completion against the true first steps.

    A first step that reads numbers is true if it reads those of the true one, in their order. Where several are true,
    or nothing is read, it is true if it is one of them, word by word.
    """
    gold_steps = max(1, len(openings[0].operands))
    if not completion.well_formed:
        return StepTruth(0, 0, 0, gold_steps)
    opening = next((one for one in openings if _says(completion, one, by_word=len(openings) > 1)), None)
    true = (opening is not None) + sum(a + b == said for a, b, said in completion.additions)
    gold = 0 if opening is None else 1 + _derived(completion.additions, opening.operands)
    return StepTruth(1 + len(completion.additions), true, gold, gold_steps)


def addition_is_true(step: str) -> bool | None:
    """Whether a step that adds two numbers adds them right; None of a step of another form."""
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
    """How many additions, from the first on, add one more operand to the true sum of those before."""
    left = Counter(operands)
    total: int | None = None
    for number, (a, b, said) in enumerate(additions):
        used = [b] if total is not None else [a, b]
        if (total is not None and a != total) or Counter(used) - left or said != a + b:
            return number
        left -= Counter(used)
        total = said
    return len(additions)
