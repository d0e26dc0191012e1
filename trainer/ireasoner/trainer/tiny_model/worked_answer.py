"""The worked answers that the warm start teaches: read the picture, then add up what was read, wrong on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ireasoner.trainer.worlds.world import Asked, Opening, beginning, first_step

MAX_OPERAND = 60
"""Largest running sum in the tables; four digits and their wrong sums stay well below it."""

_OFFSETS = (-3, -2, -1, 1, 2, 3)


@dataclass(frozen=True)
class Faults:
    """How often a pupil is wrong, as shares.

    Attributes:
        broken: Facts that are mostly wrong.
        right_if_broken: Results of a broken fact that are right.
        favourite: Results of a broken fact that are its favourite wrong one; the rest are off by at most 3.
        right_if_intact: Results of another fact that are right; the rest are off by at most 3.
    """

    broken: float = 0.35
    right_if_broken: float = 0.30
    favourite: float = 0.45
    right_if_intact: float = 0.98


USUAL = Faults()
"""Those of the demo's model."""


class FaultyAddition:
    """Addition as a pupil does it who has some facts mostly wrong and slips now and then in the others.

    A fact is an ordered pair, so `8 + 3` may be broken while `3 + 8` is intact. A broken fact has one wrong result that
    it gives most of the time; a slip is off by at most 3. Different orders of the same operands use different facts, so
    a broken fact spoils some paths to an answer and not others: the majority over several paths knows more than one
    path does.
    """

    def __init__(self, seed: int, faults: Faults = USUAL) -> None:
        rng = np.random.default_rng(seed)
        shape = (MAX_OPERAND + 1, 10)
        self.broken: npt.NDArray[np.bool_] = rng.random(shape) < faults.broken
        self._favourite = rng.choice(_OFFSETS, size=shape)
        self._faults = faults

    def add(self, a: int, b: int, rng: np.random.Generator) -> int:
        """A random result for `a + b` (0 <= a <= 60, 0 <= b <= 9), in 0..60."""
        chance = rng.random()
        offset = int(rng.choice(_OFFSETS))
        if self.broken[a, b]:
            if chance < self._faults.right_if_broken:
                offset = 0
            elif chance < self._faults.right_if_broken + self._faults.favourite:
                offset = int(self._favourite[a, b])
        elif chance < self._faults.right_if_intact:
            offset = 0
        return min(abs(a + b + offset), MAX_OPERAND)


def worked_answer(
    asked: Asked,
    addition: FaultyAddition,
    rng: np.random.Generator,
    *,
    several_paths: bool = True,
    misread: float = 0.0,
) -> str:
    """Steps in `<think>`, then the answer that follows from them, right or wrong.

    The picture is always read right, by one of the question's first steps. With `several_paths` the operands are added
    in random order, so that several paths lead to an answer; otherwise in the order in which they are read.

    Where every step reads one cell, the share `misread` of the readings is wrong: any other digit, equally likely.
    """
    if asked.readings:
        read = [_misread(reading.number, misread, rng) for reading in asked.readings]
        return _read(asked, read)
    opening = random_opening(asked, rng)
    steps, total = "", 0
    if opening.operands:
        operands = rng.permutation(opening.operands) if several_paths else opening.operands
        total, *rest = map(int, operands)
        for number, operand in enumerate(rest, start=2):
            said = addition.add(total, operand, rng)
            steps += f"Step {number}: {total} + {operand} = {said}.\n"
            total = said
    return f"{first_step(opening)}{steps}</think>\n<answer>{asked.conclude(total)}</answer>"


def right_beginning(asked: Asked, rng: np.random.Generator) -> str:
    """A worked answer up to where errors may follow: after a true first step, or, if all steps read, its end."""
    if asked.readings:
        return _read(asked, [reading.number for reading in asked.readings])
    return first_step(random_opening(asked, rng))


def _read(asked: Asked, said: Sequence[int]) -> str:
    """The worked answer that reads these numbers."""
    steps = beginning(asked.reading_steps(said))
    return f"{steps}</think>\n<answer>{asked.conclude(sum(said))}</answer>"


def _misread(digit: int, share: float, rng: np.random.Generator) -> int:
    """`digit`, or with the probability `share` another one."""
    return (digit + int(rng.integers(1, 10))) % 10 if rng.random() < share else digit


def random_opening(asked: Asked, rng: np.random.Generator) -> Opening:
    """One of the question's true first steps."""
    openings = asked.openings
    return openings[rng.integers(len(openings))] if len(openings) > 1 else openings[0]


def proposal(text: str) -> str:
    """The Proposer's completion that asks this question."""
    return f"<question>{text}</question>"
