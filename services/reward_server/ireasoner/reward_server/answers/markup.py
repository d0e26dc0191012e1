"""LaTeX and Markdown around and within an answer, reduced to what has a meaning."""

import re

MAX_DEPTH = 3
_GREEK_NAMES = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega
"""
GREEK = dict(zip(_GREEK_NAMES.split(), "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", strict=True))
"""From a LaTeX name to its letter."""

_FENCE = re.compile(
    r"```(?:(?:json|python|latex|tex|text|txt|markdown|md|math|plaintext)\s)?(.*?)```", re.I | re.S
)
_DELIMITERS = (("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]"))
_INLINE = re.compile(r"(?<!\\)\$(?! )([^$]*)(?<! )(?<!\\)\$(?!\d)")
_WRAPPING_COMMAND = re.compile(r"\\(?:boxed|fbox|ensuremath|text(?:bf|it|rm)?|math(?:rm|bf|it))\s*\{")
_STYLED = re.compile(
    r"""\\(?: text(?:bf|it|rm|sf|tt|sc|up|md|normal)? | math(?:bf|rm|it|sf|tt|normal) | boldsymbol | bm | pmb | emph
      | underline | mbox | hbox | operatorname\*? | boxed | fbox | ensuremath | ce )\s*\{([^{}]*)\}""",
    re.X,
)
_SWITCH = re.compile(
    r"\\(?:left|right|(?:display|text|script)style|bf|rm|it|sf|tt|bfseries|[bB]igg?[lrm]?|limits)(?![A-Za-z])"
)
_GREEK = re.compile(rf"\\(?:var)?({'|'.join(GREEK)})(?![A-Za-z]) ?")
_REPLACEMENTS = (
    (re.compile(r"\\\\(?=[A-Za-z]{2})"), r"\\"),  # escaped twice
    (re.compile(r"\\[,;:> ]|(?<=\S)~(?=\S)|\\q?quad(?![A-Za-z])|\\hspace\s*\{[^{}]*\}"), " "),
    (re.compile(r"\\!"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\^\s*\{?\s*\\circ(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z]) ?"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\leq?(?:slant)?(?![A-Za-z])"), "≤"),
    (re.compile(r"\\geq?(?:slant)?(?![A-Za-z])"), "≥"),
    (re.compile(r"\\neq(?![A-Za-z])"), r"\\ne"),
    (re.compile(r"\\(?:infin|infinity)(?![A-Za-z])"), r"\\infty"),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset"),
    (re.compile(r"\\langle(?![A-Za-z])"), "⟨"),
    (re.compile(r"\\rangle(?![A-Za-z])"), "⟩"),
    (re.compile(r"\\(?:lbrace|\{)"), "{"),
    (re.compile(r"\\(?:rbrace|\})"), "}"),
    (re.compile(r"\\(?:prime)(?![A-Za-z])"), "'"),
    (re.compile(r"\^\{?('+)\}?"), r"\1"),
    (re.compile(r"\\([%$&#_])"), r"\1"),
)
_BOLD = re.compile(r"(?:^|[\s(])\*\*(?=\S)|\*\*$")
_POWER = re.compile(r"(?<=[\w)\]}])\s?\*\*\s?(?=[\w(\\+-])")
_UNBRACED_EXPONENT = re.compile(
    r"\^\s*(\d+[+-](?![\w\\(])|[+-]?\d+|[+-]?[A-Za-zα-ω](?![A-Za-z])|[+-](?![\w\\(]))"
)
_UNBRACED_INDEX = re.compile(r"(?<![A-Za-z])([A-Za-zα-ω)])_(\d+|[A-Za-z](?![A-Za-z_]))")


def without_fence(text: str) -> str:
    """The content of a fenced code block, if `text` is one."""
    fenced = _FENCE.fullmatch(text)
    return fenced[1].strip() if fenced and "```" not in fenced[1] else text


def without_markup(text: str) -> str:
    r"""`text` without styles, spacing and math delimiters; Greek letters, powers and relations in one spelling.

    Powers get braces: `x^2`, `x**2` and `x^{2}` are `x^{2}`.
    """
    if any(each in text for each in ("\\", "$", "~", "{,}")):
        text = _without_commands(text)
    if "**" in text:
        text = text.replace("**", "") if _BOLD.search(text) else _POWER.sub("^", text)
    if "^" in text:
        text = _UNBRACED_EXPONENT.sub(r"^{\1}", text)
    if "=" in text:
        text = text.replace(">=", "≥").replace("<=", "≤").replace("!=", r"\ne ")
    if "_" in text:
        text = _UNBRACED_INDEX.sub(r"\1_{\2}", text)
    return " ".join(text.split())


def _without_commands(text: str) -> str:
    text = _unwrapped(text)
    for _ in range(MAX_DEPTH):
        styled = _STYLED.sub(_content, text)
        if styled == text:
            break
        text = styled
    text = _SWITCH.sub("", text)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    text = _GREEK.sub(lambda name: GREEK[name[1]], text)
    return _unwrapped(" ".join(text.split()))


def _content(styled: re.Match[str]) -> str:
    """What a style contains, kept apart from the letter before it: `x\\text{cm}` is `x cm`."""
    before = styled.string[styled.start() - 1 : styled.start()] if styled.start() else ""
    return f" {styled[1]}" if before.isalpha() or before == "}" else styled[1]


def _unwrapped(text: str) -> str:
    for _ in range(MAX_DEPTH):
        before = text
        for opening, closing in _DELIMITERS:
            if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing):
                text = text[len(opening) : -len(closing)].strip()
        if text.count("$") == 2 and text[0] == text[-1] == "$":
            text = text[1:-1].strip()
        text = _INLINE.sub(r"\1", text)
        command = _WRAPPING_COMMAND.match(text)
        if command and closing_at(text, command.end() - 1) == len(text) - 1:
            text = text[command.end() : -1].strip()
        if text == before:
            break
    return text


def closing_at(text: str, opening: int) -> int | None:
    """The index at which the bracket at `opening` closes, whatever its kind; None if it does not."""
    depth = 0
    for index in range(opening, len(text)):
        if text[index] in "([{⟨":
            depth += 1
        elif text[index] in ")]}⟩":
            depth -= 1
            if depth == 0:
                return index
    return None
