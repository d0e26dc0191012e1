"""How a text is laid out: its paragraphs, titles, list items, code blocks and equations."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ireasoner.reward_server.parsing.displays import cut_at_displays
from ireasoner.reward_server.parsing.numbering import MAY_BEGIN, Marker, marker_of

Kind = Literal["prose", "numbered", "bullet", "title", "display", "rows", "rule"]

_BULLET = re.compile(r"[ \t　]*(?:[-*•–—◦▪‣·>]{1,3}|\+(?=[ \t]+[^\W\d]))[ \t]+")
_HASHES = re.compile(r"[ \t]*(?P<hashes>#{1,6})[ \t]+")
_BOLD = re.compile(r"[ \t]*(?P<mark>\*\*|__)(?P<text>(?:(?!\*\*|__).)+)(?P=mark)[ \t]*[:：]?[ \t]*")
_RULE = re.compile(r"[ \t]*(?:(?:-[ \t]*){3,}+|(?:\*[ \t]*){3,}+|(?:_[ \t]*){3,}+|={3,})[ \t]*")
_CLAUSE_ENDS = tuple(".!?:;。！？：；।؟…")
_SENTENCE_ENDS = tuple(".!?。！？।؟…")
_CLOSERS = "\"'”’)]*_` \t"
_GOES_ON = re.compile(r"[ \t]*[(\"'“*_`$]*(?:[a-z]|\d+[.,:]\d|[=+\-−×*/<>≤≥,;)\]])")
_MAY_BEGIN = re.compile(rf"[ \t　]*(?:[-*_#>•–—◦▪‣·+]|{MAY_BEGIN})")
"""Lines that may begin a block by their form: a quick test before the others."""

_SAYS_SOMETHING = re.compile(r"[^\W_]")
_ROW = re.compile(r"[ \t]*(?:\||[(\[]?[A-H][.)\]][ \t])")
"""A row of a table, or an answer to choose from."""


@dataclass(slots=True)
class Block:
    """Lines that belong together.

    Attributes:
        skip: Characters before its text: the number or bullet that it begins with.
        indent: Columns before its first line.
        marker: The number it begins with, if it is `numbered`.
        rank: Of a title: the number of its hashes, or 7 in bold.
        follows_blank: Whether an empty line, or nothing, is before it.
    """

    kind: Kind
    lines: list[str]
    skip: int = 0
    indent: int = 0
    marker: Marker | None = None
    rank: int = 8
    follows_blank: bool = True

    @property
    def text(self) -> str:
        """Its lines, without the number or bullet."""
        return self.whole[self.skip :]

    @property
    def whole(self) -> str:
        """Its lines."""
        return "\n".join(self.lines)

    @property
    def is_finished(self) -> bool:
        """Whether it closes with punctuation, so that the next line is no part of it."""
        return self.lines[-1].rstrip(_CLOSERS).endswith(_CLAUSE_ENDS)

    @property
    def is_code(self) -> bool:
        """Whether it is a block of code; any other display is an equation."""
        return self.kind == "display" and self.lines[0].lstrip().startswith(("```", "~~~"))


def blocks(text: str) -> Iterator[Block]:
    """The blocks of `text`, in order.

    A paragraph ends at an empty line, at the end of a line that closes with punctuation, and before a title, a list
    item, a code block and an equation on lines of its own. A list item also ends before a line that begins a sentence.
    """
    current: Block | None = None
    blank = True
    for part, is_display in cut_at_displays(text):
        if is_display:
            if current:
                yield current
            yield Block("display", part.split("\n"), indent=_indent(part), follows_blank=blank)
            current, blank = None, False
            continue
        for line in part.split("\n"):
            if not line.strip():
                blank = True
                continue
            block = _begun_by(line)
            rows = (
                block is not None and block.kind == "rows" and current is not None and current.kind == "rows"
            )
            if (block is None or rows) and current is not None and not blank and _continues(current, line):
                current.lines.append(line)
                continue
            if current:
                yield current
            current = block or Block("prose", [line], indent=_indent(line))
            current.follows_blank, blank = blank, False
    if current:
        yield current


def _begun_by(line: str) -> Block | None:
    """The block that a line begins by its form; None if it is a line of text."""
    if not _SAYS_SOMETHING.search(line):
        return Block("rule", [line]) if _RULE.fullmatch(line) else None
    if _ROW.match(line):
        return Block("rows", [line], indent=_indent(line))
    if not _MAY_BEGIN.match(line):
        return None
    if marker := marker_of(line):
        return Block("numbered", [line], marker.end, marker.indent, marker, marker.rank)
    if hashes := _HASHES.match(line):
        return Block("title", [line], hashes.end(), _indent(line), rank=len(hashes["hashes"]))
    if (bold := _BOLD.fullmatch(line)) and not bold["text"].endswith(_SENTENCE_ENDS):
        return Block("title", [bold["text"]], indent=_indent(line), rank=7)
    if bullet := _BULLET.match(line):
        return Block("bullet", [line], bullet.end(), _indent(line))
    return None


def _continues(block: Block, line: str) -> bool:
    """Whether a line that directly follows `block` is a part of it."""
    if block.kind in ("title", "rule"):
        return False
    if not _SAYS_SOMETHING.search(line):
        return True
    if block.kind == "rows" and _ROW.match(line):
        return True
    if block.is_finished:
        return False
    return block.kind == "prose" or _GOES_ON.match(line) is not None


def _indent(line: str) -> int:
    """The columns of white space before a line's text."""
    return len(line[: len(line) - len(line.lstrip())].expandtabs(4))
