"""Cosines of steps to each other, for heat maps."""

import numpy as np
from numpy.typing import NDArray

DIGITS = 3


def cosines(rows: NDArray[np.float32]) -> list[list[float | None]]:
    """The cosine of each row to each, [S, S], from unit rows [S, D]; None where a row is zero."""
    products = np.clip(rows.astype(np.float64) @ rows.T.astype(np.float64), -1.0, 1.0).round(DIGITS)
    lacks = np.flatnonzero(~np.any(rows, axis=1))
    table: list[list[float | None]] = products.tolist()
    for without in lacks.tolist():
        table[without] = [None] * len(table)
        for row in table:
            row[without] = None
    return table


def footprint(steps: int, dimension: int) -> int:
    """Bytes that the cosines of so many steps take: rows, products, and their JSON."""
    return steps * dimension * 12 + steps * steps * 64
