"""Answers in boxes: `\\boxed{}` and `\\fbox{}`."""

import re
from typing import NamedTuple

_BOX = r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*"
_TOKEN = re.compile(rf"(?P<box>{_BOX}(?:\{{|(?P<bare>[A-Za-z0-9])))|\\[{{}}]|(?P<brace>[{{}}])")
_ANY_BOX = re.compile(rf"{_BOX}\{{")
_STYLE = re.compile(
    rf"(?:\\(?:text|textbf|textit|textrm|textsf|texttt|mathbf|mathrm|mathit|mathsf|mbox|bm|boldsymbol|emph)\s*|{_BOX})\{{"
)
_SPACING = re.compile(r"\\(?:quad|qquad|[,;:! ()\[\]])|\\(?:text|textrm|mathrm|mbox)\s*(?=\{)|[{}$~*()\s]+")
_JOINT = re.compile(
    r"(?P<comma>[,;、，；])?\s*(?P<word>and|und|et|y|e|&|和|与|及|以及|と|및)?\s*(?P<name>[A-Za-z]\w{0,8}\s?=)?",
    re.IGNORECASE,
)
_NAME = re.compile(r"([A-Za-z]\w{0,8}\s?=)[\s$]*$")
_LONGEST_JOINT = 48
_MOST_STYLES = 4


class Box(NamedTuple):
    """A box from `start` to `end`; `content` is None if the text ends before the box is closed."""

    start: int
    end: int
    content: str | None


def has_box(text: str) -> bool:
    """Whether a text has a box, closed or not."""
    return _ANY_BOX.search(text) is not None


def last_box(text: str, after: int) -> Box | None:
    """The last box that begins after `after`, together with those before it that are joined to it.

    Boxes are joined by a comma or a word for `and`, and their contents are then one answer: `3 and 4`. An empty box
    counts only if all are empty: it repeats the instruction. Of nested boxes the outer one counts.
    """
    boxes = _boxes(text, after)
    filled = [box for box in boxes if box.content != ""]
    if not filled:
        return boxes[-1] if boxes else None
    last = filled.pop()
    while filled and last.content is not None:
        joined = _joined(text, filled.pop(), last)
        if joined is None:
            break
        last = joined
    return last


def _boxes(text: str, after: int) -> list[Box]:
    """The closed outermost boxes, in order, and after them the last one if it is not closed."""
    closed: list[tuple[int, int, int]] = []  # where a box, its content and its end are
    opened: list[
        tuple[int, int] | None
    ] = []  # where an open box and its content begin; None for another brace
    for token in _TOKEN.finditer(text, after):
        if token["bare"]:
            closed.append((token.start(), token.start("bare"), token.end()))
        elif token["box"]:
            opened.append((token.start(), token.end()))
        elif token["brace"] == "{":
            opened.append(None)
        elif token["brace"] and opened and (box := opened.pop()) is not None:
            while closed and closed[-1][0] > box[0]:
                closed.pop()
            closed.append((*box, token.start()))
    boxes = [Box(start, end, _without_style(text[inner:end])) for start, inner, end in closed]
    still_open = [box for box in opened if box is not None]
    if still_open and (not boxes or still_open[-1][0] > boxes[-1].start):
        boxes.append(Box(still_open[-1][0], len(text), None))
    return boxes


def _without_style(content: str) -> str:
    """What `\\text{C}` and its like contain, if that is all there is; few nest deeper than once."""
    content = content.strip()
    for _ in range(_MOST_STYLES):
        opening = _STYLE.match(content)
        if opening is None or not _closes_at_end(content, opening.end()):
            break
        content = content[opening.end() : -1].strip()
    return content


def _closes_at_end(content: str, start: int) -> bool:
    """Whether the brace before `start` is closed by the last character."""
    depth = 1
    for token in _TOKEN.finditer(content, start):
        if token["brace"] == "}":
            depth -= 1
        elif token["brace"] or (token["box"] and not token["bare"]):
            depth += 1
        if depth == 0:
            return token.end() == len(content)
    return False


def _joined(text: str, one: Box, other: Box) -> Box | None:
    """Two boxes as one; None if they are two answers. Names stay: `x = 3 and y = 4`."""
    between = text[one.end : other.start]
    if len(between) > _LONGEST_JOINT or "\n\n" in between:
        return None
    joint = _JOINT.fullmatch(_SPACING.sub(" ", between).strip())
    if joint is None or not (joint["comma"] or joint["word"]):
        return None
    name = _NAME.search(text[max(0, one.start - 16) : one.start]) if joint["name"] else None
    first = f"{name[1]} {one.content}" if name else f"{one.content}"
    second = " ".join(filter(None, (joint["name"], other.content)))
    return Box(one.start, other.end, f"{first}{' and' if joint['word'] else ','} {second}")
