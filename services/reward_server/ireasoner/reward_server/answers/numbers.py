"""The exact value of a number, however it is written."""

import re
from fractions import Fraction

from ireasoner.reward_server.answers.number_words import number_in_words

MAX_EXPONENT = 300
MAX_DIGITS = 1000
"""Powers with more digits are left to the comparison of formulas."""

_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_INTEGER = r"(?:[+-]?\d{1,4}|\{\s*[+-]?\d{1,4}\s*\})"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s*(?:
        (?P<whole>\d+)\s+(?P<over>\d+)\s*/\s*(?P<under>\d+)
      | (?P<top>{_DECIMAL})\s*/\s*(?P<bottom>{_DECIMAL})
      | \\frac\s*\{{\s*(?P<ftop>-?{_DECIMAL})\s*\}}\s*\{{\s*(?P<fbottom>-?{_DECIMAL})\s*\}}
      | \\frac\s*(?P<dtop>\d)\s*(?:(?P<dbottom>\d)|\{{\s*(?P<bbottom>\d+)\s*\}})
      | (?P<decimal>{_DECIMAL})(?:\s*(?:e|[*x]\s*10\s*\^)\s*(?P<exponent>{_INTEGER}))?
      | (?P<base>\d+)\s*\^\s*(?P<power>{_INTEGER})
      | (?P<before>\d*)\.(?P<fixed>\d*)(?:\\overline|\\bar|\\dot)\s*\{{(?P<repeated>\d+)\}}
    )""",
    re.I | re.X,
)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?")
_CONTINENTAL = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+")
_MIXED_LATEX = re.compile(r"([+-]?)\s*(\d+)\s*(\\frac\s*(?:\{\s*\d+\s*\}\s*\{\s*\d+\s*\}|\d\s*\d))")
_SCALE_VALUES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "lakh": 10**5,
    "crore": 10**7,
}
_SCALED = re.compile(rf"(.*\d.?)\s*({'|'.join(_SCALE_VALUES)})s?", re.I)
_INFINITY = re.compile(
    r"(?P<minus>-|minus |negative )?\s*(?:\+|plus |positive )?\s*(?:\\infty|∞|infinity|inf)", re.I
)


def is_ambiguous_pair(text: str) -> bool:
    """Whether `text` may be one number or two: `1,5`, `100,200`."""
    return re.fullmatch(r"[+-]?\d+,\d+", text) is not None


def number(text: str, rules: list[str]) -> Fraction | None:
    """The exact value of `text` if the whole of it is one number; `rules` gets the ways in which it was written."""
    text = text.strip()
    sign, unsigned = ("-", text[1:].strip()) if text[:1] == "-" else ("", text.removeprefix("+").strip())
    if _THOUSANDS.fullmatch(unsigned):
        rules.append("thousands")
        return Fraction(sign + unsigned.replace(",", "").replace(" ", ""))
    if _CONTINENTAL.fullmatch(unsigned):
        rules.append("thousands")
        return Fraction(sign + unsigned.replace(".", "").replace(",", "."))
    if mixed := _MIXED_LATEX.fullmatch(text):
        part = number(mixed[3], rules)
        whole = None if part is None else int(mixed[2]) + part
        return -whole if whole is not None and mixed[1] == "-" else whole
    if match := _NUMBER.fullmatch(text):
        return _value(match, rules)
    if scaled := _SCALED.fullmatch(text):
        count = number(scaled[1], [])
        rules += ["number words"] * (count is not None)
        return None if count is None else count * _SCALE_VALUES[scaled[2].lower()]
    words = number_in_words(text.lower())
    rules += ["number words"] * (words is not None)
    return words


def infinity(text: str) -> str | None:
    r"""`+` or `-` if `text` is infinity: `\infty`, `-inf`, `negative infinity`."""
    found = _INFINITY.fullmatch(text)
    return None if found is None else "-" if found["minus"] else "+"


def latex_of(value: Fraction) -> str:
    """The number in LaTeX."""
    sign = "-" if value < 0 else ""
    top, bottom = abs(value.numerator), value.denominator
    return f"{sign}{top}" if bottom == 1 else f"{sign}\\frac{{{top}}}{{{bottom}}}"


def _value(match: re.Match[str], rules: list[str]) -> Fraction | None:
    part = match.groupdict()
    try:
        if part["decimal"]:
            value = _decimal(part["decimal"], part["exponent"], rules)
        elif part["base"]:
            value = _power(int(part["base"]), int(part["power"].strip("{ }")), rules)
        elif part["repeated"]:
            value = _repeating(part["before"], part["fixed"], part["repeated"])
            rules.append("decimal")
        else:
            value = _fraction(part)
            rules.append("fraction")
    except ZeroDivisionError:
        return None
    return -value if value is not None and part["sign"] == "-" else value


def _decimal(digits: str, exponent: str | None, rules: list[str]) -> Fraction | None:
    power = int((exponent or "0").strip("{ }"))
    if abs(power) > MAX_EXPONENT:
        return None
    rules += ["exponent"] * (exponent is not None) + ["decimal"] * ("." in digits)
    return Fraction(digits) * Fraction(10) ** power


def _power(base: int, exponent: int, rules: list[str]) -> Fraction | None:
    if len(str(base)) * abs(exponent) > MAX_DIGITS:
        return None
    rules.append("power")
    return Fraction(base) ** exponent


def _repeating(before: str, fixed: str, repeated: str) -> Fraction:
    """`0.1\\overline{6}` is 1/6."""
    start = Fraction(int(before + fixed or "0"), 10 ** len(fixed))
    return start + Fraction(int(repeated), 10 ** len(fixed) * (10 ** len(repeated) - 1))


def _fraction(part: dict[str, str]) -> Fraction:
    if part["whole"]:
        return int(part["whole"]) + Fraction(int(part["over"]), int(part["under"]))
    top = part["top"] or part["ftop"] or part["dtop"]
    bottom = part["bottom"] or part["fbottom"] or part["dbottom"] or part["bbottom"]
    return Fraction(top) / Fraction(bottom)
