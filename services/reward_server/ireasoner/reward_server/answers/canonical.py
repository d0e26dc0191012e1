"""What an answer means: one canonical form for all ways to write a number, a quantity, a choice or a list.

An answer's form depends on that answer and the config alone. Answers with the same form are the same answer, so
sameness is an equivalence relation and does not depend on their order.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from fractions import Fraction

from ireasoner.reward_server.answers.form import Form, key_of
from ireasoner.reward_server.answers.normalise import normalise_answer
from ireasoner.reward_server.answers.number_words import number_in_words
from ireasoner.reward_server.answers.units import LEADING, UNITS
from ireasoner.reward_server.scoring_config import ScoringConfig

MAX_CHARACTERS = 500
"""Longer answers are compared as text: they are sentences, not values."""
MAX_ITEMS = 64
MAX_DEPTH = 3
MAX_EXPONENT = 300


_SUPERSCRIPTS = str.maketrans({character: f"^{digit}" for digit, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_DASHES = str.maketrans(dict.fromkeys("−–—‒﹣－", "-") | {"⁄": "/", "∕": "/", "·": "*", "⋅": "*", "×": "*"})
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_WRAPPING_COMMAND = re.compile(r"\\(?:boxed|fbox|text|textbf|textit|mathrm|mathbf|mathit)\s*\{")
_LATEX = (
    (re.compile(r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\displaystyle(?![a-zA-Z])"), ""),
    (re.compile(r"\\[,;!: ]|~"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[dt]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])"), "°"),
    (re.compile(r"\\(?:cdot|times)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\([%$&#_{}])"), r"\1"),
    (re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}"), r" \1 "),
)
_PHRASE = re.compile(
    r"(?:so |thus |therefore )?(?:the |my )?(?:final |correct )?answer(?: is\b| ?[:=])\s*:?\s*", re.I
)
_ASSIGNMENT = re.compile(r"[A-Za-z](?:_\{?\w{1,8}\}?)?\s*=\s*(?=[^=\s])")
_CHOICE = re.compile(
    r"""(?:(?:option|choice|answer)\s+[(\[]?([A-Za-z])[)\]]?[.:]?    # option B
      | [(\[]?([A-Za-z])[)\].:]?                                     # (b)  B.  b
    )""",
    re.I | re.X,
)
_MARKED_CHOICE = re.compile(
    r"""(?: [(\[]([A-Ha-h])[)\]][.:]? | ([A-Ha-h])\) | ([A-H])[.:] )  # (b)  b)  B.
    \s+ (?P<option>
        [^\W_] | ["'“‘$€£°√π] | [-+.(\[{]\s?[-+.]?\d               # Paris  "yes"  -3  (3, 4)
      | \\(?:frac|sqrt|pi)(?![A-Za-z])
    )
    (?! .* [\s,;] [(\[]?[A-Za-z][)\].:] (?:\s|$) ) .*               # but not A: 3, B: 4
    """,
    re.X | re.S,
)
"""A letter before its option. `(x) + 3`, a formula, and `E. coli` are not choices."""
_OPTION_IN_LOWER_CASE = re.compile(r"(?:the|an?|all|none|both|neither)\b")
"""Words in lower case that may start an option after `B.`; after any other one, `B.` is an abbreviation."""
_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s*(?:
        (?P<whole>\d+)\s+(?P<over>\d+)\s*/\s*(?P<under>\d+)
      | (?P<top>{_DECIMAL})\s*/\s*(?P<bottom>{_DECIMAL})
      | \\frac\s*\{{\s*(?P<ftop>-?\d+)\s*\}}\s*\{{\s*(?P<fbottom>-?\d+)\s*\}}
      | \\frac\s*(?P<dtop>\d)\s*(?P<dbottom>\d)
      | (?P<decimal>{_DECIMAL})(?:\s*(?:e|\*\s*10\s*\^)\s*(?P<exponent>[+-]?\d{{1,3}}|\{{[+-]?\d{{1,3}}\}}))?
    )""",
    re.I | re.X,
)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?")
_CONTINENTAL = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+")
_MIXED_LATEX = re.compile(r"([+-]?)\s*(\d+)\s*(\\frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\})")
_SCALED = re.compile(rf"([+-]?\s*{_DECIMAL})\s*(thousand|million|billion|trillion|dozen)", re.I)
_SCALE_VALUES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_GLUED_UNIT = re.compile(r"(.*[\d.}])\s*([^\d\s.}].{0,20})", re.S)
_SEPARATOR = r"\s*(?:;|,(?!(?<=\d,)\d{3}(?!\d)))\s*"  # not the comma of 1,000
_SEPARATED = re.compile(_SEPARATOR)
_JOINED = re.compile(rf"(?:{_SEPARATOR}|\s*)(?:\band\b|\bor\b|&)\s*|{_SEPARATOR}", re.I)
_AND = re.compile(r"\band\b|\bor\b|&", re.I)
_DIGIT_COMMA_DIGIT = re.compile(r"[+-]?\d+,\d+")
_FUNCTIONS = (
    "sqrt|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|pi|infty|inf|theta|alpha|beta|gamma"
)
_FUNCTION_NAME = re.compile(rf"(?<![\\A-Za-z])({_FUNCTIONS})(?![A-Za-z])")
_ARGUMENT = re.compile(r"(\\sqrt|\^)\s*\(([^()]*)\)")
_LETTERS = re.compile(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_MATH = re.compile(r"[\d\w\s+\-*/^=<>≤≥().,\[\]{}|!\\π√∞θ]+")
_OPERATION = re.compile(
    r"[\w)}π]\s*[\^*+<>=≤≥]|[\\π√∞]|\d[a-z]|[a-z]\s*[-/]\s*\d|\d\s*[-/]\s*[a-z(]|\)\(", re.I
)
# 5-3 and 10/12/2020 are not formulas, but a score and a date


def forms_of(answers: Iterable[str], config: ScoringConfig) -> dict[str, Form]:
    """The canonical form of each of a group's answers, given as written with white space folded."""
    return {answer: form_of(answer, config) for answer in answers}


def form_of(answer: str, config: ScoringConfig) -> Form:
    """The canonical form of an answer, given as written with white space folded."""
    return _form(answer, config, 0)


def _form(answer: str, config: ScoringConfig, depth: int) -> Form:
    rules: list[str] = []
    if len(answer) > MAX_CHARACTERS:
        normal = normalise_answer(answer)
        return Form(key_of("text", normal), (), normal)
    text = _without_markup(answer.strip(), rules)
    text = _noting(
        "phrase", lambda each: _PHRASE.sub("", each, count=1) if _PHRASE.match(each) else each, text, rules
    )
    text = _trimmed(text)
    if text.count("=") == 1 and (assignment := _ASSIGNMENT.match(text)):
        rules.append("assignment")
        text = text[assignment.end() :].strip()
    if letter := _chosen_letter(text, within_list=depth > 0):
        if text != letter:
            rules.append("choice")
        return Form(key_of("text", letter.lower()), tuple(rules), letter.lower())
    return (
        _quantity_form(text, config, rules)
        or _list_form(text, config, rules, depth)
        or _unwrapped(text, config, rules, depth)
        or _text_form(answer, text, rules)
    )


def _chosen_letter(text: str, *, within_list: bool) -> str | None:
    """The letter of a multiple-choice answer, as written; None if `text` is not one.

    Within a list, a letter before other text is the label of that item.
    """
    if choice := _CHOICE.fullmatch(text):
        return choice[1] or choice[2]
    if within_list or (choice := _MARKED_CHOICE.fullmatch(text)) is None:
        return None
    is_abbreviation = (
        text[1] == "."
        and choice["option"].islower()
        and not _OPTION_IN_LOWER_CASE.match(text, choice.start("option"))
    )
    return None if is_abbreviation else choice[1] or choice[2] or choice[3]


def _noting(rule: str, change: Callable[[str], str], text: str, rules: list[str]) -> str:
    changed = change(text)
    if changed != text:
        rules.append(rule)
    return changed


def _without_markup(text: str, rules: list[str]) -> str:
    """Replaces Unicode fractions, powers and dashes, and LaTeX wrappers and spaces, by plain text."""
    text = _noting("unicode", _plain, text, rules)
    return _noting("latex", _without_latex, text, rules)


def _plain(text: str) -> str:
    if text.isascii():
        return text
    text = text.translate(_SUPERSCRIPTS)
    text = "".join(f" {each}" if unicodedata.category(each) == "No" else each for each in text)
    return unicodedata.normalize("NFKC", text).translate(_DASHES).strip()


def _without_latex(text: str) -> str:
    if "\\" not in text and "$" not in text:
        return text
    for _ in range(MAX_DEPTH):
        before = text
        for opening, closing in _WRAPPERS:
            if (
                text.startswith(opening)
                and text.endswith(closing)
                and len(text) > len(opening) + len(closing)
            ):
                inside = text[len(opening) : -len(closing)]
                text = text if "$" in inside.replace(r"\$", "") and "$" in opening else inside.strip()
        command = _WRAPPING_COMMAND.match(text)
        if command and _closing(text, command.end() - 1) == len(text) - 1:
            text = text[command.end() : -1].strip()
        if text == before:
            break
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _closing(text: str, opening: int) -> int | None:
    """The index at which the bracket at `opening` closes; None if it does not."""
    pairs = {"{": "}", "(": ")", "[": "]"}
    open_character, close_character = text[opening], pairs[text[opening]]
    depth = 0
    for index in range(opening, len(text)):
        if text[index] == open_character:
            depth += 1
        elif text[index] == close_character:
            depth -= 1
            if depth == 0:
                return index
    return None


def _trimmed(text: str) -> str:
    """`text` without quotes, emphasis and closing punctuation."""
    text = text.strip(" \t\r\n\"'`*_“”‘’")
    return text.rstrip(" .,;!?。\"'`*_“”‘’") or text


def _quantity_form(text: str, config: ScoringConfig, rules: list[str]) -> Form | None:
    number = _number(text, rules)
    if number is not None:
        return _number_form(number, text, rules)
    for amount, unit in _amounts(text):
        dimension, size = UNITS[unit]
        number = _number(amount, rules)
        if number is None:
            continue
        if dimension == "percent":
            rules.append("percent")
            if config.percent == "fraction":
                return _number_form(number * size / 100, text, rules)
        else:
            rules.append("unit")
            if config.units == "ignored":
                return _number_form(number, text, rules)
        return Form(
            key_of("quantity", dimension, str(number * size)),
            tuple(rules),
            normalise_answer(text),
            settled=True,
        )
    return None


def _amounts(text: str) -> list[tuple[str, str]]:
    """The possible readings of `text` as an amount and a known unit."""
    lower = text.lower()
    found = []
    sign = lower[:1] if lower[:1] in ("-", "+") else ""
    unsigned = lower[len(sign) :]
    if unsigned[:1] and unsigned[0] in LEADING:
        found.append((sign + unsigned[1:].strip(), unsigned[0]))
    words = lower.split()
    for count in (1, 2):
        if len(words) > count:
            found.append((" ".join(words[:-count]), " ".join(words[-count:])))
    if glued := _GLUED_UNIT.fullmatch(lower):
        found.append((glued.group(1), " ".join(glued.group(2).split())))
    if words and words[0] in UNITS and len(words) == 2:  # USD 5
        found.append((words[1], words[0]))
    return [(amount, unit.rstrip(".")) for amount, unit in found if unit.rstrip(".") in UNITS]


def _number_form(number: Fraction, text: str, rules: list[str]) -> Form:
    name = text if "\\" in text else normalise_answer(text)
    return Form(key_of("number", str(number)), tuple(rules), name, _latex_of(number), settled=True)


def _latex_of(number: Fraction) -> str:
    sign = "-" if number < 0 else ""
    top, bottom = abs(number.numerator), number.denominator
    return f"{sign}{top}" if bottom == 1 else f"{sign}\\frac{{{top}}}{{{bottom}}}"


def _number(text: str, rules: list[str]) -> Fraction | None:
    """The exact value of `text` if the whole of it is one number."""
    text = text.strip()
    sign, unsigned = ("-", text[1:].strip()) if text[:1] == "-" else ("", text.removeprefix("+").strip())
    if _THOUSANDS.fullmatch(unsigned):
        rules.append("thousands")
        return Fraction(sign + unsigned.replace(",", "").replace(" ", ""))
    if _CONTINENTAL.fullmatch(unsigned):
        rules.append("thousands")
        return Fraction(sign + unsigned.replace(".", "").replace(",", "."))
    if scaled := _SCALED.fullmatch(text):
        rules.append("number words")
        return Fraction(scaled.group(1).replace(" ", "")) * _SCALE_VALUES[scaled.group(2).lower()]
    if mixed := _MIXED_LATEX.fullmatch(text):
        part = _number(mixed.group(3), rules)
        whole = None if part is None else int(mixed.group(2)) + part
        return -whole if whole is not None and mixed.group(1) == "-" else whole
    if match := _NUMBER.fullmatch(text):
        return _value(match, rules)
    words = number_in_words(text.lower())
    if words is not None:
        rules.append("number words")
    return words


def _value(match: re.Match[str], rules: list[str]) -> Fraction | None:
    part = match.groupdict()
    tops = [
        (part[top], part[bottom])
        for top, bottom in (("top", "bottom"), ("ftop", "fbottom"), ("dtop", "dbottom"))
    ]
    try:
        if part["whole"]:
            value = int(part["whole"]) + Fraction(int(part["over"]), int(part["under"]))
        elif fraction := next((each for each in tops if each[0]), None):
            value = Fraction(fraction[0]) / Fraction(fraction[1])
        else:
            exponent = int((part["exponent"] or "0").strip("{}"))
            if abs(exponent) > MAX_EXPONENT:
                return None
            value = Fraction(part["decimal"]) * Fraction(10) ** exponent
            rules += ["exponent"] * bool(part["exponent"])
            if "." in part["decimal"]:
                rules.append("decimal")
            return -value if part["sign"] == "-" else value
    except ZeroDivisionError:
        return None
    rules.append("fraction")
    return -value if part["sign"] == "-" else value


def _list_form(text: str, config: ScoringConfig, rules: list[str], depth: int) -> Form | None:
    """A list; in braces, joined by `and` or `or`, or of words it is a set, otherwise its order counts."""
    if depth >= MAX_DEPTH or len(text) < 3:
        return None
    brackets = ""
    inside = text
    if text[0] in "([{" and text[-1] in ")]}":
        brackets, inside = text[0] + text[-1], text[1:-1].strip()
    elif _DIGIT_COMMA_DIGIT.fullmatch(text):  # ambiguous: a decimal comma, or two numbers
        return None
    items = _items(inside, joined=not brackets)
    if not 2 <= len(items) <= MAX_ITEMS or not all(items):
        return None
    forms = [_form(item, config, depth + 1) for item in items]
    keys = [form.key for form in forms]
    settled = all(form.settled for form in forms)
    expression = _as_expression(text) if brackets else None
    words = any(not form.settled and form.expression is None for form in forms)
    if brackets == "{}" or (not brackets and _AND.search(inside)) or words:
        return Form(key_of("set", *sorted(set(keys))), (*rules, "set"), text, expression, settled)
    kind = "list" if brackets in ("", "()") or (brackets == "[]" and len(keys) != 2) else f"list{brackets}"
    return Form(key_of(kind, *keys), (*rules, "list"), text, expression, settled)


def _items(inside: str, *, joined: bool) -> list[str]:
    """The items of a list, split at commas and semicolons outside brackets, and at `and` if `joined`."""
    outside, depth = [], 0
    for character in inside:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return []
        outside.append(character if depth == 0 or character in "([{" else "\0")
    shown = "".join(outside)
    items, start = [], 0
    for separator in (_JOINED if joined else _SEPARATED).finditer(shown):
        items.append(inside[start : separator.start()])
        start = separator.end()
    return [item.strip() for item in [*items, inside[start:]]]


def _unwrapped(text: str, config: ScoringConfig, rules: list[str], depth: int) -> Form | None:
    """The form of an answer in brackets: `(-5)`, `[7]`."""
    if depth >= MAX_DEPTH or len(text) < 3 or text[0] not in "([{" or _closing(text, 0) != len(text) - 1:
        return None
    if _THOUSANDS.fullmatch(text[1:-1].strip()):  # (100,200) is ambiguous: one number, or two
        return None
    inside = _form(text[1:-1], config, depth + 1)
    return Form(
        inside.key, (*rules, "brackets", *inside.rules), inside.name, inside.expression, inside.settled
    )


def _text_form(answer: str, text: str, rules: list[str]) -> Form:
    latex = _as_expression(text)
    if latex is not None:
        return Form(key_of("text", "".join(text.split())), tuple(rules), text, latex)
    plain = normalise_answer(text) or normalise_answer(answer) or text.lower()
    return Form(key_of("text", plain), tuple(rules), plain)


def _as_expression(text: str) -> str | None:
    """`text` in LaTeX if the whole of it is a formula."""
    named = _FUNCTION_NAME.sub(r"\\\1", text.replace("√", r"\sqrt "))
    if not _MATH.fullmatch(named) or not _OPERATION.search(named):
        return None
    if _LETTERS.search(_COMMAND.sub(" ", named)):
        return None
    named = _ARGUMENT.sub(r"\1{\2}", named)
    return named.replace("*", r"\cdot ").replace("π", r"\pi ").replace("≤", r"\le ").replace("≥", r"\ge ")
