"""Questions, images and labels in the forms in which frameworks and their data sets hold them."""

import base64
import logging
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ireasoner.clients import framework_context
from ireasoner.clients.framework_context import (
    NO_CONTEXT,
    Context,
    cells,
    image_bytes,
    image_of,
    labels_of,
    question_of,
    read_context,
    step_of,
)

PNG = b"\x89PNG\r\n\x1a\nrest"


def shown(value: object) -> str:
    """A value in the name of a test, without the address of an object: workers must find equal names."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class Array:
    """Like numpy's."""

    def __init__(self, *values: object) -> None:
        self._values = values

    def tolist(self) -> list[object]:
        return list(self._values)


class Picture:
    """Like Pillow's."""

    def __init__(self, *size: int) -> None:
        self.size = size or (8, 8)

    def resize(self, size: tuple[int, int]) -> "Picture":
        return Picture(*size)

    def save(self, buffer: BytesIO, format: str, **_: Any) -> None:  # noqa: A002 - Pillow's name
        assert format == "PNG"
        assert self.size[0] * self.size[1] <= 2**20
        buffer.write(PNG)


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("How many?", "How many?"),
        ([user("How many?")], "How many?"),
        ([{"role": "system", "content": "Be brief."}, user("How many?")], "How many?"),
        ([user("first"), {"role": "assistant", "content": "1"}, user("second")], "second"),
        ([user([{"type": "image", "image": PNG}, {"type": "text", "text": "How many?"}])], "How many?"),
        ([user([{"text": "a"}, {"text": "b"}])], "a\nb"),
        (Array(user("How many?")), "How many?"),
        ((user("How many?"),), "How many?"),
        ([user([{"type": "image"}])], None),
        ([{"role": "system", "content": "Be brief."}], None),
        ([user(None)], None),
        ([user(7)], None),
        ([1, 2], None),
        ([], None),
        (None, None),
        (7, None),
    ],
    ids=shown,
)
def test_the_question_in_a_prompt(prompt: object, question: str | None) -> None:
    assert question_of(prompt) == question


@pytest.mark.parametrize(
    ("images", "prompt", "first"),
    [
        ("a.png", None, "a.png"),
        (["a.png", "b.png"], None, "a.png"),
        ([[None, "b.png"]], None, "b.png"),
        ([{"bytes": PNG, "path": None}], None, {"bytes": PNG, "path": None}),
        (None, [user([{"type": "image", "image": "p.png"}])], "p.png"),
        (None, [user([{"type": "image_url", "image_url": {"url": "u.png"}}])], {"url": "u.png"}),
        ([], [user([{"type": "image", "image": "p.png"}])], "p.png"),
        (["a.png"], [user([{"type": "image", "image": "p.png"}])], "a.png"),
        (None, [user([{"type": "image"}])], None),
        (None, [user("p.png")], None),
        (None, "/etc/passwd", None),
        (None, ["/etc/passwd"], None),
        (None, None, None),
    ],
    ids=shown,
)
def test_the_image_of_a_group(images: object, prompt: object, first: object) -> None:
    """A prompt's text is never taken for a path."""
    assert image_of(images, prompt) == first


@pytest.mark.parametrize(
    ("held", "labels"),
    [
        ("7", ["7"]),
        (7, ["7"]),
        (0.5, ["0.5"]),
        (["7", "seven"], ["7", "seven"]),
        (Array("7", 8), ["7", "8"]),
        ({"ground_truth": "7", "style": "rule"}, ["7"]),
        ({"answer": "7"}, ["7"]),
        ({"solution": "\\boxed{7}", "answer": "8"}, ["7"]),
        ({"labels": None, "answer": "8"}, ["8"]),
        ("I add.\nSo \\boxed{\\frac{1}{2}} it is.", ["\\frac{1}{2}"]),
        ("\\boxed{1} or rather \\boxed{2}", ["2"]),
        ("\\boxed{torn", ["\\boxed{torn"]),
        ("3 + 4 = <<3+4=7>>7\n#### 7", ["7"]),
        ("<think>I add.</think>\n<answer> 7 </answer>", ["7"]),
        ("I add 3 and 4.\nThat makes 7.", None),
        (["7", "I add.\nThat makes 7."], None),
        ("", None),
        ([], None),
        ({}, None),
        (None, None),
        (True, None),
        ([None], None),
        ([["7"]], None),
        ({"question": "How many?"}, None),
        (object(), None),
        (float("nan"), None),
    ],
    ids=shown,
)
def test_right_answers(held: object, labels: list[str] | None) -> None:
    """A worked solution is no answer, and would count right ones as wrong."""
    assert labels_of(held) == labels


def test_the_cells_of_a_row() -> None:
    columns = {"answer": ["7", "8"], "label": None, "other": [1, 2]}
    assert cells(columns, 1) == {"answer": "8"}
    assert cells(columns, 0, ["other", "absent"]) == {"other": 1}


@pytest.mark.parametrize(
    ("held", "step"),
    [
        (3, 3),
        ("3", 3),
        (Array, None),
        ("default", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        ([3], None),
    ],
    ids=shown,
)
def test_the_number_of_an_update(held: object, step: int | None) -> None:
    assert step_of(held) == step


@pytest.mark.parametrize("head", [PNG, b"\xff\xd8\xff", b"GIF89a", b"RIFFxxxxWEBP", b"BMxx"])
def test_an_image_in_a_file(tmp_path: Path, head: bytes) -> None:
    file = tmp_path / "an image"
    file.write_bytes(head + b"\0" * 50)
    for form in (file, str(file), file.as_uri(), {"path": str(file)}, {"bytes": None, "path": str(file)}):
        assert image_bytes(form) == head + b"\0" * 50, form


@pytest.mark.parametrize(
    "form",
    [
        PNG,
        bytearray(PNG),
        Picture(),
        Picture(4000, 3000),
        Picture(1, 2**24),
        {"bytes": PNG},
        {"image": Picture()},
        {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"},
        f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
    ],
    ids=lambda form: str(type(form)),
)
def test_the_bytes_of_an_image(form: object) -> None:
    assert image_bytes(form) == PNG


def test_base64_without_an_address() -> None:
    content = PNG * 400
    assert image_bytes(base64.b64encode(content).decode()) == content


def test_what_is_no_image_is_not_read(tmp_path: Path) -> None:
    """Least of all other files that a data set names."""
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    for form in (
        secret,
        str(secret),
        secret.as_uri(),
        {"path": str(secret)},
        tmp_path,
        "absent.png",
        "http://127.0.0.1:9/a.png",
        "s3://bucket/a.png",
        "data:image/png,%89PNG",
        {},
        {"path": None},
        7,
        None,
        b"x" * (2**24 + 1),
    ):
        assert image_bytes(form) is None, form


def test_a_fault_is_logged_once_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Torn(Picture):
        def save(self, *_: Any, **__: Any) -> None:
            raise OSError("broken data stream")

    def fails() -> Mapping[str, Any]:
        raise KeyError("no such column")

    framework_context._report.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [image_bytes(Torn()), image_bytes(Torn()), image_bytes("!" * 5000)] == [None] * 3
        assert [read_context(fails), read_context(fails)] == [NO_CONTEXT] * 2
    assert len(caplog.records) == 2
    assert all(record.exc_info for record in caplog.records)


def test_everything_that_a_framework_holds() -> None:
    held = {"prompt": [user("How many?")], "images": [PNG], "labels": {"answer": 7}, "update": "3"}
    assert read_context(lambda: held) == Context("How many?", PNG, ["7"], 3)
    assert read_context(dict) == NO_CONTEXT
