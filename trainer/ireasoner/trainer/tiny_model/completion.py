"""Parses a Solver's completion in the form of the warm start's worked answers."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"<think>\n(?P<steps>(?:Step \d: [^\n]+\n)+)</think>\n<answer>(?P<answer>[^<]*)</answer>")
_STEP = re.compile(r"Step \d: ([^\n]+)\n")
_READ = re.compile(r".* (?:reads?|have) (?P<numbers>(?:0|[1-9]\d*)(?:, (?:0|[1-9]\d*))*)(?: [a-z ]+)?\.")
_ADDED = re.compile(r"(\d+) \+ (\d+) = (\d+)\.")


@dataclass(frozen=True)
class Completion:
    """A parsed completion; unless it is `well_formed`, `answer` is None and the other fields are empty.

    Attributes:
        well_formed: Whether the whole text has the form that the warm start taught.
        steps: Text of each step.
        read: The numbers in step 1.
        additions: Each (a, b, claimed value of a + b).
        answer: The answer.
    """

    well_formed: bool
    steps: tuple[str, ...]
    read: tuple[int, ...]
    additions: tuple[tuple[int, int, int], ...]
    answer: str | None

    @property
    def first(self) -> str:
        """Text of step 1; empty without one."""
        return self.steps[0] if self.steps else ""

    @property
    def order(self) -> tuple[int, ...]:
        """The operands in the order in which they are added; empty if nothing is added."""
        return tuple(n for a, b, _ in self.additions[:1] for n in (a, b)) + tuple(
            b for _, b, _ in self.additions[1:]
        )


def parse_completion(text: str) -> Completion:
    """Parses a completion, whose whole text must have the form that the warm start taught."""
    found = _FORM.fullmatch(text)
    if found is None:
        return Completion(well_formed=False, steps=(), read=(), additions=(), answer=None)
    steps = tuple(_STEP.findall(found["steps"]))
    read = _READ.match(steps[0])
    return Completion(
        well_formed=True,
        steps=steps,
        read=tuple(map(int, read["numbers"].split(", "))) if read else (),
        additions=tuple((int(a), int(b), int(said)) for a, b, said in _ADDED.findall(found["steps"])),
        answer=found["answer"],
    )
