"""Where `left` and `right` name a side, and where they may mean something else: what is left, the right answer."""

import re

_BEFORE = re.compile(
    "the|on|to|from|at|far|top|bottom|upper|lower|or|and|your|its|his|her|their|my|facing|immediately|directly|just|"
    "slightly|center|centre|middle|s|turn|turns|turned|turning|go|goes|going|move|moves|moving|look|looks|looking|point|"
    "points|pointing|lean|leans|leaning|toward|towards"
)
"""Words after which they name a side."""
_AFTER = re.compile(
    "sides?|half|hand|edge|corner|end|column|part|arm|leg|foot|eye|ear|wheel|lane|image|picture|panel|wall|bank|page|or|"
    "and|of"
)
"""Words before which they do."""
_NEVER_BEFORE = re.compile("are|were|was|be|been|have|has|had|having|all|get|gets|got|wrong|how")
"""Words after which they do not, whatever follows."""
_NEVER_AFTER = re.compile(
    "answers?|choices?|options?|words?|order|way|time|amount|number|size|kind|tool|thing|over|behind|out|off|alone|now|wrong"
)
"""Words before which they do not, whatever precedes."""
FIXED = ("right angle", "right angles", "right-angled", "right triangle", "right triangles")
"""Phrases in which `right` names no side, whatever the view."""
_FIXED = re.compile(rf"\b(?:{'|'.join(FIXED)})\b")
_SIDE = re.compile(r"\b(?:left|right)\b")
_WORD = re.compile("[a-z]+")


def names_sides(text: str) -> bool:
    """Whether each `left` and `right` of a question names a side; true if there is none."""
    lowered = _FIXED.sub(" ", text.lower())
    return all(_names_side(lowered, match) for match in _SIDE.finditer(lowered))


def answers_side(text: str) -> bool:
    """Whether each `left` and `right` of an answer names a side; one that is the whole answer does."""
    return text.strip(" .!").lower() in ("left", "right") or names_sides(text)


def _names_side(text: str, match: re.Match[str]) -> bool:
    before = (_WORD.findall(text[: match.start()]) or [""])[-1]
    after, following, *_ = [*_WORD.findall(text[match.end() :]), "", ""]
    if _NEVER_BEFORE.fullmatch(before) or _NEVER_AFTER.fullmatch(after) or following == "wrong":
        return False
    if after == "to":  # from left to right; nothing left to do
        return bool(_SIDE.fullmatch(following)) or bool(_BEFORE.fullmatch(before))
    is_joined = text[match.end() :].startswith("-")
    return is_joined or bool(_BEFORE.fullmatch(before)) or bool(_AFTER.fullmatch(after))
