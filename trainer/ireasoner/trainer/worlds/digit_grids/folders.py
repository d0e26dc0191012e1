"""Grids as folders of PNG files: one to train on, without any label, and one to evaluate on."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import Grid, random_grids
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, Question

QUESTIONS_FILE = "questions.jsonl"


def write_unlabelled(folder: Path, count: int, seed: int) -> None:
    """Writes `count` grids of the unlabelled part's digits as PNG files, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, grid in enumerate(random_grids(load_digits_part("unlabelled"), count, seed)):
        grid.image.save(folder / _name(number))


def write_held_out(folder: Path, count: int, seed: int) -> None:
    """Writes `count` grids of the held-out part's digits, and `questions.jsonl` with one question about each.

    A line is `{"image", "question", "answer", "type"}`: file name, text, true sum as a string, kind of question.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (grid, question) in enumerate(held_out(count, seed)):
        grid.image.save(folder / _name(number))
        line = {
            "image": _name(number),
            "question": question.text,
            "answer": question.answer(grid.digits),
            "type": question.kind,
        }
        lines.append(json.dumps(line) + "\n")
    (folder / QUESTIONS_FILE).write_text("".join(lines))


def held_out(
    count: int, seed: int, questions: Sequence[Question] = QUESTIONS
) -> Iterator[tuple[Grid, Question]]:
    """`count` grids of held-out digits with one question each; every question occurs about equally often."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(questions)) for _ in range(-(-count // len(questions)))])
    grids = random_grids(load_digits_part("held-out"), count, seed)
    for grid, index in zip(grids, order[:count], strict=True):
        yield grid, questions[index]


def _name(number: int) -> str:
    return f"grid-{number:05d}.png"
