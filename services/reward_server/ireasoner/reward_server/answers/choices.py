"""Letters of multiple-choice options, alone or before the option's text."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_ALONE = re.compile(
    r"""(?:(?P<word>option|choice|answer)\s+[(\[]?(?P<named>[A-Za-z])[)\]]?[.:]?   # option B
      | [(\[](?P<enclosed>[A-Za-z])[)\]][.:]? | (?P<closed>[A-Za-z])\)              # (b)  b)
      | (?P<bare>[A-Za-z])[.:]?                                                     # b  B.
    )""",
    re.I | re.X,
)
_ONE_LABEL = r"(?! .* [\s,;] [(\[]?[A-Za-z][)\].:] (?:\s|$) | \(?[A-J]\)? $ )"  # but not A: 3, B: 4
_LABELLED = re.compile(
    rf"""(?: (?i:option|choice)\s+[(\[]?(?P<named>[A-Ja-h])[)\]]?[.:,]?\s+[-(]?
      | [(\[](?P<enclosed>[A-Ja-h])[)\]][.:]?\s+ | (?P<closed>[A-Ja-h])\)\s+        # (b) Paris  b) Paris
      | [(\[](?P<glued>[A-J])[)\]](?=[\d\\$-])                                      # (B)27
      | (?P<dotted>[A-J])(?:[.:]\s+|\s+(?:\(|-\s+)(?=[^\W\d_]{{2}}))            # B. Paris  B: Paris  B (Paris)
    ) {_ONE_LABEL}
    (?P<option>
      (?: [^\W_] | ["'“‘$€£°√∞] | [-+.(\[{{][-+.]?\d | -?\\(?:frac|sqrt|infty)(?![A-Za-z]) ) .*
    )""",
    re.X | re.S,
)
_CAPITAL = re.compile(
    rf"""\((?P<letter>[A-J])\)\s+ {_ONE_LABEL}
    (?! [-+*/=^<>≤≥|!](?:\s|$) | \\(?:cup|cap|in|pm|setminus)(?![A-Za-z]) )         # but not (A) + (B)
    (?P<option>.+)""",
    re.X | re.S,
)
_CERTAIN_OPTION = re.compile(r"(?:the|an?|all|none|both|neither|not|it|they)(?=\s)", re.I)
"""Words that start an option after `B.`; before any other one, `B.` may be an initial or an abbreviation."""
_FIRST_LETTERS = frozenset("abcd")


class Choice(NamedTuple):
    """An answer that names, or may name, an option by its letter, in lower case.

    `option` is the text after the letter, None if the letter is alone. `is_certain`: the letter is marked as one of an
    option, `(B)` or `B) Paris`. In `B. Paris` it may also be an initial.
    """

    letter: str
    option: str | None
    is_certain: bool


def read_choice(text: str) -> Choice | None:
    """The choice that `text` is, or may be; None if it cannot be one."""
    if alone := _ALONE.fullmatch(text):
        letter = alone["named"] or alone["enclosed"] or alone["closed"] or alone["bare"]
        return Choice(letter.lower(), None, alone["bare"] is None)
    if capital := _CAPITAL.fullmatch(text):
        return Choice(capital["letter"].lower(), capital["option"], True)
    if labelled := _LABELLED.fullmatch(text):
        certain = labelled["named"] or labelled["enclosed"] or labelled["closed"] or labelled["glued"]
        is_certain = certain is not None or _CERTAIN_OPTION.match(labelled["option"]) is not None
        return Choice((certain or labelled["dotted"]).lower(), labelled["option"], is_certain)
    return None


class Options(NamedTuple):
    """What a group shows about the letters of options: whether they are options, and which have one text only."""

    are_marked: bool
    are_shown: bool
    unambiguous: frozenset[str]

    def chosen(self, choice: Choice) -> bool:
        """Whether the answer means its letter, and not its text."""
        if choice.option is None:
            return True
        if choice.is_certain:
            return self.are_shown or choice.letter in self.unambiguous
        if self.are_marked:
            return True
        return self.are_shown and not _is_abbreviated(choice)


def options_of(choices: Iterable[Choice]) -> Options:
    """What all choices of a group show together.

    Letters are options if one is marked without a text (`(B)`, `option B`), if one with a text is certain and another
    is alone, or if several are alone. `A. London`, `B. Paris` and `B` show it too: they are the first letters of the
    alphabet, more than one, each with one text, and one of them is alone. A single `E` beside `E. Coli` shows nothing.
    """
    found = list(choices)
    alone = {each.letter for each in found if each.option is None and each.letter <= "j"}
    texts: dict[str, set[str]] = {}
    for each in found:
        if each.option is not None:
            texts.setdefault(each.letter, set()).add(" ".join(each.option.lower().split()).rstrip(". "))
    unambiguous = frozenset(letter for letter, written in texts.items() if len(written) == 1)
    is_marked = any(each.option is None and each.is_certain and each.letter <= "j" for each in found)
    certain = any(each.option is not None and each.is_certain for each in found)
    consistent = len(unambiguous) == len(texts) and not any(_is_abbreviated(each) for each in found)
    several = len(alone) > 1 or (
        bool(alone) and len(alone | set(texts)) > 1 and alone | set(texts) <= _FIRST_LETTERS
    )
    are_marked = is_marked or (certain and bool(alone))
    return Options(are_marked, are_marked or (several and consistent), unambiguous)


def _is_abbreviated(choice: Choice) -> bool:
    """`E. coli`: a word in lower case after a letter that may be an abbreviation."""
    return choice.option is not None and not choice.is_certain and choice.option[0].islower()
