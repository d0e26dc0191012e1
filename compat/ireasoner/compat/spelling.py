"""The word that was probably meant in place of an unknown one."""

import difflib
import re
from collections.abc import Iterable

_LONGEST_WORD = 100
"""Characters of the longest word that is compared: callers pass what a request holds."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` with the known word that is spelt most like `word`; empty if none is."""
    if len(word) > _LONGEST_WORD:
        return ""
    folded = {_folded(name): name for name in known}
    asked = _folded(word)
    swapped = [name for name in folded if sorted(name) == sorted(asked)]
    near = swapped or difflib.get_close_matches(asked, folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def _folded(word: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
