"""A Solver's completion read back as the worked answers of this task are written."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"<think>\n(?P<steps>(?:Step \d: [^\n]+\n)+)</think>\n<answer>(?P<answer>[^<]*)</answer>")
_READ = re.compile(r"Step 1: .* reads? (?P<digits>\d(?:, \d)*)\.")
_ADDED = re.compile(r"(\d+) \+ (\d+) = (\d+)\.")


@dataclass(frozen=True)
class Completion:
    """`read`: the digits of step 1; `additions`: each (a, b, what a + b was said to be).

    `answer` is None and the others are empty where the text is not `well_formed`.
    """

    well_formed: bool
    read: tuple[int, ...]
    additions: tuple[tuple[int, int, int], ...]
    answer: str | None

    @property
    def order(self) -> tuple[int, ...]:
        """The operands in the order in which they are added; empty where nothing is added."""
        return tuple(n for a, b, _ in self.additions[:1] for n in (a, b)) + tuple(
            b for _, b, _ in self.additions[1:]
        )


def parse_completion(text: str) -> Completion:
    """Read a completion whose whole text must have the form that the warm start taught."""
    found = _FORM.fullmatch(text)
    if found is None:
        return Completion(well_formed=False, read=(), additions=(), answer=None)
    steps = found["steps"]
    read = _READ.match(steps)
    return Completion(
        well_formed=True,
        read=tuple(int(digit) for digit in read["digits"].split(", ")) if read else (),
        additions=tuple((int(a), int(b), int(said)) for a, b, said in _ADDED.findall(steps)),
        answer=found["answer"],
    )
