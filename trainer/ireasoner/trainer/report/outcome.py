"""evaluation.json: accuracy on labelled questions before and after training."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ireasoner.trainer.errors import RunFolderError
from ireasoner.trainer.evaluation.evaluation_file import gain_of
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.report.drawing import Estimate, intervals

_FIGURES = (
    ("greedy", "greedy", "the answer at temperature 0"),
    ("sampled", "sampled", "a rollout at temperature 1, on average"),
    ("majority", "maj@{n}", "the most frequent answer of {n} rollouts"),
    ("passed", "pass@{n}", "at least one of {n} rollouts"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training changed; all figures are shares in [0, 1].

    Attributes:
        questions: Number of labelled questions that the newer side was asked.
        failed: Number of questions that could not be asked, of either side.
        sides: How many of the two sides have been evaluated.
        gain: Greedy accuracy after minus before, paired by question.
        figures: Each figure with its meaning.
        kinds: Greedy accuracy on each kind of question.
        formats: Share of sampled rollouts that contain an answer.
    """

    questions: int
    failed: int
    sides: int
    greedy: Estimate
    gain: Interval | None
    figures: list[tuple[Estimate, str]]
    kinds: list[Estimate]
    formats: Estimate
    plot: Markup
    kinds_plot: Markup | None

    @property
    def verdict(self) -> str:
        """The conclusion that the paired interval supports."""
        if self.sides < 2:
            return "Only one side has been evaluated so far."
        if self.gain is None:
            return "No gain: the two sides were asked other questions."
        if self.gain.low > 0:
            return "Better: the whole interval of the gain is above zero."
        if self.gain.high < 0:
            return "Worse: the whole interval of the gain is below zero."
        return "No measurable difference: the interval of the gain contains zero."


def read_outcome(path: Path) -> Outcome | None:
    """The evaluations before and after training; None if the file is missing or contains neither.

    Raises:
        RunFolderError: The file is not JSON, or lacks a figure.
    """
    content = _read(path)
    with _naming(path):
        before, after, gain = (content.get(name) for name in ("before", "after", "gain"))
        return _outcome(before, after, _interval(gain) if gain else None) if before or after else None


def read_difference(first: Path, second: Path) -> Outcome | None:
    """The evaluations of two runs after training; None unless both exist.

    The gain is given if both runs were evaluated on the same questions, and is paired by question.

    Raises:
        RunFolderError: A file is not JSON, or lacks a figure.
    """
    before, after = (_read(path).get("after") for path in (first, second))
    if not before or not after:
        return None
    with _naming(second):
        return _outcome(before, after, gain_of(before, after))


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with _naming(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content.get(name) for name in ("before", "after", "gain")}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path}: not an evaluation: {type(error).__name__}: {error}") from error


def _outcome(before: dict[str, Any] | None, after: dict[str, Any] | None, gain: Interval | None) -> Outcome:
    sides = [side for side in (before, after) if side]
    samples = sides[-1]["samples"]
    figures = [
        (
            Estimate(
                label.format(n=samples),
                _interval(before[name]) if before else None,
                _interval(after[name]) if after else None,
            ),
            meaning.format(n=samples),
        )
        for name, label, meaning in _FIGURES
    ]
    names = sorted({kind for side in sides for kind in side["by_kind"]})
    kinds = [
        Estimate(
            kind,
            _greedy(before, kind),
            _greedy(after, kind),
        )
        for kind in names
    ]
    return Outcome(
        questions=sides[-1]["questions"],
        failed=max(side.get("failed", 0) for side in sides),
        sides=len(sides),
        greedy=figures[0][0],
        gain=gain,
        figures=figures,
        kinds=kinds if len(kinds) > 1 else [],
        formats=Estimate(
            "format rate",
            _interval(before["format_rate"]) if before else None,
            _interval(after["format_rate"]) if after else None,
        ),
        plot=intervals("accuracy", [estimate for estimate, _ in figures]),
        kinds_plot=intervals("kinds", kinds) if len(kinds) > 1 else None,
    )


def _interval(figures: dict[str, float]) -> Interval:
    return Interval(*(float(figures[name]) for name in ("mean", "low", "high")))


def _greedy(side: dict[str, Any] | None, kind: str) -> Interval | None:
    return _interval(side["by_kind"][kind]["greedy"]) if side and kind in side["by_kind"] else None
