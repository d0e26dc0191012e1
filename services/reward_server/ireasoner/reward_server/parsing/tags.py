"""The elements of a rollout's text; their names are set by the scoring config."""

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Tags:
    """Patterns of the opening and closing tags of thinking, answer and step.

    They ignore case and white space inside the tag; an opening tag may have attributes. `answer_close_cut` matches
    a closing tag of which the end of the text has cut off a part.
    """

    think_open: re.Pattern[str]
    think_close: re.Pattern[str]
    answer_open: re.Pattern[str]
    answer_close: re.Pattern[str]
    answer_close_cut: re.Pattern[str]
    step_open: re.Pattern[str]
    step_close: re.Pattern[str]
    any_tag: re.Pattern[str]

    def first_end(self, text: str) -> int:
        """The index after the thinking or, if there is none before it, the answer that is closed first; else 0."""
        opening, closing = self.think_open.search(text), self.think_close.search(text)
        answer = self.answer_close.search(text, 0, opening.start() if opening else len(text))
        return min((close.end() for close in (closing, answer) if close is not None), default=0)

    def thinking_end(self, text: str) -> int:
        """The index after the last closing tag of thinking; 0 if there is none."""
        return max((close.end() for close in self.think_close.finditer(text)), default=0)


@lru_cache(maxsize=64)
def tags_named(think: str, answer: str, step: str) -> Tags:
    """The patterns for elements with these names."""
    names = "|".join(map(re.escape, (think, answer, step)))

    def pattern(text: str) -> re.Pattern[str]:
        return re.compile(text, re.IGNORECASE)

    def opening(name: str) -> re.Pattern[str]:
        return pattern(rf"<[ \t]*{name}(?:\s[^<>]*)?>")

    def closing(name: str) -> re.Pattern[str]:
        return pattern(rf"<[ \t]*/[ \t]*{name}\s*>")

    return Tags(
        think_open=opening(think),
        think_close=closing(think),
        answer_open=opening(answer),
        answer_close=closing(answer),
        answer_close_cut=pattern(
            rf"</(?:{'|'.join(answer[:end] for end in range(len(answer), 0, -1))})?\s*\Z"
        ),
        step_open=opening(step),
        step_close=closing(step),
        any_tag=pattern(rf"<[ \t]*/?[ \t]*(?:{names})(?:\s[^<>]*)?>"),
    )
