"""The outline of a text: the items of its outer lists with what belongs to them, and the prose around them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ireasoner.reward_server.parsing.layout import Block
from ireasoner.reward_server.parsing.list_items import Item, OpenLists
from ireasoner.reward_server.parsing.numbering import Marker


class Part(NamedTuple):
    """A part of the outline: `prose`, which has yet to be cut into steps, a `display` (or a table), or an `item`.

    Of an item, `head` is the text on its own line, `marker` its number, and `next_marker` the number of the next item.
    """

    kind: str
    text: str
    head: str = ""
    marker: Marker | None = None
    next_marker: Marker | None = None


class Outline:
    """Reads blocks in order and gives the parts of the outline.

    A numbered item ends with its paragraph, and has the bullets and displays below it and whatever is indented. A
    heading (`Step 1:`, `### 1. Look`, `1. **Look**`) has everything up to the next one. Nothing marks the end of
    the last heading, so it has as many paragraphs as the longest of the others, and what comes after is prose again.
    """

    def __init__(self) -> None:
        self._lists = OpenLists()
        self._item: Item | None = None
        self._around: Block | None = None  # the last block outside of items
        self._longest: int | None = None  # paragraphs of the longest heading so far
        self._stand_alone = True  # whether nothing was below any of these headings

    def parts(self, blocks: Iterable[Block]) -> Iterator[Part]:
        """The parts, in order."""
        for block in blocks:
            yield from self._add(block)
        yield from self._close_last()
        yield from self._flush()

    def _add(self, block: Block) -> Iterator[Part]:
        if block.marker is not None:
            depth = None if self._is_wrapped(block) else self._lists.depth(block.marker, self._item)
            if depth == 0:
                yield from self._begin(block)
                return
            if depth is not None and self._item is not None:
                self._item.body.append(block)
                return
            block = Block("prose", block.lines, indent=block.indent, follows_blank=block.follows_blank)
            if not block.follows_blank and self._join(block):
                return
        if block.kind == "rule":
            yield from self._close()
        elif self._item is not None and self._item.owns(block):
            self._item.body.append(block)
        elif block.kind == "bullet":
            yield from self._begin(block)
        else:
            yield from self._close()
            yield from self._put(block)

    def _is_wrapped(self, block: Block) -> bool:
        """Whether its number ended the sentence of the line before: `the sum is` / `12. That is a dozen`."""
        before = self._around
        unfinished = before is not None and before.kind == "prose" and not before.is_finished
        first = block.marker is not None and block.marker.number > 1 and self._lists.is_empty
        return first and unfinished and self._item is None and not block.follows_blank

    def _join(self, block: Block) -> bool:
        """Adds the lines of `block` to the block before it, if there is one."""
        before = (self._item.body[-1] if self._item.body else self._item.head) if self._item else self._around
        if before is None:
            return False
        before.lines.extend(block.lines)
        return True

    def _begin(self, block: Block) -> Iterator[Part]:
        yield from self._close(block.marker)
        yield from self._flush()
        self._item = Item(block)

    def _put(self, block: Block) -> Iterator[Part]:
        """Adds a block outside of items. A title leads what follows it, and equations below each other are one."""
        before = self._around
        stacked = (
            before is not None
            and before.kind == block.kind == "display"
            and not (before.is_code or block.is_code)
        )
        if before is not None and (stacked or (before.kind == "title" and block.kind != "title")):
            block.lines = [before.text, *block.lines]
        else:
            yield from self._flush()
        self._around = block

    def _flush(self) -> Iterator[Part]:
        if self._around is not None:
            whole = self._around.kind == "display" or (
                self._around.kind == "rows" and len(self._around.lines) > 1
            )
            yield Part("display" if whole else "prose", self._around.text)
            self._around = None

    def _close(self, next_marker: Marker | None = None) -> Iterator[Part]:
        item, self._item = self._item, None
        if item is not None:
            if item.is_heading:
                self._longest = max(self._longest or 0, item.paragraphs)
                self._stand_alone &= not item.body
            yield Part("item", item.text, item.head.text, item.head.marker, next_marker)

    def _close_last(self) -> Iterator[Part]:
        """Closes the item with which the text ends."""
        rest: list[Block] = []
        if self._item is not None:
            most = 1 if self._longest is None else self._longest
            rest = self._item.split_off(most, needs_first=self._longest is None or not self._stand_alone)
        yield from self._close()
        for block in rest:
            if block.marker is not None or block.kind == "bullet":
                yield from self._begin(block)
            else:
                yield from self._close()
                yield from self._put(block)
        yield from self._close()
