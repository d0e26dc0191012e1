"""An answer without the marks that do not change it: emphasis, mathematics delimiters, boxes, typographic signs.

A mark is taken off only where it cannot carry meaning. Where that is not certain it stays: an answer that is wrongly
kept apart costs one question, but one that is wrongly joined counts a wrong answer as right.
"""

import re

_SIGNS = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width ASCII
        "\u2212": "-",  # the minus sign
        "\ufe63": "-",
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u3000": " ", "\u200b": None,
    }
)  # fmt: skip
_DASH_BEFORE_NUMBER = re.compile(r"^[\u2010\u2011\u2012\u2013](?=[\d.])")
_LATEX = (
    (re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:bf|it|rm|sf)|mbox|operatorname)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\d?t?frac(?=\s*\{)"), r"\\frac"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)|(?<=\d)\\[,!](?=\d{3})"), ","),
    (re.compile(r"\\[,;: ]|\\q?quad\b|(?<=\S)~(?=\S)"), " "),
    (re.compile(r"\\([%$#&])"), r"\1"),
    (re.compile(r"\\(?:left|right)(?=[()\[\]|.])"), ""),
)
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_LEAD = re.compile(
    r"(?:\*\*|__)?\s*(?:(?:so|thus|therefore|hence)[, ]\s*)?(?:the |my )?(?:final |correct |right )?"
    r"(?:answer|option|choice)(?:\s+is)?\s*(?:\*\*|__)?\s*(?::|(?<=is))\s*(?:\*\*|__)?\s*(?=\S)"
    r"|(?:最终)?答案\s*(?:是|为|[:：])\s*(?=\S)",
    re.IGNORECASE,
)
_PAIRS = (
    ("**", "**"), ("__", "__"), ("```", "```"), ("`", "`"), ("*", "*"), ("$$", "$$"), ("$", "$"),
    ("\\(", "\\)"), ("\\[", "\\]"), ('"', '"'), ("'", "'"),
)  # fmt: skip
_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"))
_CALCULATED = re.compile(r"(?:[\d\s.,()%+*/×÷·=-]|\\(?:times|cdot|div)(?![a-z]))+")
_OPERATION = re.compile(r"\d[\s)%]*(?:[+*/×÷·-]|\\(?:times|cdot|div))")
_NUMBER_FIRST = re.compile(r"[-+]?[.(]?\d")
_END = re.compile(r"\s*(?:[.,;:]+|(?<=[^\W\d_]{2})[!?]+)$")
_START = re.compile(r"^(?:[;:]|[.,](?!\d))+\s*")


def bare(text: str) -> str:
    """The answer without marks around it, its signs in ASCII and white space collapsed; case is kept."""
    text = _DASH_BEFORE_NUMBER.sub("-", " ".join(text.translate(_SIGNS).split()))
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    before = None
    while text != before:
        before = text
        text = _unwrapped(_START.sub("", _END.sub("", text.strip())).strip())
    return " ".join(text.split())


def result_of(answer: str) -> str:
    """What a calculation in digits comes to: `11` for `4 + 7 = 11`; any other answer as it is."""
    operands, sign, result = bare(answer).rpartition("=")
    if not (sign and _CALCULATED.fullmatch(operands) and _OPERATION.search(operands)):
        return answer
    result = bare(result)
    return result if _NUMBER_FIRST.match(result) else answer


def _unwrapped(text: str) -> str:
    """`text` without one mark around all of it, if there is one."""
    lead = _LEAD.match(text)
    if lead is not None and lead.end() < len(text):
        return _closed_emphasis(text[: lead.end()], text[lead.end() :])
    box = _BOX.match(text)
    if box is not None and _closes_at_end(text[box.end() - 1 :], "{", "}"):
        return text[box.end() : -1]
    for opening, closing in _PAIRS:
        inner = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner.strip() and opening not in inner:
            if opening == "*" and ("*" in inner or inner[0] == " "):
                continue
            return inner
    for opening, closing in _BRACKETS:
        # A comma or semicolon makes it a pair, an interval or a set, of which the brackets are a part.
        if text.startswith(opening) and _closes_at_end(text, opening, closing) and not set(",;") & set(text):
            return text[1:-1]
    return text


def _closed_emphasis(lead: str, rest: str) -> str:
    """`rest` without the end of an emphasis that began in `lead`: `**Answer: B**`."""
    for mark in ("**", "__"):
        if lead.count(mark) % 2 and rest.endswith(mark):
            return rest[: -len(mark)]
    return rest


def _closes_at_end(text: str, opening: str, closing: str) -> bool:
    """Whether the bracket that opens `text` is closed by its last character, with something between."""
    depth = 0
    for index, sign in enumerate(text):
        depth += (sign == opening) - (sign == closing)
        if depth == 0:
            return index == len(text) - 1 and index > 1
    return False
