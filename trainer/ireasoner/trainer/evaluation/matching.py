"""The rules by which an answer counts as right: exact, with ChartQA's tolerance, or by multiple choice."""

import math
import re
from collections.abc import Sequence
from typing import Literal

from ireasoner.trainer.evaluation.bare_answer import bare

Matching = Literal["exact", "relaxed", "choice"]
"""exact: equal after normalisation. relaxed: a number within 5% of the true one. choice: names the right option."""

MAX_OPTIONS = 26
"""Options are named by single letters."""

_RELAXED_TOLERANCE = 0.05
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(%?)")
_UNIT = re.compile(r"(?<=\d)(\s?)([A-Za-z]{1,3})\b(?!')")
_CASE_MATTERS = re.compile(
    r"[A-KM-Za-km-z]"  # kelvin and thousand, mega and metre; not L and l
    r"|[mM](?:W|Wh|V|A|Hz|Pa|J|N|g|L|eV|F|H|s|b|B|bps|Bps)"
    r"|[kKgGtT]?[bB]|[pP](?:A|F|J|Pa|s)"
)
"""Units after a number that another case turns into another unit: mW and MW, Mb and MB, 5 K and 5 k."""
_OPTION = re.compile(
    r"(?:(?:option|choice|answer)\s+)?[(\[]?([a-z])(?:[)\].:]+(?![a-z]\.)(?:\s*(.*))?)?", re.DOTALL
)
_SECOND_OPTION = re.compile(
    r"[(\[]?[a-z][)\].:]*|(?:.*\s)?(?:and|or|[&/])\s*(?:option\s+)?[(\[]?[a-z](?:[)\].:].*)?", re.DOTALL
)
"""What follows the first letter in `A) or B)`, `(A) and (B)`, `A. dog or B. cat`, `A: B`."""


def normalise(answer: str) -> str:
    """`bare`, without thousands separators, in lower case except for a unit whose case matters (mW and MW)."""
    text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), bare(answer))
    kept = [(found.start(2), found[2]) for found in _UNIT.finditer(text) if _CASE_MATTERS.fullmatch(found[2])]
    folded = text.lower()
    if len(folded) != len(text):
        return folded
    for start, unit in kept:
        folded = folded[:start] + unit + folded[start + len(unit) :]
    return folded


def matches(answer: str, truth: str, matching: Matching, choices: Sequence[str] = ()) -> bool:
    """Whether `answer` is right.

    Args:
        answer: The given answer.
        truth: The true answer; for `choice`, the letter or the text of an option.
        matching: The rule.
        choices: For `choice`, the texts of options A, B, ...; without them only letters are compared.
    """
    if matching == "relaxed":
        return _within_tolerance(answer, truth)
    if matching == "choice":
        return option(answer, choices) == option(truth, choices)
    return normalise(answer) == normalise(truth)


def vote(answer: str, matching: Matching, choices: Sequence[str] = ()) -> str:
    """The key of an answer in a majority vote: the option that it names, or its normalised form."""
    return option(answer, choices) if matching == "choice" else normalise(answer)


def option(answer: str, choices: Sequence[str]) -> str:
    """The letter (lower case) of the option that `answer` names, or its normalised form if it names none.

    `B`, `(B)`, `**B**. a cat`, `option B` and the whole text of option B all name B. A single letter always means the
    option with that letter, even if it is the text of another option. A letter with the text or the letter of another
    option names none.
    """
    normal = normalise(answer)
    texts = [normalise(choice) for choice in choices]
    if len(normal) > 1 and normal in texts:
        return letter(texts.index(normal))
    found = _OPTION.fullmatch(_without_emphasis(answer)) or _OPTION.fullmatch(normal.lower())
    if found is not None and (not choices or ord(found[1]) - ord("a") < len(choices)):
        said = normalise(found[2] or "")
        if choices and texts[ord(found[1]) - ord("a")] == said:
            return found[1]
        return normal if said in texts or _SECOND_OPTION.fullmatch(said) else found[1]
    return letter(texts.index(normal)) if normal in texts else normal


def letter(index: int) -> str:
    """The letter of the option at `index`, from 0: `a`, `b`, ..."""
    return chr(ord("a") + index)


def _without_emphasis(answer: str) -> str:
    """An answer in lower case whose letter may be emphasised, or typeset, on its own: `**B**. a cat`, `$B$) a cat`."""
    return bare(re.sub(r"\*\*|__|\$", "", bare(answer).lower()))


def _within_tolerance(answer: str, truth: str) -> bool:
    """Relaxed accuracy: ChartQA (arXiv 2203.10244, section 5.1), after PlotQA (arXiv 1909.00997).

    A number is right within 5% of the true one; anything else must be equal. As in the scripts behind the published
    figures, a percentage counts as its hundredth: `50%` equals `0.5`, not `50`. Unlike those scripts, which compare a
    true 0 as a string, it is compared as a number.
    """
    given, wanted = _number(answer), _number(truth)
    if given is None or wanted is None:
        return normalise(answer) == normalise(truth)
    # Exactly 5% is within the tolerance, despite binary rounding.
    return math.isclose(given, wanted, rel_tol=1e-12) or (
        abs(given - wanted) <= _RELAXED_TOLERANCE * abs(wanted) * (1 + 1e-12)
    )


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(normalise(text).lower())
    if found is None:
        return None
    return float(found[1]) / (100.0 if found[2] else 1.0)
