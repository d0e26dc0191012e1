"""Sentences, by the rules of sentencex (Wikimedia), which knows the abbreviations and full stops of many languages."""

import re
from collections.abc import Iterator
from importlib.metadata import version

import sentencex

SENTENCES_VERSION = version("sentencex")
"""Part of the fingerprint, as the parser's own version is."""

_WINDOW = 512
"""Characters that the library sees at once: its work can grow with the square of their number."""

_LANGUAGE_SAMPLE = 1_000
_FUNCTION_WORDS = {
    "en": "the is of and to it so are we that this because since there in on at as by for with was has not no",
    "de": "der die das und ist nicht ein eine den dem mit auf wir sind zeigt",
    "es": "el los las es una del que con por son hay se luego",
    "fr": "le les et est une des du dans on donc il sont puis",
    "it": "il gli della che sono di quindi nel con si",
    "pt": "os uma do da que em com por são não se",
    "nl": "de het een en is van dat op dus zijn",
}
_LANGUAGES_OF_WORD = {
    word: [language for language, words in _FUNCTION_WORDS.items() if word in words.split()]
    for word in " ".join(_FUNCTION_WORDS.values()).split()
}
_WORD = re.compile(r"[^\W\d_]+")

_MATH_OR_CODE = re.compile(
    r"\$\$[^$]++\$\$|\$(?![\s$])[^$]*+(?<!\s)\$(?!\d)|`[^`]++`|\\\((?:[^\\]|\\(?![()]))*+\\\)|\\\[(?:[^\\]|\\(?![\[\]]))*+\\\]"
)
_END_IN_EMPHASIS = re.compile(r"([.!?。！？।؟])([*_]{1,3})(?=\s|$)")
_END_IN_BRACKETS = re.compile(r"([.!?])([)\]]{1,2})(?=\s[\"'(\[]?[^\Wa-z_\d])")
_BEFORE_A_NUMBER = re.compile(
    r"(?<!\w)(?:eqs?|approx|aprox|vol|sec|ch|chap|tab|abb|gl|pág|págs|núm|pp?|figs?|no|nos|nr|ca|env|ex)\.(?=\s?\d)",
    re.IGNORECASE,
)
_SAYS_SOMETHING = re.compile(r"[^\W_]")
_ONLY_A_LETTER = re.compile(r"\W*[A-Za-z][.)]\s*")
_ONLY_A_LABEL = re.compile(r"\W*(?:[A-Za-z]|\d{1,2})[.)]\s*")


def language_of(text: str) -> str:
    """The language whose function words are most frequent at the start of `text`; it decides over abbreviations.

    English if none is: the library's rules for it also read Chinese, Japanese, Korean, Arabic and Hindi.
    """
    counts = dict.fromkeys(_FUNCTION_WORDS, 0)
    for word in _WORD.findall(text[:_LANGUAGE_SAMPLE].lower()):
        for language in _LANGUAGES_OF_WORD.get(word, ()):
            counts[language] += 1
    return max(counts, key=lambda language: counts[language])


def sentences(paragraph: str, language: str) -> Iterator[str]:
    """The sentences of a paragraph, white space folded; those without a letter or digit are left out.

    No sentence ends inside mathematics (`$...$`) or code, and a label such as `A.` belongs to what follows.
    """
    if not _SAYS_SOMETHING.search(paragraph):
        return
    text = " ".join(paragraph.split())
    start = 0
    for end in _ends(_masked(text), language):
        if end < len(text) and _ONLY_A_LABEL.fullmatch(text, start, end):
            continue
        sentence = text[start:end].strip()
        if _SAYS_SOMETHING.search(sentence):
            yield sentence
        start = end


def first_sentence(text: str) -> str:
    """The first sentence of an answer. `A. Lincoln` is one, and `C. This is red.` begins with the answer `C`."""
    text = " ".join(text[:_WINDOW].split())
    for end in _ends(_masked(text), "en"):
        following = _WORD.match(text, end)
        is_name = following is not None and following.group().lower() not in _LANGUAGES_OF_WORD
        if not (is_name and _ONLY_A_LETTER.fullmatch(text, 0, end)):
            return text[:end].strip()
    return text


def _ends(text: str, language: str) -> Iterator[int]:
    """The index after each sentence, in linear time."""
    start = window = 0
    while window < len(text):
        found = sentencex.segment(language, text[window : window + _WINDOW])
        whole = found if window + _WINDOW >= len(text) else found[:-1]
        if not whole:  # the sentence is longer than the window
            window += _WINDOW
            continue
        start = window
        for sentence in whole:
            start += len(sentence)
            yield start
        window = start
    if start < len(text):
        yield len(text)


def _masked(text: str) -> str:
    """A text of the same length in which only what may end a sentence looks as if it did."""
    if "$" in text or "`" in text or "\\" in text:
        text = _MATH_OR_CODE.sub(_mask, text)
    text = _BEFORE_A_NUMBER.sub(lambda found: f"{found.group()[:-1]}x", text)
    return _END_IN_BRACKETS.sub(r"\2\1", _END_IN_EMPHASIS.sub(r"\2\1", text))


def _mask(found: re.Match[str]) -> str:
    """Letters in place of mathematics or code; a full stop at its end stays."""
    span = found.group()
    inner_end = span.rstrip("$`)]\\ ")[-1:]
    return "x" * (len(span) - 1) + (inner_end if inner_end in (".", "?", "!") else "x")
