"""Which column of a dataset holds the images, found by its type."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.shown_path import shown


class Holds(StrEnum):
    """What a column holds; the value names it in messages."""

    IMAGES = "images"
    LISTS = "lists of images"
    BYTES = "bytes"
    PATHS = "paths of images"


def image_column(
    setting: str,
    address: object,
    features: Mapping[str, Any],
    wanted: str | None,
    first: Callable[[Sequence[str]], Mapping[str, Any]],
    suffixes: frozenset[str],
) -> tuple[str, Holds]:
    """The column of the images: the wanted one, or the only one of the first of these types that has any.

    A column of words holds paths if it is asked for, or its first value ends in the suffix of an image.

    Args:
        setting: The setting that names the column, for messages.
        address: The dataset, for messages.
        features: The type of each column, as `datasets` gives it.
        wanted: The column that is asked for.
        first: Gives what columns hold in the first row.
        suffixes: The suffixes of images, in lower case.

    Raises:
        ImagesError: There is no such column, it holds no images, or several columns do and none is asked for.
    """
    where = shown(str(address))
    if wanted is not None and wanted not in features:
        raise ImagesError(
            f"{setting}: {where} has no column {wanted!r}; its columns are {', '.join(features)}"
        )
    asked = features if wanted is None else {wanted: features[wanted]}
    holds = {name: _holds(feature) for name, feature in asked.items()}
    words = [name for name, held in holds.items() if held is Holds.PATHS]
    if words and wanted is None:
        row = first(words)
        holds = {
            name: None if held is Holds.PATHS and not _is_image_path(row.get(name), suffixes) else held
            for name, held in holds.items()
        }
    for kind in Holds:
        found = [name for name, held in holds.items() if held is kind]
        if len(found) == 1:
            return found[0], kind
        if found:
            raise ImagesError(
                f"{setting}: {where} has several columns of {kind}: name one of {', '.join(found)}"
            )
    types = ", ".join(f"{name} ({_shown_type(feature)})" for name, feature in asked.items())
    what = "no column of images" if wanted is None else "no images in this column"
    raise ImagesError(f"{setting}: {where} has {what}: {types}")


def undecoded(column: str, holds: Holds) -> Any:
    """The type to cast the column to, so that `datasets` leaves the decoding to us."""
    from datasets import Image, List

    image = Image(decode=False)
    return List(image) if holds is Holds.LISTS else image


def other_images(features: Mapping[str, Any], column: str) -> list[str]:
    """The columns besides `column` that `datasets` would decode with every row."""
    decoded = (Holds.IMAGES, Holds.LISTS)
    return [name for name, feature in features.items() if name != column and _holds(feature) in decoded]


def _holds(feature: Any) -> Holds | None:
    from datasets import Image, LargeList, List, Value

    if isinstance(feature, Image):
        return Holds.IMAGES
    if isinstance(feature, List | LargeList):
        return Holds.LISTS if isinstance(feature.feature, Image) else None
    if isinstance(feature, list):
        return Holds.LISTS if len(feature) == 1 and isinstance(feature[0], Image) else None
    if isinstance(feature, dict):
        held, path = feature.get("bytes"), feature.get("path")
        without = isinstance(held, Value) and held.dtype == "null" and isinstance(path, Value)
        return Holds.BYTES if without or (isinstance(held, Value) and _is_binary(held)) else None
    if isinstance(feature, Value):
        if _is_binary(feature):
            return Holds.BYTES
        return Holds.PATHS if feature.dtype in ("string", "large_string") else None
    return None


def _is_binary(value: Any) -> bool:
    return value.dtype in ("binary", "large_binary")


def _is_image_path(value: object, suffixes: frozenset[str]) -> bool:
    return isinstance(value, str) and PurePath(value).suffix.lower() in suffixes


def _shown_type(feature: Any) -> str:
    return str(getattr(feature, "dtype", None) or type(feature).__name__)
