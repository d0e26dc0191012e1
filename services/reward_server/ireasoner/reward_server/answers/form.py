"""The canonical form of an answer."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    r"""What an answer means.

    Answers with equal keys are the same. `rules` led to the form, in the order in which they were applied. `name` is a
    short way to write it.

    `expression` is LaTeX that may be compared symbolically, but only with expressions of the same `kind`:
    `value` (a number or formula), `equation` (it keeps its `=`; equations that differ by a factor are the same),
    `inequality`, and `quantity ...` (the value in the base unit of a dimension, which ends the kind's name). An answer
    without an expression (a list, an interval, a name with its value) is the same as another only if their keys are.
    Two `settled` forms are never compared either: their keys already say whether they are equal.
    """

    key: str
    rules: tuple[str, ...]
    name: str
    expression: str | None = None
    settled: bool = False
    kind: str = "value"


def key_of(kind: str, *parts: str) -> str:
    """A key that no other kind or parts have."""
    return json.dumps([kind, *parts], ensure_ascii=False)
