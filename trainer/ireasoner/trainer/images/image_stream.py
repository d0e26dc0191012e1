"""The images of a dataset that is read while the run goes on, in windows of rows.

A window is a number of consecutive rows. It is kept in memory, encoded, and shuffled in itself by the run's seed, so
an update's images depend on the seed and the update's index alone. `datasets` could shuffle a stream through a rolling
buffer, but loses the buffer when it resumes. Here the journal of the run folder holds where each window starts, and
what was in it: a resumed run reads the same window again, and finds out if the data changed.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Self

from PIL import Image

from ireasoner.trainer.data import Rows
from ireasoner.trainer.errors import ImagesError, RunFolderError, UnreadableImageError
from ireasoner.trainer.images.dataset_image import DatasetImage, content_of, row_name
from ireasoner.trainer.images.image_set import ImageFile, named
from ireasoner.trainer.images.image_size_check import ImageSizeCheck
from ireasoner.trainer.images.read_image import decode_image
from ireasoner.trainer.images.row_images import RowImages
from ireasoner.trainer.shown_path import shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a window starts.

    Attributes:
        window: Its index in the run.
        position: Usable images of all windows before it, over all epochs.
        epoch: How often the rows were read to their end before it.
        row: Index of its first row.
        state: Where `datasets` goes on; None at the start of an epoch.
    """

    window: int = 0
    position: int = 0
    epoch: int = 0
    row: int = 0
    state: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive rows.

    Attributes:
        start: Where it starts.
        images: Its usable images, in the order of rows.
        left_out: Why its other rows are not used, by name.
        following: Where the next window starts.
    """

    start: Start
    images: tuple[DatasetImage, ...]
    left_out: Mapping[str, str]
    following: Start

    @property
    def digest(self) -> str:
        """SHA-256 of the names and bytes of its usable images."""
        parts = "".join(f"{image.name} {image.digest}\n" for image in self.images)
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True)
class ImageStream(RowImages):
    """A stream of images; `files` and `left_out` are those of its first window.

    Attributes:
        window_rows: Rows of a window.
        check: The sizes that the policy can take; None takes all.
        first: The first window, before the check of sizes.
    """

    window_rows: int
    check: ImageSizeCheck | None = field(default=None, compare=False, repr=False)
    first: Window | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, rows: Rows, window_rows: int) -> "ImageStream":
        """Reads the first window.

        Raises:
            ImagesError: It has no readable image.
        """
        stream = cls((), {}, rows.identity, window_rows, rows=rows)
        first = stream.window(Start())
        if not first.images:
            raise ImagesError(
                f"images: {shown(rows.identity.address)} has no readable image in its first "
                f"{first.following.row or len(first.left_out):,} rows{named(first.left_out)}"
            )
        return replace(
            stream, files=tuple(map(_image_file, first.images)), left_out=first.left_out, first=first
        )

    @property
    def summary(self) -> str:
        known = "" if self.count is None else f" of {self.count:,} rows"
        return f"a stream{known} from {shown(self.address)}, in windows of {self.window_rows:,}"

    @property
    def count(self) -> int | None:
        return self.dataset.rows

    def pixels(self, name: str) -> Image.Image:
        assert self.first is not None, "only the first process of a run reads images"
        [image] = [image for image in self.first.images if image.name == name]
        return decode_image(image.content, str(self.path_of(name)))

    def fitting(self, check: ImageSizeCheck) -> Self:
        """The stream without the images that the policy cannot take, those too large for the model context included.

        Later windows are not known when a run starts, so they cannot be refused then.

        Raises:
            ImagesError: It cannot take any of the first window.
        """
        faults = {file.name: _fault(check, file.width, file.height) for file in self.files}
        return replace(self._without(faults), check=check)

    def require(self, count: int) -> None:
        """Raises ImagesError if all rows are in the first window, and it has fewer than `count` usable images."""
        if self.first is not None and self.first.following.epoch:
            super().require(count)

    def window(self, start: Start) -> Window:
        """The window that starts at `start`.

        Raises:
            ImagesError: The rows cannot be read.
        """
        assert self.rows is not None, "only the first process of a run reads images"
        images, left_out = [], {}
        row = start.row
        following = replace(start, window=start.window + 1)
        for row, value in enumerate(self._values(start), start=start.row):
            try:
                image = DatasetImage.of(row_name(row), content_of(value, row_name(row), self.rows.files))
                fault = None if self.check is None else _fault(self.check, image.width, image.height)
            except UnreadableImageError as error:
                fault = error.reason
            if fault is None:
                images.append(image)
            else:
                left_out[row_name(row)] = fault
            if row + 1 - start.row == self.window_rows:
                following = replace(following, row=row + 1, state=self.rows.data.state_dict())
                break
        else:
            following = replace(following, epoch=start.epoch + 1, row=0, state=None)
        return Window(
            start, tuple(images), left_out, replace(following, position=start.position + len(images))
        )

    def _values(self, start: Start) -> Iterator[Any]:
        """What the column of images holds, row by row from `start`."""
        assert self.rows is not None
        assert self.dataset.column is not None
        self.rows.data.load_state_dict(start.state)
        for row in self.rows:
            yield row[self.dataset.column]


class StreamOrder:
    """The images of each update of a run that streams.

    Args:
        stream: The images.
        per_update: Images per update.
        seed: The run's seed.
        shuffle: Whether to shuffle each window.
        journal: File of the run folder with the starts of its windows; one line is appended per new window.
        accept_changed: Whether a window may have changed since it was first read.
    """

    def __init__(
        self,
        stream: ImageStream,
        per_update: int,
        seed: int,
        *,
        shuffle: bool = True,
        journal: Path,
        accept_changed: bool = False,
    ) -> None:
        self._stream = stream
        self._per_update = per_update
        self._seed = seed
        self._shuffle = shuffle
        self._journal_path = journal
        self._accept_changed = accept_changed
        self._window: Window | None = None
        self._order: list[DatasetImage] = []
        self._given: dict[Path, DatasetImage] = {}

    def at(self, update: int) -> list[Path]:
        """The images of update `update` (from 0), which `read` can read until the next call.

        Raises:
            ImagesError: The rows cannot be read, have no usable image in a whole epoch, or changed since the run read
                them first.
            RunFolderError: The journal cannot be read or written.
        """
        first = update * self._per_update
        images = [self._image(position) for position in range(first, first + self._per_update)]
        self._given = {self._stream.path_of(image.name): image for image in images}
        return [self._stream.path_of(image.name) for image in images]

    def read(self, path: Path) -> Image.Image:
        """An image of the last update that was asked for."""
        return decode_image(self._given[path].content, str(path))

    def _image(self, position: int) -> DatasetImage:
        if self._window is None or position < self._window.start.position:
            self._enter(self._journal.before(position))
        while position >= self._current.following.position:
            self._enter(self._current.following)
        return self._order[position - self._current.start.position]

    @cached_property
    def _journal(self) -> "_Journal":
        """Opened when it is needed: only the process that reads images may write it."""
        return _Journal(self._journal_path)

    @property
    def _current(self) -> Window:
        assert self._window is not None
        return self._window

    def _enter(self, start: Start) -> None:
        """Reads the window at `start`, or the next one that has an image."""
        epoch = start.epoch
        while True:
            window = self._stream.window(start)
            self._compare(window)
            if start.window:  # the first one was reported when the run started
                for name, reason in window.left_out.items():
                    logger.warning("images: %s is left out: %s", self._stream.path_of(name), reason)
            if window.images:
                break
            start = window.following
            if start.epoch > epoch + 1:
                raise ImagesError(f"images: {shown(self._stream.address)} has no usable image any more")
        self._window, self._order = window, list(window.images)
        if self._shuffle:
            Random(f"{self._seed} window {window.start.window}").shuffle(self._order)

    def _compare(self, window: Window) -> None:
        """Compares a window with what it was when the run read it first, or notes it.

        Raises:
            ImagesError: It is another one, and that is not accepted.
        """
        before = self._journal.digest(window.start)
        if before is None or (before != window.digest and self._accept_changed):
            self._journal.note(window)
        elif before != window.digest:
            rows = len(window.images) + len(window.left_out)
            raise ImagesError(
                f"resume: rows {window.start.row} to {window.start.row + rows - 1} of {shown(self._stream.address)} "
                "are not those that the run read first. Restore them, or add --accept-changed-images: finished updates "
                "stay, and the run goes on with the rows as they are now"
            )


class _Journal:
    """The windows that a run has read, in a file of its folder.

    Args:
        path: The file.

    Raises:
        RunFolderError: A line is not that of a window.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._windows: dict[int, tuple[Start, str]] = {}
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines, start=1):
            if line.endswith("\n"):  # the last one may be half written
                try:
                    entry = json.loads(line)
                    self._add(Start(**entry["start"]), str(entry["digest"]))
                except (ValueError, KeyError, TypeError) as error:
                    raise RunFolderError(f"{path}, line {number}: not a window of images: {error}") from error
        if lines and not lines[-1].endswith("\n"):
            path.write_text("".join(lines[:-1]), encoding="utf-8")

    def _add(self, start: Start, digest: str) -> None:
        """Adds a window; those after it are no more what follows it."""
        self._windows = {number: known for number, known in self._windows.items() if number < start.window}
        self._windows[start.window] = start, digest

    def before(self, position: int) -> Start:
        """The last known start of a window at or before an image's position."""
        known = [start for start, _ in self._windows.values() if start.position <= position]
        return max(known, key=lambda start: (start.position, start.window), default=Start())

    def digest(self, start: Start) -> str | None:
        """The digest of the window that starts at `start`; None if the run has not read it."""
        known = self._windows.get(start.window)
        return known[1] if known is not None and known[0].position == start.position else None

    def note(self, window: Window) -> None:
        """Appends a window.

        Raises:
            RunFolderError: The file cannot be written.
        """
        start = window.start
        self._add(start, window.digest)
        fields = {name: getattr(start, name) for name in Start.__slots__}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"start": fields, "digest": window.digest}) + "\n")
        except OSError as error:
            raise RunFolderError(f"{self._path} could not be written: {error.strerror}") from error


def _fault(check: ImageSizeCheck, width: int, height: int) -> str | None:
    return check.fault(width, height) or check.excess(width, height)


def _image_file(image: DatasetImage) -> ImageFile:
    return ImageFile(image.name, len(image.content), image.width, image.height, image.digest)
