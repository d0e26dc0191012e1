"""The elements of a rollout's text; their names are set by the scoring config."""

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Tags:
    """Patterns of the opening and closing tags of thinking, answer and step; they ignore case."""

    think_open: re.Pattern[str]
    think_close: re.Pattern[str]
    answer_open: re.Pattern[str]
    answer_close: re.Pattern[str]
    step_open: re.Pattern[str]
    step_close: re.Pattern[str]
    any_tag: re.Pattern[str]


@lru_cache(maxsize=64)
def tags_named(think: str, answer: str, step: str) -> Tags:
    """The patterns for elements with these names; a step's opening tag may have attributes."""
    names = "|".join(map(re.escape, (think, answer, step)))

    def pattern(text: str) -> re.Pattern[str]:
        return re.compile(text, re.IGNORECASE)

    return Tags(
        think_open=pattern(f"<{think}>"),
        think_close=pattern(f"</{think}>"),
        answer_open=pattern(f"<{answer}>"),
        answer_close=pattern(f"</{answer}>"),
        step_open=pattern(rf"<{step}(?:\s[^<>]*)?>"),
        step_close=pattern(f"</{step}>"),
        any_tag=pattern(rf"</?(?:{names})(?:\s[^<>]*)?>"),
    )
