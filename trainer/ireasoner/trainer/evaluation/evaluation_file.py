"""What an evaluation leaves on disk: its figures, and beside them every answer."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ireasoner.trainer.errors import RunFolderError
from ireasoner.trainer.evaluation import Side
from ireasoner.trainer.evaluation.evaluation import Evaluation, paired_gain
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.evaluation.questions import BadLine
from ireasoner.trainer.evaluation.replies import Reply
from ireasoner.trainer.whole_file import write_whole

EVALUATION = "evaluation.json"


class Answers:
    """The file of answers: one JSON line per question, as they come.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def add(self, replies: Sequence[Reply]) -> None:
        """Appends replies."""
        self._write(reply.as_dict() for reply in replies)

    def add_bad_lines(self, bad: Sequence[BadLine]) -> None:
        """Appends the lines of the file of questions that are none."""
        self._write({one.unit: one.line, "error": one.reason} for one in bad)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, lines: Iterator[dict[str, Any]]) -> None:
        for line in lines:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


@contextmanager
def answers_to(path: Path) -> Iterator[Answers]:
    """The file of answers, which replaces `path` when the block ends; before, it is `PATH.partial`."""
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    answers = Answers(partial)
    try:
        yield answers
    finally:
        answers.close()
    partial.replace(path)


def answers_path(figures: Path) -> Path:
    """The file of answers beside a file of figures: `figures.answers.jsonl` beside `figures.json`."""
    return figures.with_suffix(".answers.jsonl")


def write_figures(path: Path, evaluation: Evaluation) -> None:
    """Writes the figures of one evaluation as JSON."""
    _write(path, evaluation.as_dict())


def write_side(run_folder: Path, side: Side, evaluation: Evaluation) -> dict[str, Any]:
    """Writes the figures before or after training into a run's `evaluation.json`, with the gain if it can be paired.

    Returns:
        The file's content: `before`, `after` and `gain`, each None if it is not known.

    Raises:
        RunFolderError: The file that is there is no evaluation.
    """
    content = _sides(run_folder / EVALUATION)
    content[side] = evaluation.as_dict()
    gain = gain_of(content["before"], content["after"])
    content["gain"] = None if gain is None else asdict(gain)
    _write(run_folder / EVALUATION, content)
    return content


def forget_after(run_folder: Path) -> None:
    """Removes the figures after training, which are not those of a run that trains on; the answers stay.

    Raises RunFolderError as `write_side` does.
    """
    path = run_folder / EVALUATION
    if path.exists():
        _write(path, {**_sides(path), "after": None, "gain": None})


def _sides(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {name: written.get(name) for name in ("before", "after", "gain")}
    except (ValueError, AttributeError) as error:
        raise RunFolderError(f"{path}: not an evaluation: {error}") from error


def gain_of(before: dict[str, Any] | None, after: dict[str, Any] | None) -> Interval | None:
    """The paired gain of two evaluations as JSON; None unless both asked the same questions."""
    if not before or not after or before["asked"] != after["asked"]:
        return None
    return paired_gain(before["correct"], after["correct"])


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")
