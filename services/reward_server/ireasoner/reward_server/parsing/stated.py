"""Answers stated in words, such as `Answer: 7`, `答案：7` or `#### 7`, and those that are a bare last line."""

import re
from typing import NamedTuple

from ireasoner.reward_server.parsing.sentences import first_sentence

_KEY = re.compile(
    r"(?:(?<![^\W_])(?:answers?(?:[ \t](?:choice|option))?|ans|(?:correct|right|best)[ \t](?:option|choice)"
    r"|respuesta|réponse|antwort|risposta|resposta|ответ|उत्तर|الإجابة|الجواب)"
    r"(?:[ \t](?:finale?|correcta|correcte|النهائية))?|答案|答え|정답|답|(?:故|应|因此|所以)选择?)",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    r"(?<![^\W_])(?:option|choice|answer)[ \t][*_(\[]{0,4}(?P<answer>[A-Z])[*_)\]]{0,4}[ \t]is[ \t](?:the[ \t])?"
    r"(?:correct|right|best|answer)(?!\w)",
    re.IGNORECASE,
)
_IS = re.compile(
    r"(?:[ \t](?:to|for|of)[ \t][^\n.:：]{1,60}?)?[*_]{0,3}"
    r"(?:[ \t](?:is|are|was|would[ ]be|should[ ]be|must[ ]be|will[ ]be|es|est|ist|è|é|है)(?!\w)"
    r"|(?<=选)|(?<=选择)|】|应该是|應該是|[是為为は은는]|[ \t]?[:：=＝]|[ \t](?:[-–—→]|[-=]>)[ \t])"
    r"[*_]{0,3}[ \t]?[:：]?[*_]{0,3}(?![ \t]*not[ \t])",
    re.IGNORECASE,
)
_WEAK = re.compile(
    r"(?:[^\n.!。！？?]{0,160}+[?？]|(?:(?:indeed|also|not|most|probably|clearly|therefore)[ \t]){0,3}"
    r"(?:(?:in)?(?:correct|consistent|valid)|reasonable|plausible|sensible|sound|verified|confirmed|supported"
    r"|(?:based|calculated|derived|determined|expected|expressed|found|given|obtained|reached|rounded|written)[ \t]"
    r"(?:as|at|by|from|in|on|to|using|with))(?!\w))",
    re.IGNORECASE,
)
"""A question (`Which answer is it?`), or what a sentence says about an answer (`The answer is correct`)."""
_SEPARATOR = re.compile(r"[:：=＝】]")
_TITLE_BEGINS = re.compile(r"\n?(?:(?<=\n)[ \t#*_]{0,8}|.*[*_]{2})(?:[^\W\d]{1,12}[ \t]?)?")
_TITLE_ENDS = re.compile(r"[*_]{0,3}[:：]?[*_]{0,3}[ \t]*+(?=\n|\Z)")
_LEAD = re.compile(
    r"(?:(?<!\w)(?:so|thus|therefore|hence|donc|also|luego)[ \t,]{1,2})?(?:(?<!\w)(?:the|my|la|le|el|die|a)[ \t])?"
    r"(?:(?<!\w)(?:final|correct|right|best)[ \t]|最终|最后|正确|因此|所以|，|的){0,4}[#*_]{0,5}[ \t]?$",
    re.IGNORECASE,
)
_LONGEST_LEAD = 40
_LONGEST_INTRODUCTION = 120
_LONGEST_BULLET = 12
_BULLET = re.compile(r"(?<=\n)[ \t]*[-•>+][ \t]*\Z")
_FRAME = re.compile(r"\s+|[-•>*][ \t]+|(?:\$\$|\\\[|```\w*|~~~\w*|[-*_=]{3,})[ \t]*(?=\n)")
_HASHES = re.compile(r"[ \t]*####[ \t]*(?P<answer>[^#\s].*)")
_BARE = re.compile(
    r"""[ \t]*(?:[-*>•][ \t])?[*_$`(\[ ]{0,6}(?P<answer>
    [A-Za-z](?=[*_$`)\]. ]*$) | [-+−]?\d[\d.,/:]*[ \t]?(?:%|°|[A-Za-z]{1,3})? | (?:yes|no|true|false)(?=[*_$`)\]. ]*$)
    )[*_$`)\]. ]*""",
    re.IGNORECASE | re.VERBOSE,
)
_LONGEST_BARE = 64
_MOST_WORDS = 5
_EMPHASIS = "*_` \t\n"
_COPULA = re.compile(r"(?:です|である|だ|입니다|이다)[。.]?$")


class Stated(NamedTuple):
    """Where a stated answer begins, with its introduction, and the answer; None if the text ends before it.

    `is_weak`: it is a question, or says of an answer that it is correct.
    """

    start: int
    answer: str | None
    is_weak: bool = False


def stated_answer(text: str, after: int, *, cut_off: bool) -> Stated | None:
    """The last answer that is stated after `after`: in a sentence, below a title, or after `####`; else a weak one.

    With `cut_off` the text did not end by itself, so an answer that reaches its end may be incomplete.
    """
    statement, weak = _last_statements(text, after)
    strong = max(filter(None, (statement, _last_chosen(text, after))), default=None) or _last_hashes(
        text, after
    )
    found = strong or weak
    if found is None:
        return None
    start, begin, end = found
    start = _with_lead(text, after, start)
    line = _emphasised(text, begin, end).strip(_EMPHASIS)
    sentence = first_sentence(line)
    is_cut = cut_off and end == len(text) and len(sentence) == len(" ".join(line.split()))
    return Stated(start, None if is_cut else _cleaned(sentence) or None, is_weak=strong is None)


def with_introduction(text: str, after: int, start: int) -> int:
    """Where an answer at `start` begins with the words that introduce it, as in `So the answer is <answer>7</answer>`.

    They come after `after` and directly before the answer; `start` if there are none.
    """
    while (introduced := _introduction_before(text, after, start)) is not None:
        begin = introduced - _LONGEST_BULLET
        bullet = _BULLET.search(text[begin:introduced] if begin > after else f"\n{text[after:introduced]}")
        start = introduced - (len(bullet.group()) if bullet else 0)
    return start


def _introduction_before(text: str, after: int, start: int) -> int | None:
    """Where a statement or a title begins that ends at `start`; None without one."""
    for key in _KEY.finditer(text, max(after, start - _LONGEST_INTRODUCTION), start):
        stated = _states(text, after, key, start)
        if stated is not None and not text[stated.end() : start].strip(_EMPHASIS):
            return _with_lead(text, after, key.start())
    return None


def _with_lead(text: str, after: int, start: int) -> int:
    """Where a statement at `start` begins with what leads to it, as in `Therefore, the final answer`."""
    lead = _LEAD.search(text[max(after, start - _LONGEST_LEAD) : start])
    return start - len(lead.group()) if lead else start


def bare_last_line(text: str, after: int) -> Stated | None:
    """The last line if it is nothing but a choice, a number, yes or no."""
    start, line = _last_line(text, after)
    return Stated(start, _cleaned(line)) if len(line) <= _LONGEST_BARE and _BARE.fullmatch(line) else None


def few_words(text: str, thinking_end: int) -> Stated | None:
    """What follows the thinking, if it is a line of a few words."""
    start, line = _last_line(text, thinking_end)
    alone = not text[thinking_end:start].strip()
    few = 0 < len(line.split()) <= _MOST_WORDS and len(line) <= _LONGEST_BARE
    return Stated(start, _cleaned(line)) if thinking_end and alone and few else None


def _last_line(text: str, after: int) -> tuple[int, str]:
    """Where the last line that is not empty begins, and the line."""
    rest = text[after:].rstrip()
    start = rest.rfind("\n") + 1
    return after + start, rest[start:]


def _last_statements(text: str, after: int) -> list[tuple[int, int, int] | None]:
    """Where the last statement begins, and where its answer begins and ends; the same of the last weak one."""
    last: list[tuple[int, int] | None] = [None, None]
    for key in _KEY.finditer(text, after):
        stated = _states(text, after, key, len(text))
        if stated is not None:
            last[_is_weak(stated)] = key.start(), stated.end()
    return [each and (each[0], *_line_with_text(text, each[1])) for each in last]


def _states(text: str, after: int, key: re.Match[str], end: int) -> re.Match[str] | None:
    """What follows a key, up to `end`, if it makes a statement or a title of it: `is`, a colon, the end of the line."""
    stated = _IS.match(text, key.end(), end)
    if stated is None and (title := _TITLE_ENDS.match(text, key.end(), end)):
        return title if _begins_title(text, after, key.start()) else None
    return stated


def _is_weak(stated: re.Match[str]) -> bool:
    """Whether what follows a verb states no answer; after a colon everything does."""
    return _SEPARATOR.search(stated.group()) is None and _WEAK.match(stated.string, stated.end()) is not None


def _last_chosen(text: str, after: int) -> tuple[int, int, int] | None:
    """Where the last `option C is correct` begins, and where its choice begins and ends."""
    spans = [(found.start(), *found.span("answer")) for found in _CHOSEN.finditer(text, after)]
    return spans[-1] if spans else None


def _emphasised(text: str, begin: int, end: int) -> str:
    """The line of an answer; only its bold part if that is where it begins: `is **Yes**, because`."""
    before = text[max(text.rfind("\n", 0, begin) + 1, begin - _LONGEST_LEAD) : begin]
    line = text[begin:end]
    return line.partition("**")[0] if before.count("**") % 2 else line


def _begins_title(text: str, after: int, end: int) -> bool:
    """Whether a line up to `end` is the beginning of a title such as `### Final` or, in bold, `**Final`."""
    start = max(after, end - _LONGEST_LEAD)
    lead = f"\n{text[start:end]}" if start == after else text[start:end]
    return _TITLE_BEGINS.fullmatch(lead[max(0, lead.rfind("\n")) :]) is not None


def _line_with_text(text: str, start: int) -> tuple[int, int]:
    """The rest of the line after `start`, or the first below it that has text; lines that only frame are skipped."""
    while (frame := _FRAME.match(text, start)) is not None:
        start = frame.end()
    end = text.find("\n", start)
    return start, len(text) if end < 0 else end


def _last_hashes(text: str, after: int) -> tuple[int, int, int] | None:
    """The last line if it has the form `#### 7`."""
    end = len(text.rstrip())
    start = max(text.rfind("\n", after, end) + 1, after)
    found = _HASHES.fullmatch(text, start, end)
    return (found.start(), found.start("answer"), found.end()) if found else None


def _cleaned(answer: str) -> str:
    """An answer without emphasis around it, its full stop and a copula after it."""
    return _COPULA.sub("", answer.strip(_EMPHASIS).removesuffix(".").rstrip(_EMPHASIS))
