"""The tokens of a formula in LaTeX, each in one spelling."""

import re
import unicodedata

from ireasoner.reward_server.answers.expression import NotRead

MAX_TOKENS = 400

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<repeating> \d*\.\d*\\(?:overline|bar|dot)\s*\{\d+\} )
      | (?P<number> \d+(?:\.\d+)? | \.\d+ )
      | (?P<command> \\[A-Za-z]+ | \\. )
      | (?P<word> [^\W\d_]+'* )
      | (?P<sign> \*\* | <= | >= | != | \S )
    )""",
    re.X,
)
_GREEK = re.compile(r"[α-ωΑ-Ω]")
_DROPPED = frozenset(
    [
        *[
            r"\left",
            r"\right",
            r"\displaystyle",
            r"\textstyle",
            r"\limits",
            r"\big",
            r"\Big",
            r"\bigg",
            r"\Bigg",
        ],
        *[r"\,", r"\;", r"\:", r"\!", "\\ ", r"\quad", r"\qquad", "~", "$"],
    ]
)
_SPELLINGS = {
    **dict.fromkeys([r"\dfrac", r"\tfrac", r"\cfrac"], r"\frac"),
    **dict.fromkeys([r"\dbinom", r"\tbinom"], r"\binom"),
    **dict.fromkeys([r"\cdot", r"\times", r"\ast", "·", "×", "⋅"], "*"),
    **dict.fromkeys([r"\div", "÷", "∕"], "/"),
    **dict.fromkeys([r"\leq", r"\leqslant", r"\le", "≤", "<="], r"\le"),
    **dict.fromkeys([r"\geq", r"\geqslant", r"\ge", "≥", ">="], r"\ge"),
    **dict.fromkeys([r"\neq", r"\ne", "≠", "!="], r"\ne"),
    **dict.fromkeys([r"\lt"], "<"),
    **dict.fromkeys([r"\gt"], ">"),
    **dict.fromkeys([r"\lvert", r"\rvert", r"\vert", r"\mid"], "|"),
    **dict.fromkeys([r"\lbrack"], "["),
    **dict.fromkeys([r"\rbrack"], "]"),
    **dict.fromkeys([r"\infty", "∞"], r"\infty"),
    **dict.fromkeys([r"\pi", "π"], r"\pi"),
    **dict.fromkeys([r"\circ", r"\degree", "°"], "°"),
    **dict.fromkeys([r"\mathrm", r"\text", r"\textrm", r"\mathit", r"\operatorname"], r"\text"),
    **{r"\varphi": r"\phi", r"\varepsilon": r"\epsilon", r"\varnothing": r"\emptyset"},
    **{"**": "^", "√": r"\sqrt", "−": "-", r"\%": "%"},
}
BRACKETS = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
"""What closes each opening bracket."""
CLOSING = frozenset(BRACKETS.values())
OPENING = frozenset(BRACKETS)


def tokens_of(text: str) -> list[str]:
    """The tokens of `text`, each in one spelling, without those that only change its look.

    Raises NotRead.
    """
    found: list[str] = []
    for token in _TOKEN.finditer(_GREEK.sub(_greek_command, text).strip()):
        written = token.group(token.lastgroup or 0)
        spelled = _SPELLINGS.get(written, written)
        if spelled not in _DROPPED:
            found.append(spelled)
    if len(found) > MAX_TOKENS:
        raise NotRead(f"longer than {MAX_TOKENS} signs")
    return found


def _greek_command(letter: re.Match[str]) -> str:
    *_, size, _, name = unicodedata.name(letter[0]).split()[:4]
    return f"\\{name.lower() if size == 'SMALL' else name.capitalize()} "
