"""The steps of a rollout's thinking: step elements, numbered lines, numbers within a line, or sentences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ireasoner.reward_server.parsing.tags import Tags

_LINE_NUMBER = re.compile(
    r"""[ \t]*
    (?:[-*+•>#]{1,6}[ \t]+)?            # a list item, a heading
    [*_]{0,3}                           # bold
    (?:
        step[ \t]*(?P<step>\d{1,2})(?!\w|\.\d)[*_ \t]*[.):\-–—]?    # Step 1:
      | \(?(?P<plain>\d{1,2})(?P<mark>[.):])(?!\d)                  # 1.  1)  (1)  1:  neither 3.5 nor 12:30
    )
    [*_]{0,3}[ \t]*""",
    re.IGNORECASE | re.VERBOSE,
)
_INLINE_NUMBERS = {
    "step": re.compile(
        r"(?<![\w-])[*_]{0,3}step[ \t]*(\d{1,2})(?!\w|\.\d)[*_ \t]{0,4}[.):\-–—][*_]{0,3}[ \t]*",
        re.IGNORECASE,
    ),
    ")": re.compile(r"(?<!\S)\(?(\d{1,2})\)(?!\d)[ \t]*"),
    ".": re.compile(r"(?<=[.;:!?]\s)(\d{1,2})[.:](?=\s)[ \t]*"),
}

_PARAGRAPH = re.compile(r"\n[ \t]*\n|(?<=[.!?:;])[ \t]*\n|\n(?=[ \t]*[-*+•][ \t])")
_BULLET = re.compile(r"[ \t]*[-*+•>#]{1,6}[ \t]+")
_END = re.compile(r"""(?<![.!?])[.!?]+["')\]]{0,2}(?=\s+["'(\[]{0,2}[^\Wa-z_])""")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|fig|figs|eq|no|nr|approx|dr|mr|mrs|ms|prof|st|al|[a-z])$",
    re.IGNORECASE,
)
_LONGEST_ABBREVIATION = 8


@dataclass(slots=True)
class _Numbered:
    """A step that began with a number: its number, the style of numbering, its text."""

    number: int
    style: str
    text: str

    def append(self, lines: list[str]) -> None:
        """Adds lines to the text."""
        self.text = "\n".join((self.text, *lines))


def read_steps(thinking: str, tags: Tags) -> tuple[str, ...]:
    """The steps in `thinking`, without their numbers, white space folded; none is empty.

    They are the first of these that exist: step elements; numbered lines, each with the unnumbered lines after
    it, and split where the numbering continues within a line; steps numbered within lines; sentences. A line
    that begins with a number out of sequence (`12. Then` after step 2) was wrapped there and is not a step.
    """
    steps = _elements(thinking, tags) if "<" in thinking else []
    if not steps:
        numbered = _numbered_lines(thinking)
        at_lines = {(each.style, each.number) for each in numbered}
        for each in numbered:
            steps += _numbered_within(each, at_lines) if _may_continue(each) else [each.text]
    steps = steps or _numbered_from_one(thinking) or _sentences(thinking)
    return tuple(folded for step in steps if (folded := fold(step, tags)))


def fold(step: str, tags: Tags) -> str:
    """A step on one line, without stray tags, outer emphasis and extra white space."""
    if "<" in step:
        step = tags.any_tag.sub(" ", step)
    if "  " in step or not step.isprintable():  # the space is the only white space that is printable
        step = " ".join(step.split())
    return step.strip("* ")


def _elements(thinking: str, tags: Tags) -> list[str]:
    openings = list(tags.step_open.finditer(thinking))
    limits = [following.start() for following in openings[1:]] + [len(thinking)]
    steps = []
    for opening, limit in zip(openings, limits[: len(openings)], strict=True):
        closing = tags.step_close.search(thinking, opening.end(), limit)
        step = thinking[opening.end() : closing.start() if closing else limit]
        number = _LINE_NUMBER.match(step)
        steps.append(step[number.end() :] if number else step)
    return steps


def _numbered_lines(thinking: str) -> list[_Numbered]:
    steps: list[_Numbered] = []
    following: list[str] = []
    for line in thinking.splitlines():
        if match := _LINE_NUMBER.match(line):
            step, plain, mark = match.groups()
            number = int(step or plain)
            if step or _is_in_sequence(number, steps):
                if following:
                    steps[-1].append(following)
                    following = []
                style = "step" if step else ")" if mark == ")" else "."
                steps.append(_Numbered(number, style, line[match.end() :]))
                continue
        if steps:
            following.append(line)
    if following:
        steps[-1].append(following)
    return steps


def _is_in_sequence(number: int, steps: list[_Numbered]) -> bool:
    if not steps:
        return True
    last = steps[-1].number
    return number <= 1 or last <= number <= last + 1


def _may_continue(step: _Numbered) -> bool:
    """Whether the step's text may contain the next number in its style: a quick test before the search."""
    following = str(step.number + 1)
    if step.style == "step":
        return following in step.text and "step" in step.text.casefold()
    return following + step.style in step.text or following + ":" in step.text


def _numbered_within(step: _Numbered, at_lines: set[tuple[str, int]]) -> Iterator[str]:
    """Splits `1) read 2) add` where the count continues in the same style, unless that number begins a line."""
    start, number = 0, step.number + 1
    for match in _INLINE_NUMBERS[step.style].finditer(step.text):
        if (
            int(match[1]) == number
            and (step.style, number) not in at_lines
            and not _closes(match.group(), step.text[start : match.start()])
        ):
            yield step.text[start : match.start()]
            start, number = match.end(), number + 1
    yield step.text[start:]


def _closes(marker: str, before: str) -> bool:
    """Whether a marker like `3)` closes a bracket opened before it, as in `(see 3)`."""
    return ")" in marker and "(" not in marker and before.count("(") > before.count(")")


def _numbered_from_one(thinking: str) -> list[str]:
    """Steps counted from 1 within lines; at least two, since a single number may be anything."""
    for style, pattern in _INLINE_NUMBERS.items():
        first = next((match for match in pattern.finditer(thinking) if int(match[1]) == 1), None)
        if first is not None:
            steps = list(_numbered_within(_Numbered(1, style, thinking[first.end() :]), set()))
            if len(steps) > 1:
                return steps
    return []


def _sentences(text: str) -> list[str]:
    """The sentences of `text`, with the white space around them.

    A sentence ends at `.`, `!` or `?` before white space and a capital or digit, except after an abbreviation or
    initial; at an empty line; at the end of a line that closes with punctuation; and before a list item. The
    point of `3.5` ends none, nor does the end of a line that was wrapped in mid-sentence.
    """
    found = []
    for paragraph in _PARAGRAPH.split(text):
        bullet = _BULLET.match(paragraph)
        start = bullet.end() if bullet else 0
        for end in _END.finditer(paragraph):
            if paragraph[end.start()] == "." and _ABBREVIATION.search(
                paragraph[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start()]
            ):
                continue
            found.append(paragraph[start : end.end()])
            start = end.end()
        found.append(paragraph[start:])
    return [sentence for sentence in found if any(map(str.isalnum, sentence))]
