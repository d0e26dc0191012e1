"""How often the intervals hold the truth: `python -m replication.coverage` simulates it, and writes coverage.json.

A value of seed s and question q is a true mean of 0, plus what the seed adds, what the question adds, and the noise of
the single answer; all normal. The three cases differ in how much the seeds add. The noise of a paired difference of
answers is about that of two rollouts of eight that disagree.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from replication.intervals import LEAST_SEEDS, Values, t_interval, variance_across
from replication.table import markdown_table

COVERAGE = "coverage.json"
QUESTIONS = 150
CASES: Mapping[str, tuple[float, float, float]] = {
    "seeds alone differ": (0.05, 0.0, 0.0),
    "seeds differ a little, questions more": (0.02, 0.2, 0.4),
    "seeds differ much": (0.08, 0.2, 0.4),
}
"""Standard deviations of seeds, questions and single answers."""
SEEDS = (2, 3, 5, 8)
_TABLES = 600
_DRAWS = 200
_FOLDER = Path(__file__).resolve().parent.parent / "docs" / "replication"

Ends = tuple[float, float]


def bootstrap(values: Values, rng: np.random.Generator) -> Ends:
    """The percentile bootstrap over seeds and questions, which was used before."""
    seeds, questions = values.shape
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_DRAWS) / seeds
    of_questions = rng.multinomial(questions, np.full(questions, 1 / questions), size=_DRAWS) / questions
    low, high = np.quantile(((of_seeds @ values) * of_questions).sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def over_seeds(values: Values, _: np.random.Generator) -> Ends:
    """The t-interval over the means of the seeds, as if another test would ask the same questions."""
    means = values.mean(axis=1)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def ours(values: Values, _: np.random.Generator) -> Ends:
    """The interval of the tables, also for fewer seeds than they give one for."""
    found = t_interval(float(values.mean()), *variance_across(values))
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


METHODS: Mapping[str, Callable[[Values, np.random.Generator], Ends]] = {
    "bootstrap": bootstrap,
    "t over seeds": over_seeds,
    "t across both": ours,
}


def coverage(case: Sequence[float], seeds: int, tables: int = _TABLES) -> dict[str, float]:
    """The share of simulated tables whose interval holds the true mean, by kind of interval."""
    rng = np.random.default_rng([seeds, *(round(1000 * each) for each in case)])
    held = dict.fromkeys(METHODS, 0)
    for _ in range(tables):
        of_seeds, of_questions, of_answers = case
        values = (
            rng.normal(0, of_seeds, (seeds, 1))
            + rng.normal(0, of_questions, (1, QUESTIONS))
            + rng.normal(0, of_answers, (seeds, QUESTIONS))
        )
        for name, interval in METHODS.items():
            low, high = interval(values, rng)
            held[name] += low <= 0 <= high
    return {name: count / tables for name, count in held.items()}


def coverage_table(document: Mapping[str, Any]) -> str:
    """The simulated coverage, Markdown."""
    body = [
        [case, seeds, *(f"{found[name]:.2f}" for name in METHODS)]
        for case, by_seeds in document["cases"].items()
        for seeds, found in by_seeds.items()
    ]
    names = [
        "bootstrap over both (before)",
        "t over seeds",
        f"t across both (now, from {LEAST_SEEDS} seeds on)",
    ]
    return markdown_table(["simulated", "seeds", *names], body)


def main() -> None:
    """Simulates, and writes coverage.json."""
    cases = {name: {str(seeds): coverage(case, seeds) for seeds in SEEDS} for name, case in CASES.items()}
    document = {"tables": _TABLES, "questions": QUESTIONS, "cases": cases}
    (_FOLDER / COVERAGE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
