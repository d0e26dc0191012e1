"""The items of lists: which numbers count on from one another, and what belongs to an item."""

from dataclasses import dataclass, field

from ireasoner.reward_server.parsing.layout import Block
from ireasoner.reward_server.parsing.numbering import Marker

_PARAGRAPHS = ("prose", "display", "rows")
_DEEPEST = 8
"""Levels that are told apart, so that deep nesting costs no more than a long list."""


@dataclass(slots=True)
class Item:
    """An item of an outer list, and the blocks that belong to it."""

    head: Block
    body: list[Block] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it, without its number."""
        return "\n".join((self.head.text, *(block.whole for block in self.body)))

    @property
    def is_title(self) -> bool:
        """Whether its own line is a title: `### 1. Look`, `1. **Look**`, `2. Look:`, or just `3.`."""
        marker, text = self.head.marker, self.head.text.strip()
        if marker is None:
            return False
        bold = text.strip("*_:： ")
        is_bold = (
            not bold.endswith((".", "!", "?", "。"))
            and text.rstrip(":： ").endswith(("**", "__"))
            and "**" not in bold
            and "__" not in bold
        )
        in_bold = marker.rank == 7 or text.startswith(("**", "__"))
        return (
            not bold or marker.rank < 7 or text.rstrip("*_ ").endswith((":", "：")) or (is_bold and in_bold)
        )

    @property
    def is_heading(self) -> bool:
        """Whether all that follows up to the next item belongs to it."""
        return (self.head.marker is not None and self.head.marker.style == "step") or self.is_title

    @property
    def expects_more(self) -> bool:
        """Whether its text so far announces what follows."""
        last = self.body[-1].whole if self.body else self.head.text
        return not last.strip() or last.rstrip(" *_").endswith((":", "：", ","))

    @property
    def paragraphs(self) -> int:
        """The paragraphs and displays that follow its own line."""
        return sum(block.kind in _PARAGRAPHS for block in self.body)

    def split_off(self, most: int, *, needs_first: bool) -> list[Block]:
        """Takes away what follows a heading's first `most` paragraphs and displays.

        With `needs_first` a title keeps what is right below it.
        """
        if not self.is_heading:
            return []
        paragraphs = 0
        for index, block in enumerate(self.body):
            paragraphs += block.kind in _PARAGRAPHS
            if paragraphs > most and not (needs_first and self.is_title and index == 0):
                self.body, rest = self.body[:index], self.body[index:]
                return rest
        return []

    def owns(self, block: Block) -> bool:
        """Whether `block`, which follows it and begins no item of the same list, belongs to it."""
        if block.indent > self.head.indent + 1:
            return True
        if block.kind == "title":
            return self.is_heading and block.rank > self.head.rank
        if self.is_heading:
            return True
        if self.head.kind == "bullet" and block.kind == "bullet":
            return False
        attached = not block.follows_blank and block.kind != "prose"
        return attached or self.expects_more


@dataclass(slots=True)
class _Level:
    style: str
    indent: int
    last: int


class OpenLists:
    """The numbered lists that are open, from the outermost in."""

    def __init__(self) -> None:
        self._levels: list[_Level] = []

    @property
    def is_empty(self) -> bool:
        """Whether no number was seen."""
        return not self._levels

    def depth(self, marker: Marker, item: Item | None) -> int | None:
        """How deep the item with this number is in `item`, the last outer one; None if the number counts nothing on.

        Steps by name are always outermost, and may have any number. Another number is the next one of a list with
        its style and indentation, or the first of a list of its own: a nested one if it is indented, has a style
        of its own, or follows a text that announces it. A list may begin with any number if it is the first.
        """
        if marker.style == "step":
            self._levels = [_Level("step", 0, marker.number)]
            return 0
        for depth in reversed(range(len(self._levels))):
            level = self._levels[depth]
            fits = level.style == marker.style and abs(level.indent - marker.indent) <= 1
            if fits and marker.number == level.last + 1:
                del self._levels[depth + 1 :]
                level.last = marker.number
                return depth if item else 0
        if marker.number > 1 and self._levels:
            return None
        if item is None or not self._is_nested(marker, item):
            self._levels.clear()
        if len(self._levels) < _DEEPEST:
            self._levels.append(_Level(marker.style, marker.indent, marker.number))
        return len(self._levels) - 1

    def _is_nested(self, marker: Marker, item: Item) -> bool:
        if not self._levels:
            return marker.indent > item.head.indent + 1
        known = any(level.style == marker.style for level in self._levels)
        return marker.indent > self._levels[-1].indent + 1 or not known or item.expects_more
