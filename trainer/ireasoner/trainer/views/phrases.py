"""Texts in which phrases are exchanged, all at once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Line = Callable[[str, str], str | None]
"""Gives the phrase for a numbered line of the image, from `row` or `column` and its number as it is written."""

_ORDINAL = r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|\d+(?:st|nd|rd|th))"
_LINE = (
    rf"(?P<ordinal>{_ORDINAL})[ ](?P<counted>row|column)\b|"
    r"\b(?P<numbered>row|column)[ ](?P<number>\d+|one|two|three)"
)
_FROM = r"[ ,]+(?:counted[ ])?from[ ](?:the[ ])?(?:left|right|top|bottom)\b"
"""A side from which lines are counted: the exchange of its word is enough."""


_USUAL = re.compile(
    r"\b(column \w+|\w+ column) from the left\b|\b(row \w+|\w+ row) from the top\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Exchange:
    """Exchanges phrases of a text, whole words only, the longest first; the first letter keeps its case.

    Attributes:
        phrases: What each phrase becomes, in lower case.
        line: What a numbered line becomes whose side is not named, as in `row 2` and `the second column`; None if the
            text cannot be mapped then.
        refused: Texts that hold this pattern cannot be mapped.
    """

    phrases: Mapping[str, str]
    line: Line
    refused: re.Pattern[str]
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        longest = sorted(map(re.escape, self.phrases), key=len, reverse=True)
        pattern = rf"\b(?:(?:{_LINE})(?!{_FROM})|(?P<phrase>{'|'.join(longest)}))\b"
        object.__setattr__(self, "_pattern", re.compile(pattern, re.IGNORECASE))

    def __call__(self, text: str) -> str | None:
        """The text with its phrases exchanged; None if it cannot be mapped."""
        if self.refused.search(text):
            return None
        parts, end = [], 0
        for match in self._pattern.finditer(text):
            exchanged = self._exchanged(match)
            if exchanged is None:
                return None
            first = match[0][0]
            parts += [
                text[end : match.start()],
                exchanged[0].upper() + exchanged[1:] if first.isupper() else exchanged,
            ]
            end = match.end()
        return "".join([*parts, text[end:]])

    def _exchanged(self, match: re.Match[str]) -> str | None:
        if match["phrase"]:
            return self.phrases[match["phrase"].lower()]
        kind, number = match["counted"] or match["numbered"], match["ordinal"] or match["number"]
        return self.line(kind.lower(), number.lower())


def named_line(kind: str, number: str) -> str:
    """`row 2` or `second row`, as the number is written."""
    return f"{number} {kind}" if re.fullmatch(_ORDINAL, number) else f"{kind} {number}"


def counted_as_usual(text: str) -> str:
    """The text without the side from which a line is counted anyway: `column 2 from the left` is `column 2`."""
    return _USUAL.sub(lambda match: match[1] or match[2], text)


def uncounted(ordinals_allowed: str) -> str:
    """A pattern of ordinals that count neither lines nor from a named side: `the third car`, but not `the third row`.

    Args:
        ordinals_allowed: Words that an ordinal may stand before.
    """
    return rf"\b{_ORDINAL}\b(?![ ](?:{ordinals_allowed})\b)(?!(?:[ ]\w+){{0,3}}{_FROM})"
