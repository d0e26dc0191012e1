"""Comparisons of two measured things, printed as a table and written to a file."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np

MATRIX = 1024
INSTRUCTIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512_vnni": "AVX-512 with VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
"""Names of Linux's flags for what makes embedding fast, the newest first."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What we reach, against something else.

    Attributes:
        name: What is compared.
        unit: The unit of `ours` and `other`.
        ours: What we reach.
        other: What the other thing reaches; None if there is none.
        ratio: `ours` divided by `other`, or `ours` itself if there is only a goal.
        goal: The bound on `ratio`; None: no goal.
        at_most: Whether the goal is an upper bound.
        gflops: The speed of a float32 matrix product just before, because machines drift; on one core in the parts that
            run on one, else on all.
        measured: The date, as YYYY-MM-DD.
        processor: The processor's name, and the newest instructions that it has for this work.
        part: The part of the benchmark.
        note: How it was measured, or why the other thing was not.
    """

    name: str
    unit: str
    ours: float
    other: float | None
    ratio: float | None
    goal: float | None
    at_most: bool
    gflops: float
    measured: str
    processor: str
    part: str = ""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


class Turns:
    """The results of two things in each turn."""

    def __init__(self) -> None:
        self._turns: list[tuple[float, float]] = []

    def add(self, ours: float, other: float) -> None:
        """Adds a turn."""
        self._turns.append((ours, other))

    @property
    def median(self) -> tuple[float, float]:
        """The turn with the median ratio."""
        return sorted(self._turns, key=lambda turn: turn[0] / turn[1])[len(self._turns) // 2]


def compare(
    name: str,
    unit: str,
    ours: float,
    other: float | None = None,
    goal: float | None = None,
    *,
    at_most: bool = False,
    note: str = "",
) -> Comparison:
    """A comparison with its ratio, and the date, the machine and its speed now."""
    ratio = ours / other if other is not None else ours if goal is not None else None
    today = date.today().isoformat()
    return Comparison(
        name,
        unit,
        ours,
        other,
        ratio,
        goal,
        at_most,
        calibration_gflops(),
        today,
        processor(Path("/proc/cpuinfo")),
        note=note,
    )


@cache
def processor(cpu_info: Path) -> str:
    """The name in a Linux machine's list of processors, with the newest of `INSTRUCTIONS`; "unknown" elsewhere."""
    if not cpu_info.is_file():
        return "unknown"
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in cpu_info.read_text().splitlines())
    }
    flags = fields.get("flags", "").split()
    newest = [f" ({name})" for flag, name in INSTRUCTIONS.items() if flag in flags][:1]
    return "".join([fields.get("model name", "unknown"), *newest])


def calibration_gflops() -> float:
    """Speed of a 1024 x 1024 float32 matrix product on the cores that the process may use, the best of 5."""
    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    return 2 * MATRIX**3 / best_s(lambda: matrix @ matrix, 5) / 1e9


def best_s(action: Callable[[], object], tries: int) -> float:
    """Seconds of the fastest of `tries` runs of `action`: other programs use the machine, too."""
    best = float("inf")
    for _ in range(tries):
        started_s = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started_s)
    return best


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as text, one line each."""
    head = ("", "ours", "other", "ratio", "goal", "", "unit", "GFLOP/s")
    lines = [head, *map(_cells, comparisons)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 5, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(shown: Comparison) -> tuple[str, ...]:
    bound = "" if shown.goal is None else f"{'<=' if shown.at_most else '>='} {_number(shown.goal)}"
    mark = {None: "", True: "reached", False: "MISSED"}[shown.reached]
    numbers = (_number(shown.ours), _number(shown.other), _number(shown.ratio))
    return (shown.name, *numbers, bound, mark, shown.unit, _number(shown.gflops))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(comparisons: Sequence[Comparison], file: Path) -> None:
    """Writes the comparisons as JSON."""
    file.write_text(json.dumps([asdict(each) for each in comparisons], indent=2) + "\n")


def read(file: Path) -> list[Comparison]:
    """The comparisons of a file written by `write`."""
    return [Comparison(**each) for each in json.loads(file.read_text())]
