"""Numbers that begin a step: `Step 1:`, `1.`, `(1)`, `步骤1：`, `第一步`, `①`, `一、`."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_HAN = "零一二三四五六七八九十"
_CIRCLED = "".join(map(chr, range(0x2460, 0x2474)))
_DARK = "".join(map(chr, range(0x2776, 0x2780)))
_ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_ARABIC = ["الأولى", "الثانية", "الثالثة", "الرابعة", "الخامسة", "السادسة", "السابعة", "الثامنة"]

_WORD = (
    "(?:steps?|paso|étape|etape|schritt|passo|passaggio|stap|krok|шаг|bước|adım|langkah|चरण|ステップ|手順|步骤|步驟"
    "|단계|الخطوة)"
)
_COUNT = rf"\d{{1,2}}|[{_HAN}]{{1,3}}|(?:{'|'.join(_ENGLISH)}|{'|'.join(_ARABIC)})\b"
_STEP = rf"""(?i:
    {_WORD}[ \t]*[#(（]?(?:{_COUNT})[)）]?(?:[ \t]?(?:/|of)[ \t]?\d{{1,2}})?(?![a-z0-9_]|[.．]\d)
    | 第[ \t]?(?:\d{{1,2}}|[{_HAN}]{{1,3}})(?:[ \t]?步|(?=[，,、：:]))
    | \d{{1,2}}[ \t]?단계
)"""
_MARK = r"(?:[.):：、,，．\-–—→]|[-=]>)"

_LINE = re.compile(
    rf"""(?P<indent>[ \t　]*)
    (?P<prefix>[-*+•>][ \t]+)?
    (?:(?P<hashes>\#{{1,6}})[ \t]*)?
    (?P<bold>[*_]{{0,3}})
    (?:
        (?P<step>{_STEP})[*_ \t]{{0,4}}{_MARK}?
      | (?P<bracket>(?:\d{{1,2}}|[{_HAN}]{{1,3}}|[a-z])[)）])(?!\d)
      | (?P<brackets>[(（](?:\d{{1,2}}|[{_HAN}]{{1,3}}|[a-z])[)）])(?!\d)
      | (?P<point>\d{{1,2}}\\?(?:[.．:：](?!\d)|[、]))
      | (?P<han>[{_HAN}]{{1,3}}[、.．])
      | (?P<circled>[{_CIRCLED}{_DARK}]|\d\ufe0f?\u20e3)
    )
    [*_]{{0,3}}[.、]?[ \t　]*""",
    re.VERBOSE,
)
_INLINE = {
    "step": re.compile(
        rf"(?:(?<![\w-])[*_]{{0,3}}(?P<marker>{_STEP})[*_ \t]{{0,4}}{_MARK}[*_]{{0,3}}"
        rf"|(?P<cjk>第(?:\d{{1,2}}|[{_HAN}]{{1,3}})步))[ \t]*",
        re.VERBOSE,
    ),
    "bracket": re.compile(r"(?:(?<!\S)|(?<=[：:，,；;。、]))(?P<marker>\d{1,2})[)）](?!\d)[ \t]*"),
    "brackets": re.compile(r"(?:(?<!\S)\(|(?<=[：:，,；;。、])\(|（)(?P<marker>\d{1,2})[)）](?!\d)[ \t]*"),
    "point": re.compile(
        r"(?:(?<=[.;:!?,]\s)(?P<marker>\d{1,2})[.:](?=\s)|(?<=\s)(?P<lower>\d{1,2})\.(?=\s[a-z])"
        r"|(?<=[：:，,；;。])(?P<cjk>\d{1,2})[.．、])[ \t]*"
    ),
    "circled": re.compile(rf"(?P<marker>[{_CIRCLED}{_DARK}])[ \t]*"),
}
_NUMERAL = re.compile(rf"[０-９{_HAN}{_CIRCLED}{_DARK}]")


class Marker(NamedTuple):
    """A number that may begin a step: its style, what it counts, its indentation, and where the text after it begins.

    `rank` orders titles: the number of its hashes if it is a Markdown heading, else 7 in bold and 8 in plain text.
    """

    style: str
    number: int
    indent: int
    rank: int
    end: int


MAY_BEGIN = rf"(?:[\d(（第{_HAN}{_CIRCLED}{_DARK}]|[a-z]\)|(?i:{_WORD}))"
"""How a marker can begin: a quick test before `marker_of`."""


def marker_of(line: str) -> Marker | None:
    """The number that begins a line."""
    found = _LINE.match(line)
    if found is None:
        return None
    style = found.lastgroup or ""
    number = _number(found[style], style)
    if number is None:
        return None
    hashes = found["hashes"] or ""
    rank = len(hashes) or (7 if found["bold"] else 8)
    indent = len(found["indent"].expandtabs(4))
    style_name = "step" if style == "step" else f"{hashes}{_style(found[style], style)}"
    return Marker(style_name, number, indent, rank, found.end())


def may_count(text: str, number: int) -> bool:
    """Whether `number` may be one of the `inline_markers`: a quick test before the search."""
    return str(number) in text or (not text.isascii() and _NUMERAL.search(text) is not None)


def inline_markers(style: str, text: str) -> Iterator[tuple[int, int, int]]:
    """The numbers of a style within `text`: what each counts, and where it begins and ends."""
    pattern = _INLINE.get(style)
    for found in pattern.finditer(text) if pattern else ():
        if (number := _number(next(filter(None, found.groups())), style)) is not None:
            yield number, found.start(), found.end()


INLINE_STYLES = tuple(_INLINE)


def _style(marker: str, group: str) -> str:
    """Letters and Chinese numerals are counted apart from digits."""
    inner = marker.strip("()（）")
    if group.startswith("bracket") and inner.isalpha():
        return f"{group} {'letter' if inner.isascii() else 'han'}"
    return group


def _number(marker: str, style: str) -> int | None:
    """What a marker counts; None for a number that cannot be one."""
    if digits := re.search(r"\d{1,2}", marker):
        return int(digits.group())
    if style == "circled":
        return (_CIRCLED.find(marker[0]) if marker[0] in _CIRCLED else _DARK.find(marker[0])) + 1
    if han := re.search(f"[{_HAN}]+", marker):
        return _number_in_chinese(han.group())
    if style.startswith("bracket"):
        return ord(marker.strip("()").lower()) - ord("a") + 1
    word = next((each for each in marker.lower().split() if each.strip("#()") in _ENGLISH), None)
    if word:
        return _ENGLISH.index(word.strip("#()"))
    return next((number for number, each in enumerate(_ARABIC, start=1) if each in marker), None)


def _number_in_chinese(digits: str) -> int | None:
    """1 to 99, such as 十二 and 二十."""
    tens, ten, ones = digits.rpartition("十")
    if len(tens) > 1 or len(ones) > 1:
        return None
    return 10 * (_HAN.index(tens) if tens else 1 if ten else 0) + (_HAN.index(ones) if ones else 0)
