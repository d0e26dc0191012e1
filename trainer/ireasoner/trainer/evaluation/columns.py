"""Where a row of labelled questions holds what."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class QuestionColumns(BaseModel):
    """The names of the columns of labelled questions; a dot reaches into a column of objects: json.answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    image: str | None = None
    """Image, or the path of one (default: image; in a dataset the only column of images)."""
    question: str = "question"
    """Question."""
    answer: str = "answer"
    """True answer."""
    type: str = "type"
    """Kind of question, if there is such a column."""
    choices: str = "choices"
    """Options of a multiple-choice question, if there is such a column."""
    matching: str = "matching"
    """Rule by which an answer is right, if there is such a column."""

    def names(self) -> dict[str, str]:
        """The name of each column, by what it holds."""
        return {field: getattr(self, field) or field for field in type(self).model_fields}

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the row holds, by our names; what it lacks is left out, and so is an empty optional column."""
        found = {}
        for field, name in self.names().items():
            holder, value = _reached(row, name)
            if holder and not (value is None and field in _OPTIONAL):
                found[field] = value
        return found


_OPTIONAL = ("type", "choices", "matching")


def _reached(row: Any, name: str) -> tuple[bool, Any]:
    """Whether the row has a value under a name, and the value."""
    if isinstance(row, Mapping) and name in row:
        return True, row[name]
    first, dot, rest = name.partition(".")
    if dot and isinstance(row, Mapping) and first in row:
        return _reached(row[first], rest)
    return False, None
