"""Unicode's ways to write what has a plain form: digits, powers, fractions, dashes, quotes, symbols."""

import re
import unicodedata

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₐₑₘₙₓ", "0123456789+-()aemnx", strict=True))
_RAISED = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_LOWERED = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff\u00ad"))
_BEFORE_FOLDING = str.maketrans({"′": "'", "″": '"', "´": "'", "º": "°", "˚": "°"})
_PLAIN = str.maketrans(
    dict.fromkeys("−–—‒﹣－", "-")
    | dict.fromkeys("‘’‚", "'")
    | dict.fromkeys("“”„", '"')
    | {"⁄": "/", "∕": "/", "÷": "/", "·": "*", "⋅": "*", "×": "*", "∗": "*", "∙": "*", "∶": ":"}
    | {"♯": "#", "、": ", ", "⩽": "≤", "⩾": "≥", "∅": r"\emptyset "}
    | {"±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "≠": r"\ne ", "∠": r"\angle "}
)


_DIMENSIONS = re.compile(
    r"(\d[\d.]*)\s?(?:×|x|X|\\times)\s?(\d[\d.]*)(?:\s?(?:×|x|X|\\times)\s?(\d[\d.]*))?((?:\s[^\W\d_].*)?)"
)


def dimensions(text: str) -> str | None:
    """`640x480` for `640 × 480` and `640 \\times 480`: a size, whose order counts; None if it is none."""
    found = _DIMENSIONS.fullmatch(text.strip("$ "))
    return "x".join(each for each in found.groups()[:3] if each) + found[4] if found else None


_VECTOR = r"(?:∇|\\(?:nabla|vec|hat|overrightarrow|mathbf|boldsymbol|bm)(?![A-Za-z]))"
_CROSS = r"\s*(?:×|\\times(?![A-Za-z]))\s*"
_CROSS_PRODUCT = re.compile(rf"(?<=∇){_CROSS}|(?<=\\nabla){_CROSS}|(?<![\d\s]){_CROSS}(?={_VECTOR})")


def cross_products(text: str) -> str:
    """`text` with ⨯ between vectors: `\\vec a \\times \\vec b` is not `\\vec a \\cdot \\vec b`."""
    return _CROSS_PRODUCT.sub(" ⨯ ", text)


def plain_characters(text: str) -> str:
    """`text` with Unicode's fractions, powers, dashes, quotes, symbols and full-width letters in ASCII or LaTeX."""
    if text.isascii():
        return text
    text = text.translate(_INVISIBLE).translate(_BEFORE_FOLDING)
    text = _RAISED.sub(lambda run: f"^{{{''.join(_SUPERSCRIPTS[each] for each in run.group())}}}", text)
    text = _LOWERED.sub(lambda run: f"_{{{''.join(_SUBSCRIPTS[each] for each in run.group())}}}", text)
    text = "".join(f" {each}" if unicodedata.category(each) == "No" else each for each in text)
    return " ".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).split())
