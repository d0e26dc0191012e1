"""The normalised text of an answer."""

import re

from ireasoner.reward_server.answers.punctuation import without_outer_punctuation

# 1,234 and 12,345,678 on their own; any other comma is a decimal comma or separates a list.
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")


def normalise_answer(answer: str) -> str:
    """The form in which answers are compared as text; empty if nothing is left, which is not an answer.

    Lower-cases, folds white space, and drops thousands separators and outer punctuation. What changes a value is kept:
    `-5` is not `5`, `.5` is not `5`, `1,5` is not `15`, `5%` is not `5`, `5!` is not `5`, `A-` is not `A`.
    """
    if answer.isascii() and answer.isalnum():
        return answer.lower()  # most answers need no folding
    folded = " ".join(answer.lower().split())
    folded = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), folded)
    return without_outer_punctuation(folded)
