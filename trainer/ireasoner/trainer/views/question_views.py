"""Views whose question is another one, about the same image."""

import random
import re
from collections.abc import Sequence

from PIL import Image

from ireasoner.trainer.views.view import Form, drawn

_MARK = re.compile(r"(?:^|(?<=[\s,;:]))(\(?)([A-Ha-h])([.):])\s+")
"""The letter of an option: `A. `, `B) `, `(c) ` or `D: `."""
_TAIL = re.compile(r"[\s,;.?]*(?:\b(?:or|and)\s+)?$")
"""What separates an option from the next one."""
_NO_OPTION = re.compile(r"^$|[.?!] ")
"""Texts that are more than an option, or none."""


def same(picture: Image.Image, question: str, seed: int, index: int) -> Form:
    """The plain image and question; after a rewording by the policy, the question in its words."""
    return picture, question, None


def option_order(picture: Image.Image, question: str, seed: int, index: int) -> Form | None:
    """The question with its options in another order; None if it has none.

    The letters stay where they are, `A. red B. blue` becomes `A. blue B. red`, and an answer by letter is mapped back.
    """
    marks = _marks(question)
    options = [] if marks is None else _options(question, marks)
    texts = tuple(text.casefold() for text, _ in options)
    if marks is None or len(set(texts)) < len(texts) or any(_NO_OPTION.search(text) for text in texts):
        return None
    order = _other_order(len(marks), drawn(seed, "option_order", index))
    reordered = [
        f"{mark[0]}{options[source][0]}{tail}"
        for mark, source, (_, tail) in zip(marks, order, options, strict=True)
    ]
    end = marks[-1].end() + sum(map(len, options[-1]))
    letters = tuple(mark[2].casefold() for mark in marks)
    asked = question[: marks[0].start()] + "".join(reordered) + question[end:]
    return picture, asked, OptionMap(letters, tuple(order), texts)


_BY_LETTER = re.compile(
    r"(?:option\s+)?\(?(?P<letter>[A-Ha-h])(?P<mark>[.):]?)(?:\s+(?P<text>.*))?", re.IGNORECASE | re.DOTALL
)


class OptionMap:
    """Maps an answer by letter to the letter that the option has in the plain question.

    An answer by the option's text stays; one whose letter and text are different options cannot be mapped.

    Args:
        letters: The letters, in order.
        order: For each letter, the index of the option that it has in the view.
        texts: The options in the plain question's order, case folded.
    """

    def __init__(self, letters: tuple[str, ...], order: tuple[int, ...], texts: tuple[str, ...]) -> None:
        self._plain = {letter: letters[source] for letter, source in zip(letters, order, strict=True)}
        self._shown = {letter: texts[source] for letter, source in zip(letters, order, strict=True)}
        self._texts = texts

    def __call__(self, answer: str) -> str | None:
        """The answer to the plain question."""
        said = answer.strip()
        match = _BY_LETTER.fullmatch(said)
        if match is None or (said.casefold() in self._texts and len(said) > 1):
            return answer
        shown, letter = (match["text"] or "").strip(" .").casefold(), match["letter"].casefold()
        if letter not in self._plain or (shown and shown != self._shown[letter]):
            return None if match["mark"] or not shown else answer  # "a dog" is no letter
        plain = self._plain[letter]
        mapped = plain.upper() if match["letter"].isupper() else plain
        return said[: match.start("letter")] + mapped + said[match.end("letter") :]


def _marks(question: str) -> list[re.Match[str]] | None:
    """The letters of the options; None unless they are `A`, `B` and so on, at least two, in one style."""
    marks = list(_MARK.finditer(question))
    starts = [index for index, mark in enumerate(marks) if mark[2].casefold() == "a"]
    if not starts:
        return None
    marks = marks[starts[-1] :]
    letters = "".join(mark[2].casefold() for mark in marks)
    styles = {(mark[1], mark[3], mark[2].isupper()) for mark in marks}
    return marks if len(marks) > 1 and "abcdefgh".startswith(letters) and len(styles) == 1 else None


def _options(question: str, marks: Sequence[re.Match[str]]) -> list[tuple[str, str]]:
    """The text of each option, and what follows it up to the next one; the last one ends with its line."""
    ends = [*(mark.start() for mark in marks[1:]), len(question)]
    spans = [question[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    spans[-1] = spans[-1].split("\n", 1)[0]
    tails = [_TAIL.search(span) for span in spans]
    return [
        (span, "") if tail is None else (span[: tail.start()], tail[0])
        for span, tail in zip(spans, tails, strict=True)
    ]


def _other_order(count: int, rng: random.Random) -> list[int]:
    """A random order of `count` options that is not the plain one."""
    order = list(range(count))
    while order == sorted(order):
        rng.shuffle(order)
    return order
