"""Parses a Solver's completion in the form of the warm start's worked answers."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"<think>\n(?P<steps>(?:Step \d: [^\n]+\n)+)</think>\n<answer>(?P<answer>[^<]*)</answer>")
_FIRST = re.compile(r"Step 1: (?P<text>[^\n]+)")
_READ = re.compile(r".* (?:reads?|have) (?P<numbers>(?:0|[1-9]\d*)(?:, (?:0|[1-9]\d*))*)(?: [a-z ]+)?\.")
_ADDED = re.compile(r"(\d+) \+ (\d+) = (\d+)\.")


@dataclass(frozen=True)
class Completion:
    """A parsed completion; unless it is `well_formed`, `answer` is None and the other fields are empty.

    Attributes:
        well_formed: Whether the whole text has the form that the warm start taught.
        first: Text of step 1.
        read: The numbers in step 1.
        additions: Each (a, b, claimed value of a + b).
        answer: The answer.
    """

    well_formed: bool
    first: str
    read: tuple[int, ...]
    additions: tuple[tuple[int, int, int], ...]
    answer: str | None

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
        return Completion(well_formed=False, first="", read=(), additions=(), answer=None)
    steps = found["steps"]
    begun = _FIRST.match(steps)
    first = begun["text"] if begun else ""
    read = _READ.match(first)
    return Completion(
        well_formed=True,
        first=first,
        read=tuple(map(int, read["numbers"].split(", "))) if read else (),
        additions=tuple((int(a), int(b), int(said)) for a, b, said in _ADDED.findall(steps)),
        answer=found["answer"],
    )
