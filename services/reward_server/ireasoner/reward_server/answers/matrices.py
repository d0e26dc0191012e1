"""Matrices in LaTeX."""

import re
from collections.abc import Callable

from ireasoner.reward_server.answers.form import Form, key_of

_MATRIX = re.compile(
    r"""(?:\\left\s*)?[(\[|]?\s*\\begin\s*\{(?P<name>[pbBvV]?matrix|smallmatrix|array)\}\s*(?:\{[lcr|\s]*\})?
    (?P<inside>.*)\\end\s*\{(?P=name)\}\s*(?:\\right\s*)?[)\]|]?""",
    re.X | re.S,
)
_SYSTEM = re.compile(
    r"(?:\\left\s*\\?\{?\s*)?\\begin\s*\{(cases|aligned|align\*?|gathered)\}(.*)\\end\s*\{\1\}(?:\s*\\right\s*\.?)?",
    re.S,
)
_ROW_END = re.compile(r"\\\\(?:\s*\[[^\]]*\])?")
MAX_CELLS = 64


def matrix_form(text: str, read: Callable[[str], Form], rules: list[str]) -> Form | None:
    """The form of a matrix; brackets of either kind, and any spacing, are the same. A determinant is not a matrix."""
    found = _MATRIX.fullmatch(text)
    if found is None or r"\begin" in found["inside"]:
        return None
    rows = [
        [cell.strip() for cell in row.split("&")] for row in _ROW_END.split(found["inside"]) if row.strip()
    ]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_CELLS:
        return None
    between_bars = found["name"][0] in "vV" or text.removeprefix("\\left").lstrip()[0] == "|"
    kind = "determinant" if between_bars else "matrix"
    return Form(
        matrix_key([[read(cell).key for cell in row] for row in rows], kind), (*rules, "matrix"), text
    )


def matrix_key(rows: list[list[str]], kind: str = "matrix") -> str:
    """The key of a matrix of these keys."""
    return key_of(kind, *(key_of("row", *row) for row in rows))


def without_alignment(text: str) -> str:
    r"""The rows of a system, `\begin{cases} x = 2 \\ y = 3 \end{cases}`, as a list; other text as it is."""
    system = _SYSTEM.fullmatch(text)
    if system is None:
        return text
    rows = [row.replace("&", "").strip().rstrip(",") for row in _ROW_END.split(system[2])]
    return ", ".join(row for row in rows if row)
