"""Code blocks and equations that have lines of their own."""

import re
from collections.abc import Iterator

_ENVIRONMENT = (
    "(?:align|alignat|aligned|array|bmatrix|cases|eqnarray|equation|gather|gathered|matrix|multline|pmatrix|split"
    r"|tabular|vmatrix)\*?"
)
_OPENING = re.compile(
    rf"^[ \t]*(?P<fence>```|~~~)|(?P<equation>\$\$|\\\[|\\begin\{{(?P<name>{_ENVIRONMENT})\}})", re.MULTILINE
)
_FENCES = {fence: re.compile(rf"^[ \t]*{fence}", re.MULTILINE) for fence in ("```", "~~~")}
_REST_OF_LINE = re.compile(r"[ \t`~.,;:!?。，；]*+(?=\n|\Z)")


def cut_at_displays(text: str) -> Iterator[tuple[str, bool]]:
    """The text in parts; True for a code block or an equation that has lines of its own."""
    start = position = 0
    never_closed: set[str] = set()
    while (opening := _OPENING.search(text, position)) is not None:
        begin = opening.start()
        end = _end(text, opening, never_closed)
        rest = None if end is None else _REST_OF_LINE.match(text, end)
        line = text[text.rfind("\n", start, begin) + 1 : begin]
        within_a_line = end is not None and "\n" not in text[begin:end] and line.strip() != ""
        if end is None or rest is None or within_a_line:
            position = end or opening.end()
            continue
        yield text[start:begin].removeprefix("\n").removesuffix("\n"), False
        yield text[begin : rest.end()], True
        start = position = rest.end()
    yield text[start:].removeprefix("\n"), False


def _end(text: str, opening: re.Match[str], never_closed: set[str]) -> int | None:
    """Where a display ends; None if it is not closed. A code block that is not closed goes on to the end."""
    if fence := opening["fence"]:
        closing = _FENCES[fence].search(text, opening.end())
        return closing.end() if closing else len(text)
    close = {"$$": "$$", "\\[": "\\]"}.get(opening["equation"], f"\\end{{{opening['name']}}}")
    end = -1 if close in never_closed else text.find(close, opening.end())
    if end < 0:
        never_closed.add(close)
        return None
    return end + len(close)
