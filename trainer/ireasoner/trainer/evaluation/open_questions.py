"""Opens labelled questions, whatever they come in."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ireasoner.trainer.data import Kind, Rows, kind_of, open_rows, refuse_unused
from ireasoner.trainer.data.address import TABLES
from ireasoner.trainer.data.image_column import Holds, image_column, other_images, undecoded
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.evaluation.columns import QuestionColumns
from ireasoner.trainer.evaluation.matching import Matching
from ireasoner.trainer.evaluation.questions import BadLine, Question, question_of, scan_questions
from ireasoner.trainer.images.dataset_image import content_at, content_of, row_name
from ireasoner.trainer.images.folder_walk import suffixes
from ireasoner.trainer.images.read_image import decode_image
from ireasoner.trainer.settings import DatasetSettings
from ireasoner.trainer.shown_path import shown

_SETTING = "questions"


def open_questions(
    address: Path,
    matching: Matching,
    limit: int | None,
    columns: QuestionColumns,
    data: DatasetSettings,
) -> tuple[list[Question], list[BadLine]]:
    """The questions of a JSON-lines file, or of a dataset with an image in each row.

    Args:
        address: A file of JSON lines, another table, a tar in webdataset's form, a folder of data files, or a hub id.
        matching: The rule for rows that name none; those with options match by choice.
        limit: Number of questions after which reading ends; None reads all.
        columns: The names under which rows hold what.
        data: Which part of a dataset, and how it is read.

    Returns:
        The questions, and the lines or rows before the last of them that are none.

    Raises:
        ImagesError: They cannot be read, or there is none.
        SettingsError: A setting of `data` means nothing for `address`.
    """
    if _is_json_lines(address):
        refuse_unused(_SETTING, address, Kind.LINES, data)
        return scan_questions(address, matching, limit, columns)
    kind = kind_of(_SETTING, address)
    if kind is Kind.FOLDER:
        raise ImagesError(
            f"{_SETTING}: {shown(address)} is a folder without data files: give the file of questions"
        )
    refuse_unused(_SETTING, address, kind, data)
    rows = open_rows(_SETTING, address, kind, data, may_choose_split=False)
    column, holds = image_column(
        "columns.image", address, rows.features, columns.image, rows.first, suffixes()
    )
    return _scanned(rows, column, holds, matching, limit, columns.model_copy(update={"image": column}))


def _is_json_lines(address: Path) -> bool:
    """Whether a file is read line by line: all but those of another kind are."""
    if address.is_dir() or not address.exists():
        return False
    try:
        kind = kind_of(_SETTING, address)
    except ImagesError:
        return True
    return kind is Kind.TABLE and TABLES[address.suffix.lower()] == "json"


def _scanned(
    rows: Rows,
    column: str,
    holds: Holds,
    matching: Matching,
    limit: int | None,
    columns: QuestionColumns,
) -> tuple[list[Question], list[BadLine]]:
    questions: list[Question] = []
    bad: list[BadLine] = []
    others = other_images(rows.features, column)
    # A stream would decode the columns that it removes, but not those that it does not select.
    rows = rows.select([name for name in rows.features if name not in others])
    if holds is not Holds.PATHS:
        rows = rows.cast(column, undecoded(column, holds))
    classes = getattr(rows.features.get(columns.answer), "names", None)
    for number, (row, load) in enumerate(_rows_and_images(rows, column, holds)):
        if len(questions) == limit:
            break
        try:
            if classes is not None:
                row[columns.answer] = _class_name(row[columns.answer], classes)
            folder = (rows.files.folder if load is None else None) or Path(rows.identity.address)
            question = question_of(row, columns, folder, matching, number, "row", load)
            if load is None and not question.image.is_file():
                raise ValueError(f"{question.image} does not exist")  # noqa: TRY301
            questions.append(question)
        except ValueError as error:
            bad.append(BadLine(number, str(error), "row"))
    if not questions:
        reason = f"has no question: {bad[0]}" if bad else "is empty"
        raise ImagesError(f"{_SETTING}: {shown(rows.identity.address)} {reason}")
    return questions, bad


def _rows_and_images(
    rows: Rows, column: str, holds: Holds
) -> Iterator[tuple[dict[str, Any], Callable[[], Image.Image] | None]]:
    """Each row, and what reads its image if that is in the row, which then holds the image's name instead.

    Images of a dataset on this machine are read when they are asked for; those of a stream are kept, encoded.
    """
    if holds is Holds.PATHS:
        for row in rows:
            yield dict(row), None
        return
    streamed = rows.identity.fingerprint is None
    others = rows if streamed else rows.select([name for name in rows.features if name != column])
    for number, row in enumerate(others):
        name = str(Path(rows.identity.address) / row_name(number))
        content = (
            partial(content_of, row[column], name, rows.files)
            if streamed
            else partial(content_at, rows, column, number)
        )
        yield {**row, column: row_name(number)}, partial(_picture, content, name)


def _picture(content: Callable[[], bytes], name: str) -> Image.Image:
    return decode_image(content(), name)


def _class_name(value: object, classes: Sequence[str]) -> object:
    """The name of a class that a dataset stores by its index."""
    return classes[value] if isinstance(value, int) and 0 <= value < len(classes) else value
