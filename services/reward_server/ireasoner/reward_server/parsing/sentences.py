"""Prose, cut into sentences."""

import re

_PARAGRAPH = re.compile(r"\n[ \t]*\n|(?<=[.!?:;])[ \t]*\n|\n(?=[ \t]*[-*+•][ \t])")
_BULLET = re.compile(r"[ \t]*[-*+•>#]{1,6}[ \t]+")
_END = re.compile(r"""(?<![.!?])[.!?]+["')\]]{0,2}(?=\s+["'(\[]{0,2}[^\Wa-z_])""")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|fig|figs|eq|no|nr|approx|dr|mr|mrs|ms|prof|st|al|[a-z])$",
    re.IGNORECASE,
)
_LONGEST_ABBREVIATION = 8


def sentences(text: str) -> list[str]:
    """The sentences of `text`, white space around them kept.

    A sentence ends at `.`, `!` or `?` before white space and a capital or a digit, unless an abbreviation or
    an initial stands there; at an empty line; at the end of a line that closes with punctuation; and before
    a list item. `3.5` has no end in it, nor has a line that was wrapped in mid-sentence.
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
