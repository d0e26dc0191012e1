"""Labelled questions come from JSON lines, tables, folders and tars; a row that is none is named."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, IterableDataset, Value
from datasets import Image as ImageFeature

from ireasoner.trainer.errors import ImagesError, SettingsError, TrainerError, UnreadableImageError
from ireasoner.trainer.evaluation.columns import QuestionColumns
from ireasoner.trainer.evaluation.open_questions import open_questions
from ireasoner.trainer.evaluation.questions import BadLine, Question
from ireasoner.trainer.settings import DatasetSettings
from tests.trainer.datasets_of_images import encoded, images, json_lines, parquet, table, tar, write_files

ASKED: dict[str, Any] = {"question": ["How many?", "Which?"], "answer": ["3", "B"]}


def opened(
    address: Path, columns: dict[str, str] | None = None, limit: int | None = None, **data: Any
) -> tuple[list[Question], list[BadLine]]:
    return open_questions(
        address, "exact", limit, QuestionColumns(**(columns or {})), DatasetSettings(**data)
    )


def _tar(folder: Path) -> Path:
    members = {}
    for number in range(2):
        members[f"{number:04}.png"] = encoded(number)
        members[f"{number:04}.json"] = json.dumps(
            {name: values[number] for name, values in ASKED.items()}
        ).encode()
    return tar(folder / "shards.tar", members)


def _lines(folder: Path, names: tuple[str, str, str]) -> Path:
    files = write_files(folder, images(2))
    rows = zip(files, ASKED["question"], ASKED["answer"], strict=True)
    return json_lines(folder / "q.jsonl", [dict(zip(names, row, strict=True)) for row in rows])


def _two_splits(folder: Path) -> Path:
    for split in ("train", "test"):
        parquet(folder / f"{split}.parquet", images(1), question=["A?"], answer=["1"])
    return folder


FORMS: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "JSON lines": (lambda folder: _lines(folder, ("image", "question", "answer")), {}),
    "JSON lines with other names": (
        lambda folder: _lines(folder, ("picture", "ask", "truth")),
        {"image": "picture", "question": "ask", "answer": "truth"},
    ),
    "JSON lines called otherwise": (
        lambda folder: _lines(folder, ("image", "question", "answer")).rename(folder / "questions.txt"),
        {},
    ),
    "parquet": (lambda folder: parquet(folder / "a.parquet", images(2), "picture", **ASKED), {}),
    "parquet of paths": (
        lambda folder: table(folder / "a.parquet", file=write_files(folder, images(2)), **ASKED),
        {},
    ),
    "folder": (lambda folder: parquet(folder / "set" / "test.parquet", images(2), **ASKED).parent, {}),
    "other names, answers in lists": (
        lambda folder: table(
            folder / "a.parquet",
            image=images(2),
            query=ASKED["question"],
            label=[[a] for a in ASKED["answer"]],
        ),
        {"question": "query", "answer": "label"},
    ),
    "tar of images and objects": (_tar, {"question": "json.question", "answer": "json.answer"}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_every_form_gives_the_questions_with_their_images(form: str, streaming: bool, tmp_path: Path) -> None:
    build, columns = FORMS[form]
    address = build(tmp_path)
    if streaming and "lines" in form:
        with pytest.raises(SettingsError, match=r"data\.streaming: questions is a file of JSON lines"):
            opened(address, columns, streaming=True)
        return
    found, bad = opened(address, columns, streaming=streaming)
    assert [(q.text, q.answer, q.picture().size) for q in found] == [
        ("How many?", "3", (40, 30)),
        ("Which?", "B", (41, 30)),
    ]
    assert bad == []
    assert [q.index for q in found] == (["line 1", "line 2"] if "lines" in form else ["row 0", "row 1"])


def test_options_kinds_rules_and_classes_are_read(tmp_path: Path) -> None:
    rows = {
        "image": [{"bytes": content, "path": None} for content in images(3)],
        "question": ["Which?"] * 3,
        "answer": [1, 0, -1],
        "type": ["a", "b", "b"],
        "matching": [None, "relaxed", None],
    }
    features = Features(
        {
            "image": ImageFeature(),
            "question": Value("string"),
            "answer": ClassLabel(names=["cat", "dog"]),
            "type": Value("string"),
            "matching": Value("string"),
        }
    )
    Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "a.parquet"))
    found, _ = opened(tmp_path / "a.parquet")
    assert [(q.answer, q.kind, q.matching) for q in found] == [
        ("dog", "a", "exact"),
        ("cat", "b", "relaxed"),
        ("-1", "b", "exact"),
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_row_that_is_no_question_is_named_and_the_others_are_asked(streaming: bool, tmp_path: Path) -> None:
    address = table(
        tmp_path / "a.parquet",
        image=images(7),
        question=["A?", None, " ", "D?", "E?", "F?", "G?"],
        answer=[["1"], ["1"], ["1"], [], ["1", "2"], ["6"], ["7"]],
        choices=[[], [], [], [], [], ["one"], []],
    )
    found, bad = opened(address, streaming=streaming, limit=2)
    assert [q.line for q in found] == [0, 6]
    assert [str(one) for one in bad] == [
        "row 1: question must be a string, not None",
        "row 2: question must be a string, not ' '",
        "row 3: answer must be a string or a number, not []",
        "row 4: answer must be a string or a number, not ['1', '2']",
        "row 5: choices must have 2 to 26 options, not 1",
    ]


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    [question], bad = opened(parquet(tmp_path / "a.parquet", [b"torn"], question=["A?"], answer=["1"]))
    assert bad == []
    with pytest.raises(ImagesError, match=r"a\.parquet/row 0: no image in one of the formats"):
        question.picture()


@pytest.mark.parametrize("streaming", [False, True])
def test_another_column_of_images_is_not_decoded(streaming: bool, tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {"a": [encoded(0)], "b": [b"torn"], "question": ["A?"], "answer": ["1"]}
    features = {
        "a": ImageFeature(),
        "b": ImageFeature(),
        "question": Value("string"),
        "answer": Value("string"),
    }
    held = {**rows, **{name: [{"bytes": rows[name][0], "path": None}] for name in ("a", "b")}}
    Dataset.from_dict(held, features=Features(features)).to_parquet(str(tmp_path / "a.parquet"))
    [question], _ = opened(tmp_path / "a.parquet", {"image": "a"}, streaming=streaming)
    assert question.picture().size == (40, 30)


def test_a_path_that_names_no_file_is_no_question(tmp_path: Path) -> None:
    write_files(tmp_path, images(1))
    address = table(tmp_path / "a.parquet", image=["00.png", "gone.png"], **ASKED)
    found, bad = opened(address)
    assert len(found) == 1
    assert str(bad[0]) == f"row 1: {tmp_path / 'gone.png'} does not exist"


REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, str], dict[str, Any], str]] = {
    "a missing column": (
        lambda folder: parquet(folder / "a.parquet", images(1), query=["A?"], answer=["1"]),
        {},
        {},
        r"a\.parquet has no question: row 0: question is missing(; did you mean query\?)?",
    ),
    "a column that is not there": (
        lambda folder: parquet(folder / "a.parquet", images(1), question=["A?"], answer=["1"]),
        {"answer": "label"},
        {},
        r"row 0: label is missing",
    ),
    "no image": (
        lambda folder: table(folder / "a.parquet", question=["A?"], answer=["1"]),
        {},
        {},
        r"columns\.image: .*a\.parquet has no column of images",
    ),
    "several splits": (
        _two_splits,
        {},
        {},
        r"it has several splits: set data\.split to one of (train, test|test, train)",
    ),
    "a folder of images": (
        lambda folder: (write_files(folder, images(1)), folder)[1],
        {},
        {},
        r"questions: .* is a folder without data files",
    ),
    "nothing": (lambda folder: folder / "gone.jsonl", {}, {}, r"questions: .*gone\.jsonl"),
    "an empty table": (
        lambda folder: parquet(folder / "a.parquet", []),
        {},
        {},
        r"questions: .*a\.parquet cannot be read: it has no rows",
    ),
    "a split of JSON lines": (
        lambda folder: _lines(folder, ("image", "question", "answer")),
        {},
        {"split": "test"},
        r"data\.split: questions is a file of JSON lines",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_question_is_refused(case: str, tmp_path: Path) -> None:
    build, columns, data, reason = REFUSED[case]
    with pytest.raises(TrainerError, match=reason):
        opened(build(tmp_path), columns, **data)


def test_a_named_split_is_asked(tmp_path: Path) -> None:
    for split, text in (("train", "A?"), ("test", "B?")):
        parquet(tmp_path / f"{split}.parquet", images(1), question=[text], answer=["1"])
    [question], _ = opened(tmp_path, split="test")
    assert question.text == "B?"
    assert re.search("row 0$", str(question.image))


def _questions(folder: Path, name: str, text: str) -> Path:
    write_files(folder, images(3))
    (folder / name).write_text(text)
    return folder / name


def _tar_with(content: bytes) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        members = {}
        for number in range(8):
            members[f"{number}.png"] = encoded(number)
            members[f"{number}.json"] = b'{"question": "A?", "answer": "1"}' if number < 7 else content
        return tar(folder / "a.tar", members)

    return build


HEADER = "image,question,answer\n00.png,A?,1\n"
BROKEN: dict[str, Callable[[Path], Path]] = {
    "broken JSON in a tar": _tar_with(b'{"question": '),
    "words in a tar": _tar_with(b"words"),
    "no UTF-8 in a tar": _tar_with(b"\xff\xfe\xfd"),
    "a ragged CSV": lambda folder: _questions(folder, "a.csv", HEADER + "01.png,B?,2,3,4\n"),
    "an open quote in a CSV": lambda folder: _questions(folder, "a.csv", HEADER + '01.png,"B?,2\n' * 3),
    "a CSV that is no UTF-8": lambda folder: (
        _questions(folder, "a.csv", HEADER).parent / _latin1(folder / "a.csv")
    ),
}


def _latin1(path: Path) -> str:
    path.write_bytes(HEADER.encode() + b"01.png,caf\xe9,2\n")
    return path.name


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_breaks_off_is_named(case: str, streaming: bool, tmp_path: Path) -> None:
    address = BROKEN[case](tmp_path)
    columns = {"question": "json.question", "answer": "json.answer"} if address.suffix == ".tar" else {}
    with pytest.raises(
        ImagesError, match=rf"^questions: {re.escape(str(address))} cannot be read: ."
    ) as raised:
        opened(address, columns, streaming=streaming)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "error", [ConnectionError("reset"), TimeoutError(), OSError(5, "I/O error"), KeyError("x")]
)
def test_a_stream_that_fails_after_some_rows_is_named(error: Exception, tmp_path: Path) -> None:
    def failing(self: IterableDataset) -> Any:
        yield {"image": {"bytes": encoded(0), "path": None}, "question": "A?", "answer": "1"}
        raise error

    address = parquet(tmp_path / "a.parquet", images(2), **ASKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IterableDataset, "__iter__", failing)
        with pytest.raises(
            ImagesError, match=r"^questions: .*a\.parquet cannot be read: (reset|Time|.*I/O|'x')"
        ):
            opened(address, streaming=True)


def test_a_row_that_cannot_be_read_any_more_is_an_unreadable_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [question], _ = opened(parquet(tmp_path / "a.parquet", images(1), question=["A?"], answer=["1"]))
    monkeypatch.setattr(Dataset, "__getitem__", lambda *_: 1 / 0)
    with pytest.raises(UnreadableImageError, match=r"a\.parquet/row 0: .*division by zero"):
        question.picture()
