"""The word that was probably meant in place of an unknown one."""

import difflib
import re
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` with the known word that is spelt most like `word`; empty if none is."""
    names = list(known)
    folded = {_folded(name): name for name in names}
    swapped = [name for name in folded if sorted(name) == sorted(_folded(word))]
    near = swapped or difflib.get_close_matches(_folded(word), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def _folded(word: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
