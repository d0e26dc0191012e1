"""A stream of images: which ones an update has, from the start and after a kill, and what is refused."""

import io
import logging
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from ireasoner.trainer.errors import ImagesError, RunFolderError
from ireasoner.trainer.images import ImageSizeCheck, ImageStream, StreamOrder, open_images
from ireasoner.trainer.settings import ImageDataSettings, RunSettings
from tests.trainer.datasets_of_images import encoded, images, parquet, tar


def too_wide(width: int, height: int) -> str | None:
    return "too wide" if width == 46 else None


def fits(_width: int, _height: int) -> None:
    pass


def measured(width: int, _height: int) -> int:
    if width == 46:
        raise ValueError("too wide")
    return 9


WIDE = cast(ImageSizeCheck, SimpleNamespace(fault=too_wide, excess=fits))
"""A policy that refuses a width; `EXCESS` has a context that it exceeds."""
EXCESS = cast(ImageSizeCheck, SimpleNamespace(fault=fits, excess=too_wide))


def stream(address: Path, buffer: int = 4) -> ImageStream:
    found = open_images(address, ImageDataSettings(streaming=True, shuffle_buffer=buffer))
    assert isinstance(found, ImageStream)
    return found


def order(address: Path, journal: Path, per_update: int = 2, buffer: int = 4, **fields: Any) -> StreamOrder:
    return StreamOrder(stream(address, buffer), per_update, 7, journal=journal, **fields)


def flat(updates: Sequence[Sequence[int]]) -> list[int]:
    """The widths of all updates, in one list."""
    return [width for update in updates for width in update]


def widths(of: StreamOrder, updates: Sequence[int]) -> list[list[int]]:
    """The widths of the images of updates, as they are read."""
    return [[of.read(path).width for path in of.at(update)] for update in updates]


def _shards(folder: Path) -> Path:
    for number in range(3):
        parquet(folder / f"train-{number}.parquet", images(10)[4 * number : 4 * number + 4])
    return folder


FORMS: dict[str, Callable[[Path], Path]] = {
    "parquet": lambda folder: parquet(folder / "a.parquet", images(10)),
    "shards": lambda folder: _shards(folder / "set"),
    "tar": lambda folder: tar(
        folder / "a.tar", {f"{n:02}.png": content for n, content in enumerate(images(10))}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_update_has_the_same_images_from_wherever_the_run_goes_on(form: str, tmp_path: Path) -> None:
    address = FORMS[form](tmp_path)
    whole = widths(order(address, tmp_path / "whole.jsonl"), range(12))

    assert sorted(flat(whole[:5])) == list(range(40, 50)), "an epoch has each image once"
    assert whole[:2] != [[40, 41], [42, 43]], "a window is shuffled"
    assert sorted(flat(whole[:2])) == [40, 41, 42, 43], "and nothing beyond it"
    for start in range(12):
        journal = tmp_path / f"{start}.jsonl"
        assert widths(order(address, journal), range(start)) == whole[:start]
        assert widths(order(address, journal), range(max(start - 1, 0), 12)) == whole[max(start - 1, 0) :]
        assert journal.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("buffer", [1, 3, 5, 10, 11])
def test_a_window_may_be_smaller_or_larger_than_an_update_or_the_dataset(buffer: int, tmp_path: Path) -> None:
    address = FORMS["parquet"](tmp_path)
    found = widths(order(address, tmp_path / "j.jsonl", per_update=4, buffer=buffer), range(5))
    assert sorted(flat(found)) == sorted([*range(40, 50)] * 2)


def test_without_shuffling_the_rows_come_in_their_order(tmp_path: Path) -> None:
    found = widths(order(FORMS["parquet"](tmp_path), tmp_path / "j.jsonl", shuffle=False), range(6))
    assert flat(found) == [*range(40, 50), 40, 41]


MEASURED = ImageSizeCheck(object(), 10, measured)
"""A processor without patches, which refuses a width when it is measured."""


@pytest.mark.parametrize(
    "check", [WIDE, EXCESS, MEASURED], ids=["by the policy", "by the context", "by measuring"]
)
def test_a_damaged_or_unfit_row_is_left_out_and_named(
    check: ImageSizeCheck, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = [encoded(0), b"torn", None, encoded(3), b"", encoded(5), encoded(6), encoded(7)]
    address = parquet(tmp_path / "a.parquet", contents)

    fitting = stream(address).fitting(check)
    assert list(fitting.left_out) == ["row 1", "row 2"]
    of = StreamOrder(fitting, 2, 7, journal=tmp_path / "j.jsonl")
    with caplog.at_level(logging.WARNING):
        assert sorted(flat(widths(of, range(2)))) == [40, 43, 45, 47]
    assert [message.partition(" is left out: ")[0] for message in caplog.messages] == [
        f"images: {address}/row 4",
        f"images: {address}/row 6",
    ]
    assert "too wide" in caplog.messages[1]


def test_a_stream_without_a_usable_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match=r"has no readable image in its first 2 rows\n  row 0: "):
        stream(parquet(tmp_path / "a.parquet", [b"x", b"y", encoded(2)]), buffer=2)


def test_an_update_needs_as_many_images_as_a_short_stream_has(tmp_path: Path) -> None:
    short = stream(parquet(tmp_path / "a.parquet", images(3)))
    short.require(3)
    with pytest.raises(ImagesError, match="has 3 usable images, fewer than the 4 of one update"):
        short.require(4)
    stream(parquet(tmp_path / "b.parquet", images(5))).require(50)


@pytest.mark.parametrize("row", [4, 7])
def test_rows_that_changed_are_refused_or_accepted(row: int, tmp_path: Path) -> None:
    address, journal = parquet(tmp_path / "a.parquet", images(10)), tmp_path / "j.jsonl"
    first = widths(order(address, journal), range(4))
    changed = images(10)
    changed[row] = encoded(30)
    parquet(address, changed)

    with pytest.raises(
        ImagesError, match=r"resume: rows 4 to 7 of .*a\.parquet are not those that the run read"
    ):
        order(address, journal).at(3)
    written = journal.read_text()
    taken = widths(order(address, journal, accept_changed=True), range(2, 5))
    assert 70 in flat(taken)
    assert journal.read_text().startswith(written)
    assert widths(order(address, journal), range(2, 5)) == taken, "from now on, these are the run's rows"
    assert widths(order(address, journal), range(2)) == first[:2]


def test_a_half_written_line_of_the_journal_is_cut_and_a_wrong_one_named(tmp_path: Path) -> None:
    address, journal = FORMS["parquet"](tmp_path), tmp_path / "j.jsonl"
    whole = widths(order(address, journal), range(5))
    content = journal.read_text()
    journal.write_text(content[:-20])
    assert widths(order(address, journal), range(5)) == whole
    assert journal.read_text() == content
    journal.write_text("{}\n" + content)
    with pytest.raises(RunFolderError, match=r"j\.jsonl, line 1: not a window of images"):
        order(address, journal).at(0)


def test_only_one_window_is_read_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, journal = FORMS["parquet"](tmp_path), tmp_path / "j.jsonl"
    widths(order(address, journal), range(5))
    resumed = order(address, journal)
    read: list[int] = []
    window = ImageStream.window

    def count(self: ImageStream, start: Any) -> Any:
        read.append(start.row)
        return window(self, start)

    monkeypatch.setattr(ImageStream, "window", count)
    resumed.at(4)
    assert read == [8]


def test_a_stream_is_copied_to_other_processes_without_its_rows(tmp_path: Path) -> None:
    found = stream(FORMS["parquet"](tmp_path)).fitting(WIDE)
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    assert (copy.rows, copy.first, copy.check) == (None, None, None)
    assert copy.summary == f"a stream from {tmp_path / 'a.parquet'}, in windows of 4"


def test_a_contrast_that_needs_every_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"which data\.streaming cannot give"):
        RunSettings(
            model="m",
            images=tmp_path,
            run_folder=tmp_path,
            data={"streaming": True},
            views={"contrast": "foreign"},
        )


def test_the_picture_of_a_stream_is_the_row(tmp_path: Path) -> None:
    of = order(parquet(tmp_path / "a.parquet", images(4)), tmp_path / "j.jsonl", shuffle=False)
    [first, _] = of.at(0)
    assert first == tmp_path / "a.parquet" / "row 0"
    assert of.read(first).getpixel((0, 0)) == Image.open(io.BytesIO(encoded(0))).getpixel((0, 0))
