"""The rendered folders: their contents, whether the labels are true, and whether a seed fixes every byte."""

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ireasoner.trainer.tiny_model.__main__ import main
from ireasoner.trainer.worlds.digit_grids.cell import CELL_PX, draw_cell
from ireasoner.trainer.worlds.digit_grids.digits import Part, load_digits_part
from ireasoner.trainer.worlds.digit_grids.folders import write_held_out, write_unlabelled
from ireasoner.trainer.worlds.digit_grids.grid import SIDE_CELLS
from ireasoner.trainer.worlds.digit_grids.labels import answer
from ireasoner.trainer.worlds.digit_grids.question import KINDS, QUESTIONS, READINGS, find_question


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def inside(cell: npt.NDArray[np.uint8]) -> bytes:
    return cell[1:-1, 1:-1].tobytes()


def digits_seen(path: Path, part: Part) -> tuple[int, ...]:
    """The digits of a picture, found by comparing its pixels with every digit of the part."""
    digits = load_digits_part(part)
    known = {inside(draw_cell(ink)): int(label) for ink, label in zip(digits.ink, digits.label, strict=True)}
    pixels = np.asarray(Image.open(path).convert("L"))
    assert pixels.shape == (SIDE_CELLS * CELL_PX, SIDE_CELLS * CELL_PX)
    rows = pixels.reshape(SIDE_CELLS, CELL_PX, SIDE_CELLS, CELL_PX).swapaxes(1, 2)
    return tuple(known[inside(cell)] for cell in rows.reshape(-1, CELL_PX, CELL_PX))


def test_the_labels_match_the_pixels(tmp_path: Path) -> None:
    write_held_out(tmp_path, count=36, seed=3)
    lines = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    assert len(lines) == 36
    for line in lines:
        question = find_question(line["question"])
        assert question is not None
        assert question.kind == line["type"]
        assert line["answer"] == question.answer(digits_seen(tmp_path / line["image"], "held-out"))


def test_the_unlabelled_folder_contains_pictures_of_its_own_part_and_nothing_else(tmp_path: Path) -> None:
    write_unlabelled(tmp_path, count=5, seed=3)
    files = sorted(tmp_path.iterdir())
    assert [path.suffix for path in files] == [".png"] * 5
    for path in files:
        assert Image.open(path).info == {}
        digits_seen(path, "unlabelled")
        with pytest.raises(KeyError):
            digits_seen(path, "held-out")


def test_labels_are_read_from_the_pictures(tmp_path: Path) -> None:
    """Shadow labels are right for every question about a grid, and unknown for anything else."""
    write_held_out(tmp_path, count=18, seed=3)
    for line in (json.loads(line) for line in (tmp_path / "questions.jsonl").read_text().splitlines()):
        assert answer(tmp_path / line["image"], line["question"]) == line["answer"]
    grid = tmp_path / "grid-00000.png"
    assert answer(grid, "How many digits are odd?") is None
    assert answer(grid, "what is the sum of row 1?") is None
    Image.new("RGB", (84, 84)).save(tmp_path / "black.png")
    Image.new("RGB", (50, 40)).save(tmp_path / "small.png")
    for other in ("black.png", "small.png"):
        assert answer(tmp_path / other, "What is the sum of row 1?") is None


def test_a_seed_fixes_every_byte_and_another_seed_changes_them(tmp_path: Path) -> None:
    for name, seed in (("one", "7"), ("again", "7"), ("other", "8")):
        main(
            ["render", "--out", str(tmp_path / name), "--unlabelled", "4", "--held-out", "12", "--seed", seed]
        )
    for part in ("unlabelled", "held_out"):
        one, again, other = (digests(tmp_path / name / part) for name in ("one", "again", "other"))
        assert one == again
        assert one.keys() == other.keys()
        assert not set(one.values()) & set(other.values())


def test_questions_are_asked_equally_often(tmp_path: Path) -> None:
    write_held_out(tmp_path, count=2 * len(QUESTIONS), seed=0)
    asked = [json.loads(line)["question"] for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    assert sorted(asked) == sorted([question.text for question in QUESTIONS] * 2)


def test_worked_examples_of_every_kind() -> None:
    digits = (1, 2, 3, 4, 5, 6, 7, 8, 9)
    answers = {question.text: question.answer(digits) for question in QUESTIONS}
    expected = {
        "What is the sum of row 1?": 6,
        "What is the sum of row 2?": 15,
        "What is the sum of row 3?": 24,
        "What is the sum of column 1?": 12,
        "What is the sum of column 2?": 15,
        "What is the sum of column 3?": 18,
        "What is the sum of the falling diagonal?": 15,
        "What is the sum of the rising diagonal?": 15,
        "What is the sum of the ends of row 1?": 4,
        "What is the sum of the ends of row 2?": 10,
        "What is the sum of the ends of row 3?": 16,
        "What is the sum of the corners?": 20,
    }
    assert answers == {text: str(total) for text, total in expected.items()}
    assert {question.text: question.answer(digits) for question in READINGS} == {
        "Is the sum of rows 1 and 2 odd or even?": "odd",
        "Is the sum of rows 1 and 3 odd or even?": "even",
        "Is the sum of rows 2 and 3 odd or even?": "odd",
        "Is the sum of columns 1 and 2 odd or even?": "odd",
        "Is the sum of columns 1 and 3 odd or even?": "even",
        "Is the sum of columns 2 and 3 odd or even?": "odd",
    }
    assert {question.kind for question in QUESTIONS} == set(KINDS)
