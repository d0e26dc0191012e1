"""What frameworks know of a group besides its rollouts, in whatever form they hold it, for the server's ledger.

No reward depends on it, so nothing here ends a run: what is not understood is left out.
"""

import base64
import io
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

MAX_IMAGE_BYTES = 2**24
LABEL_FIELDS = ("labels", "label", "ground_truth", "solution", "answer")
"""Names under which data sets keep right answers, the most explicit first."""

_SHOWN_PIXELS = 2**20
_SHOWN_SIDE = 2**15
_LONGEST_PATH = 4_096
_IMAGE_HEAD = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM", re.DOTALL)
"""How the files begin that a ledger takes: PNG, JPEG, GIF, WebP and BMP."""
_ANSWER_MARKS = (
    re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE),
    re.compile(r"^####[ \t]*(.+)$", re.MULTILINE),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one group; see `Group`.

    Attributes:
        question: The question.
        image: Its image, in any form that `image_bytes` reads.
        labels: Right answers.
        update: Number of the policy update that the group is for.
    """

    question: str | None = None
    image: object = None
    labels: Sequence[str] | None = None
    update: int | None = None


NO_CONTEXT = Context()


def read_context(read: Callable[..., Mapping[str, Any]], *arguments: object) -> Context:
    """The context of a group, from whatever a framework holds.

    Args:
        read: Returns any of `prompt` (a text or messages), `images`, `labels` (right answers, in any form) and
            `update`. If it fails, that is logged, and there is no context.
        arguments: Its arguments.
    """
    try:
        held = read(*arguments)
        return Context(
            question_of(held.get("prompt")),
            image_of(held.get("images"), held.get("prompt")),
            labels_of(held.get("labels")),
            step_of(held.get("update")),
        )
    except Exception:  # noqa: BLE001  no fault of a framework's data may end its run
        _report("the ledger will lack the context of a group, which could not be read")
        return NO_CONTEXT


def question_of(prompt: object) -> str | None:
    """The text of a prompt: that of its last user message if it consists of messages."""
    if isinstance(prompt, str):
        return prompt
    said = [message for message in _messages(prompt) if message.get("role") == "user"]
    if not said:
        return None
    content = said[-1].get("content")
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in _parts(said[-1])]
    return "\n".join(text for text in texts if isinstance(text, str)) or None


def image_of(images: object, prompt: object) -> object:
    """The first of some images (one, or a list of them), else the first in the messages of a prompt; None if there is
    none."""
    return next(chain(_listed(images), _shown(prompt)), None)


def labels_of(value: object) -> list[str] | None:
    """Right answers from a text, a number, a list of them, or a table that holds them under one of `LABEL_FIELDS`.

    A worked solution counts as the answer that it marks: in `<answer>`, in `\\boxed{}`, or after `####`. Several lines
    without such a mark are no label.
    """
    if isinstance(value, Mapping):
        found = (labels_of(value[name]) for name in LABEL_FIELDS if name in value)
        return next((labels for labels in found if labels), None)
    if hasattr(value, "tolist"):  # an array
        value = value.tolist()
    several = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in several):
        return None
    if any(each != each for each in several):  # NaN, with which tables mark what is missing
        return None
    labels = [_answer_in(str(each)) for each in several]
    known = [label for label in labels if label]
    return known if known and len(known) == len(labels) else None


def _answer_in(solution: str) -> str | None:
    for mark in _ANSWER_MARKS:
        if marked := mark.findall(solution):
            return str(marked[-1]).strip()
    opened = solution.rpartition("\\boxed{")[2] if "\\boxed{" in solution else ""
    depth = 1
    for index, character in enumerate(opened):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return opened[:index].strip()
    return None if "\n" in solution.strip() else solution.strip()


def cells(columns: Mapping[str, Any], row: int, names: Sequence[str] = LABEL_FIELDS) -> dict[str, Any]:
    """What a batch, whose columns are lists, holds in one row under some names."""
    return {name: columns[name][row] for name in names if columns.get(name) is not None}


def step_of(value: object) -> int | None:
    """A framework's number of the update; None if it has none."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return None


def image_bytes(image: object) -> bytes | None:
    """The bytes of an image: bytes, a picture of Pillow, a file's path, a `data:` or `file:` address, base64, or one of
    these in a table under `bytes`, `image`, `path` or `url`.

    Larger pictures of Pillow are scaled down to a megapixel. None if it is anything else, an address of the network, or
    larger than 16 MiB. A file that does not begin like an image is not read further: a prompt that names another one
    must not publish it.
    """
    try:
        content = _content(image)
    except Exception:  # noqa: BLE001  as above; decoders raise anything
        _report("the ledger will lack an image, which could not be read")
        return None
    return content if content is not None and len(content) <= MAX_IMAGE_BYTES else None


@cache
def _report(message: str) -> None:
    """Logs the first fault of a kind, with its error."""
    log.warning("%s", message, exc_info=True)


def _content(image: object) -> bytes | None:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, Mapping):
        held = (image.get(name) for name in ("bytes", "image", "path", "url"))
        return _content(next((each for each in held if each is not None), None))
    if isinstance(image, Path):
        return _file(image)
    if isinstance(image, str):
        return _at(image)
    return _encoded(image) if hasattr(image, "save") else None


def _encoded(picture: Any) -> bytes:
    """A picture of Pillow as PNG, scaled down to what a person needs to see."""
    width, height = picture.size
    if width * height > _SHOWN_PIXELS:
        scale = min(math.sqrt(_SHOWN_PIXELS / (width * height)), _SHOWN_SIDE / max(width, height))
        picture = picture.resize((max(1, int(scale * width)), max(1, int(scale * height))))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _at(address: str) -> bytes | None:
    """The content of a path or an address of this machine."""
    if address.startswith("data:"):
        head, _, content = address.partition(",")
        return base64.b64decode(content) if head.endswith(";base64") else None
    if address.startswith("file://"):
        return _file(Path(unquote(urlsplit(address).path)))
    if "://" in address:
        return None
    if len(address) > _LONGEST_PATH:
        return base64.b64decode(address, validate=True)
    return _file(Path(address))


def _file(path: Path) -> bytes | None:
    if not path.is_file() or path.stat().st_size > MAX_IMAGE_BYTES:
        return None
    with path.open("rb") as file:
        head = file.read(12)
        return head + file.read() if _IMAGE_HEAD.match(head) else None


def _listed(images: object) -> Iterator[object]:
    if isinstance(images, list | tuple):
        for each in images:
            yield from _listed(each)
    elif images is not None:
        yield images


def _shown(prompt: object) -> Iterator[object]:
    for part in (part for message in _messages(prompt) for part in _parts(message)):
        if part.get("type") in ("image", "image_url"):
            yield from _listed(part.get("image") or part.get("image_url") or part.get("url"))


def _messages(prompt: object) -> list[Mapping[str, Any]]:
    """The messages of a prompt; none if it does not consist of messages."""
    if hasattr(prompt, "tolist"):  # an array of messages
        prompt = prompt.tolist()
    if not isinstance(prompt, list | tuple):
        return []
    return [message for message in prompt if isinstance(message, Mapping) and "role" in message]


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
